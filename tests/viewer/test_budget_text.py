"""Budgets as people type them, and as they are written for them."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from viewer.budget_text import BudgetError, parse_budgets, write_budgets
from viewer.filters import Budget
from viewer.metrics import Better, MetricSpec

SPECS = [
    MetricSpec("accuracy", format=".1%", better=Better.HIGHER),
    MetricSpec("latency_p50", unit="ms", format=".3g", better=Better.LOWER),
    MetricSpec("file_bytes", unit="B", format=",.0f", better=Better.LOWER),
    MetricSpec("parameters", format=",.0f"),
]
ODD = [*SPECS, *(MetricSpec(name, unit) for name, unit in [
    ("recall and precision", ""), ("a <= b", "items per s"), ("x; y, z", "1/s"), ("accuracy top", "%"), ("<b>", "and"),
])]  # fmt: skip
BY_NAME = {spec.name: spec for spec in ODD}


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
    (found,) = parse_budgets(text, SPECS)
    assert (found.metric, found.low, found.high) == (
        expected.metric,
        pytest.approx(expected.low),
        pytest.approx(expected.high),
    )


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("accuracy 0.9", "is no budget"),
        ("acuracy >= 0.9", "There is no metric 'acuracy'. Did you mean 'accuracy'?"),
        ("zzz >= 1", "There is no metric 'zzz'. Known: accuracy"),
        ("latency_p50 < 10 MB", "latency p50: '10 MB': the unit 'MB' does not fit; write for example '10 ms'"),
        ("accuracy > 1.2.3", "accuracy: '1.2.3': the unit '.3' does not fit; write for example '0.9' or '90%'"),
        ("accuracy >= 0.9; size", "'size' is no budget. Write a metric, <= or >=, and a value: accuracy >= 90%"),
        ("accuracy >= 90% and accuracy <= 80%", "accuracy cannot be at least 90% and at most 80%."),
        ("accuracy >", "accuracy: '' is not a number; write for example '0.9' or '90%'"),
    ],
)
def test_what_cannot_be_read_is_explained(text, message):
    with pytest.raises(BudgetError, match=re.escape(message)):
        parse_budgets(text, SPECS)


def test_several_are_read_at_once_and_those_of_one_metric_together():
    text = "accuracy >= 88% and latency < 9 ms; file bytes <= 25 MB, accuracy <= 0.99, parameters <= 1,000"
    assert [(b.metric, b.low, b.high) for b in parse_budgets(text, SPECS)] == [
        ("accuracy", pytest.approx(0.88), pytest.approx(0.99)),
        ("latency_p50", None, pytest.approx(9)),
        ("file_bytes", None, pytest.approx(25e6)),
        ("parameters", None, pytest.approx(1000)),
    ]
    assert parse_budgets("accuracy >= 0.5; accuracy >= 0.7; accuracy >= 0.6", SPECS) == [Budget("accuracy", low=0.7)]


def test_nothing_typed_is_no_budget():
    assert parse_budgets(" ; ", SPECS) == []


def test_they_are_written_in_readable_units():
    budgets = [Budget("accuracy", 0.88), Budget("latency_p50", 2, 9000), Budget("file_bytes", high=25e6)]
    assert write_budgets(budgets, BY_NAME.__getitem__) == (
        "accuracy >= 88%; latency p50 >= 2 ms; latency p50 <= 9 s; file bytes <= 25 MB"
    )


@given(
    st.lists(
        st.tuples(
            st.sampled_from(sorted(BY_NAME)),
            st.floats(-1e9, 1e9),
            st.floats(0, 1e9),
            st.sampled_from(["low", "high", "both"]),
        ),
        max_size=4,
        unique_by=lambda each: each[0],
    )
)
def test_what_is_written_reads_the_same_whatever_the_metrics_are_called(drawn):
    budgets = [
        Budget(name, None if ends == "high" else low, None if ends == "low" else low + more)
        for name, low, more, ends in drawn
    ]
    found = parse_budgets(write_budgets(budgets, BY_NAME.__getitem__), ODD)
    assert [(b.metric, b.low, b.high) for b in found] == [
        (b.metric, *(None if end is None else pytest.approx(end, rel=1e-5) for end in (b.low, b.high))) for b in budgets
    ]
