"""Budgets mean the same as a predicate, in SQL and in words."""

import math

import duckdb
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from viewer.format.metrics import Better, MetricInfo, format_value
from viewer.results.budget import (
    Budget,
    beyond,
    effective_budget,
    histogram,
    left_out,
    nearest_miss,
    nearest_row,
    passing,
    sentence,
    sql,
    tightest,
)

SPECS = [
    MetricInfo("accuracy", format=".1%", better=Better.HIGHER),
    MetricInfo("latency_p50", unit="ms", format=".3g", better=Better.LOWER),
    MetricInfo("file_bytes", unit="B", format=",.0f", better=Better.LOWER),
    MetricInfo("parameters", format=",.0f"),
]
numbers = st.one_of(st.integers(-5, 5).map(float), st.just(math.nan))
whole = st.integers(-5, 5).map(float)
lows = st.one_of(st.none(), whole, whole.map(lambda number: beyond(number, "low")))
highs = st.one_of(st.none(), whole, whole.map(lambda number: beyond(number, "high")))
budgets = st.lists(st.builds(Budget, st.sampled_from(["a", "b"]), lows, highs), max_size=3)
tables = st.lists(st.tuples(numbers, numbers), max_size=8)


def columns(rows):
    return {name: np.array([row[at] for row in rows], dtype=float) for at, name in enumerate("ab")}


@given(tables, budgets)
def test_the_predicate_is_what_sql_selects(rows, chosen):
    with duckdb.connect() as db:
        db.execute("CREATE TABLE t (row INTEGER, a DOUBLE, b DOUBLE)")
        for at, row in enumerate(rows):
            db.execute("INSERT INTO t VALUES (?, ?, ?)", [at, *(None if math.isnan(v) else v for v in row)])
        selected = {row for (row,) in db.execute(f"SELECT row FROM t WHERE {sql(chosen)}").fetchall()}
    mask = passing(
        [budget for budget in chosen if budget.low is not None or budget.high is not None], columns(rows), len(rows)
    )
    assert set(np.flatnonzero(mask)) == selected


@given(tables, budgets)
def test_the_tightest_is_the_one_whose_removal_frees_most(rows, chosen):
    table = columns(rows)
    found = tightest(chosen, table, len(rows))
    if not chosen or passing(chosen, table, len(rows)).any():
        assert found is None
        return
    freed = [passing([*chosen[:i], *chosen[i + 1 :]], table, len(rows)).sum() for i in range(len(chosen))]
    assert freed[chosen.index(found)] == max(freed) or freed[::-1][chosen[::-1].index(found)] == max(freed)


@given(st.lists(st.one_of(numbers, st.floats(-1e6, 1e6)), max_size=40), st.integers(1, 20))
def test_a_histogram_counts_every_finite_value_once(values, bins):
    array = np.array(values, dtype=float)
    within = np.arange(len(array)) % 2 == 0
    edges, counts, passed = histogram(array, within, bins=bins)
    finite = np.isfinite(array)
    assert sum(counts) == finite.sum()
    assert sum(passed) == (finite & within).sum()
    assert len(edges) == (len(counts) + 1 if counts else 0)
    assert edges == sorted(edges)


def test_few_whole_numbers_have_a_bin_each():
    assert histogram(np.array([0.0, 1, 1, 3]), np.ones(4, bool)) == (
        [-0.5, 0.5, 1.5, 2.5, 3.5],
        [1, 2, 0, 1],
        [1, 2, 0, 1],
    )


def test_one_enormous_model_does_not_push_all_others_into_one_bin():
    sizes = np.array([*np.linspace(1e3, 2e6, 30), 3e9])
    edges, counts, _ = histogram(sizes, np.ones(31, bool))
    assert max(counts) < 15
    assert (edges[0], edges[-1]) == (1e3, 3e9)


def test_the_span_of_a_scale_widens_even_bins_and_no_others():
    values = np.array([0.2, 0.4, 0.6])
    assert histogram(values, np.ones(3, bool), span=(0.0, 1.0)).edges[::3] == [0.0, 1.0]
    assert histogram(values, np.ones(3, bool), span=(0.3, 0.5)).edges[::3] == [0.2, 0.6]
    whole = np.array([1.0, 2.0])
    assert histogram(whole, np.ones(2, bool), span=(0.0, 9.0)) == histogram(whole, np.ones(2, bool))


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_sql_reads_the_very_number(bound):
    with duckdb.connect() as db:
        db.execute("CREATE TABLE t (a DOUBLE)")
        db.execute("INSERT INTO t VALUES (?)", [bound])
        assert db.execute(f"SELECT count(*) FROM t WHERE {sql([Budget('a', bound, bound)])}").fetchone() == (1,)


@given(st.integers(-(10**9), 10**9), st.integers(0, 9), st.sampled_from(["low", "high"]))
def test_a_strict_bound_leaves_out_what_was_typed_and_nothing_else(digits, decimals, end):
    number = digits / 10**decimals
    bound = beyond(number, end)
    assert left_out(bound, end) == number
    assert left_out(number, end) is None
    budget = Budget("a", bound, None) if end == "low" else Budget("a", None, bound)
    assert passing([budget], {"a": np.array([number, bound])}, 2).tolist() == [False, True]


