"""Budgets mean the same as a predicate, in SQL, in words and as typed."""

import math
import re

import duckdb
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from viewer.filters import Budget, BudgetError, histogram, parse_budget, passing, sentence, sql, tightest
from viewer.metrics import Better, MetricSpec

SPECS = [
    MetricSpec("accuracy", format=".1%", better=Better.HIGHER),
    MetricSpec("latency_p50", unit="ms", format=".3g", better=Better.LOWER),
    MetricSpec("file_bytes", unit="B", format=",.0f", better=Better.LOWER),
    MetricSpec("parameters", format=",.0f"),
]
numbers = st.one_of(st.integers(-5, 5).map(float), st.just(math.nan))
bounds = st.one_of(st.none(), st.integers(-5, 5).map(float))
budgets = st.lists(st.builds(Budget, st.sampled_from(["a", "b"]), bounds, bounds), max_size=3)
tables = st.lists(st.tuples(numbers, numbers), max_size=8)


def columns(rows):
    return {name: np.array([row[at] for row in rows], dtype=float) for at, name in enumerate("ab")}


@given(tables, budgets)
def test_the_predicate_is_what_sql_selects(rows, chosen):
    condition, values = sql(chosen)
    with duckdb.connect() as db:
        db.execute("CREATE TABLE t (row INTEGER, a DOUBLE, b DOUBLE)")
        for at, row in enumerate(rows):
            db.execute("INSERT INTO t VALUES (?, ?, ?)", [at, *(None if math.isnan(v) else v for v in row)])
        selected = {row for (row,) in db.execute(f"SELECT row FROM t WHERE {condition}", values).fetchall()}
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


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("accuracy >= 0.9", Budget("accuracy", low=0.9)),
        ("accuracy > 90 %", Budget("accuracy", low=0.9)),
        ("file bytes <= 25 MB", Budget("file_bytes", high=25e6)),
        ("file_bytes<=1.5MiB", Budget("file_bytes", high=1.5 * 2**20)),
        ("latency p50 < 10 ms", Budget("latency_p50", high=10.0)),
        ("latency < 0.02 s", Budget("latency_p50", high=20.0)),
        ("parameters ≤ 2.5M", Budget("parameters", high=2.5e6)),
        ("PARAM <= 1,000", Budget("parameters", high=1000.0)),
        ("bytes <= 2 kB", Budget("file_bytes", high=2000.0)),
    ],
)
def test_what_people_type(text, expected):
    found = parse_budget(text, SPECS)
    assert (found.metric, found.low, found.high) == (
        expected.metric,
        pytest.approx(expected.low),
        pytest.approx(expected.high),
    )


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "'' is no budget. Write a metric"),
        ("accuracy 0.9", "is no budget"),
        ("acuracy >= 0.9", "There is no metric 'acuracy'. Did you mean 'accuracy'?"),
        ("zzz >= 1", "There is no metric 'zzz'. Known: accuracy"),
        ("latency_p50 < 10 MB", "latency p50: '10 MB': the unit 'MB' does not fit; write for example '10 ms'"),
        ("accuracy > 1.2.3", "accuracy: '1.2.3': the unit '.3' does not fit; write for example '0.9' or '90%'"),
        ("accuracy >", "accuracy: '' is not a number; write for example '0.9' or '90%'"),
    ],
)
def test_what_cannot_be_read_is_explained(text, message):
    with pytest.raises(BudgetError, match=re.escape(message)):
        parse_budget(text, SPECS)


def test_in_words():
    assert sentence(Budget("accuracy", low=0.9), SPECS[0]) == "accuracy at least 90.0%"
    assert sentence(Budget("latency_p50", 1.0, 10.0), SPECS[1]).startswith("latency p50 from 1")
    assert sentence(Budget("latency_p50"), SPECS[1]) == "any latency p50"