@given(st.floats(allow_nan=False, allow_infinity=False), st.sampled_from(["low", "high"]))
def test_no_bound_that_is_a_short_number_is_taken_for_a_strict_one(bound, end):
    short = float(f"{bound:.9g}")
    if abs(short) > 1e-300 or short == 0:
        assert left_out(short, end) is None


def test_sql_says_strict_bounds_as_they_were_typed():
    assert sql([Budget("a", beyond(0.0, "low"), beyond(0.0, "high"))]) == '"a" > 0 AND "a" < 0'


@pytest.mark.parametrize(
    ("low", "high", "found"),
    [(4.0, None, (3.0, 0.5)), (None, 0.5, (1.0, 0.25)), (1.5, 2.6, (3.0, 0.2)), (2.0, 3.0, (3.0, 0.0))],
)
def test_the_nearest_model_misses_least(low, high, found):
    assert nearest_miss(Budget("a", low, high), np.array([1.0, 3.0, math.nan])) == pytest.approx(found)


def test_without_values_nothing_is_near():
    value, miss = nearest_miss(Budget("a", 1.0), np.array([math.nan]))
    assert math.isnan(value)
    assert miss == math.inf


def test_in_words():
    assert sentence(Budget("accuracy", low=beyond(0.9, "low")), SPECS[0]) == "accuracy above 90%"
    assert sentence(Budget("accuracy", 0.5, beyond(0.9, "high")), SPECS[0]) == "accuracy at least 50% and below 90%"
    assert sentence(Budget("accuracy", low=0.9), SPECS[0]) == "accuracy at least 90%"
    assert sentence(Budget("file_bytes", high=123456.7), SPECS[2]) == "file bytes at most 123.457 kB"
    assert sentence(Budget("latency_p50", 1.0, 10.0), SPECS[1]).startswith("latency p50 from 1")
    assert sentence(Budget("latency_p50"), SPECS[1]) == "any latency p50"


# ---- budgets judge what they show
def takes(low, high, spec, value):
    return bool(passing([effective_budget(Budget(spec.name, low, high), spec)], {spec.name: np.array([value])}, 1)[0])


SHOWN = {
    "file_bytes": [1e5, 25e6, 1e6, 999.0, 0.0],
    "latency_p50": [10.0, 0.044, 2500.0, 9.0],
    "accuracy": [0.9, 0.57, 1.0, 0.0, 0.001],
    "parameters": [2.5e6, 7.0],
}


@given(st.data())
@settings(max_examples=200)
def test_a_bound_takes_what_is_shown_like_it_and_a_strict_one_leaves_it_out(data):
    spec = data.draw(st.sampled_from(SPECS))
    number = data.draw(st.sampled_from(SHOWN[spec.name]))
    value = number * (1 + data.draw(st.floats(-0.02, 0.02))) + data.draw(st.sampled_from([0.0, 1e-9, -1e-9]))
    alike = format_value(value, spec) == format_value(number, spec)
    assert takes(None, number, spec, value) == (value <= number or alike)
    assert takes(number, None, spec, value) == (value >= number or alike)
    assert takes(None, beyond(number, "high"), spec, value) == (value < number and not alike)
    assert takes(beyond(number, "low"), None, spec, value) == (value > number and not alike)


def test_a_model_of_a_hundred_kilobytes_is_one_of_at_most_a_hundred():
    spec = SPECS[2]
    assert format_value(100_412, spec) == "100 kB"
    assert takes(None, 1e5, spec, 100_412)
    assert not takes(None, 1e5, spec, 100_512), "it is shown as 101 kB"
    assert not takes(None, beyond(1e5, "high"), spec, 99_960), "it is not below what it is shown as"


@given(st.floats(1, 1e9))
def test_a_bound_that_nothing_is_shown_as_is_taken_as_it_is(bound):
    spec = SPECS[2]
    exact = Budget("file_bytes", None, bound + 0.123456789)
    if float(f"{exact.high:.3g}") != exact.high:
        assert effective_budget(exact, spec) == exact


def test_sql_judges_alike():
    spec = SPECS[2]
    sizes = [99_000, 99_960, 100_000, 100_412, 100_499, 100_501, 101_000]
    for high in (1e5, beyond(1e5, "high")):
        budget = effective_budget(Budget("file_bytes", high=high), spec)
        with duckdb.connect() as db:
            db.execute("CREATE TABLE t AS SELECT unnest(?::DOUBLE[]) AS file_bytes", [sizes])
            selected = [
                size for (size,) in db.execute(f"SELECT file_bytes FROM t WHERE {sql([budget])} ORDER BY 1").fetchall()
            ]
        assert selected == [size for size in sizes if takes(None, high, spec, size)]


def test_the_nearest_of_some_rows():
    values = np.array([1.0, 9.0, 6.0, math.nan])
    assert nearest_row(Budget("a", high=5.0), values, np.array([False, True, True, True])) == (2, 1 / 8)
    assert nearest_row(Budget("a", low=7.0), values, np.array([True, False, True, True])) == (2, 1 / 8)
