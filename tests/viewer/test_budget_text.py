"""Budgets as people type them, and as they are written for them."""

import math
import re

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from viewer.format.metrics import Better, MetricInfo, MetricRole, Pairing
from viewer.overview.budget_text import BudgetError, parse_bound, parse_budgets, shown_units, write_bound, write_budgets
from viewer.results.budget import Budget, beyond

SPECS = [
    MetricInfo("accuracy", format=".1%", better=Better.HIGHER),
    MetricInfo("latency_p50", unit="ms", format=".3g", better=Better.LOWER),
    MetricInfo("file_bytes", unit="B", format=",.0f", better=Better.LOWER),
    MetricInfo("parameters", format=",.0f"),
]
ODD = [*SPECS, *(MetricInfo(name, unit) for name, unit in [
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
        ("accuracy > 1.2.3", "accuracy: '1.2.3' is not a number; write for example '0.9' or '90%'"),
        ("accuracy >= 0.9; size", "'size' is no budget. Write a metric, <= or >=, and a value: accuracy >= 90%"),
        ("accuracy >= 90% and accuracy <= 80%", "accuracy cannot be at least 90% and at most 80%."),
        ("accuracy > 80% and accuracy < 80%", "accuracy cannot be above 80% and below 80%."),
        ("accuracy >= 90", "accuracy is a share: 90 would be 9,000%; did you mean 90%?"),
        ("accuracy <= -1.5", "accuracy is a share: -1.5 would be -150%; did you mean -1.5%?"),
        ("accuracy >= 150 %", "accuracy is a share: it cannot be 150%; did you mean 100%?"),
        ("accuracy >= 9000", "accuracy is a share: it cannot be 900,000%; did you mean 100%?"),
        ("accuracy >= 90,5%", "accuracy: '90,5%' has a comma where decimals begin; did you mean '90.5%'?"),
        ("file bytes <= 2 pp", "file bytes: '2 pp': the unit 'pp' does not fit; write for example '25 MB'"),
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


def test_strict_signs_are_kept_and_written_back():
    text = "accuracy > 0%; accuracy < 57%; latency p50 < 10 ms; file bytes >= 1 MB"
    budgets = parse_budgets(text, SPECS)
    assert budgets == [
        Budget("accuracy", math.nextafter(0, 1), math.nextafter(0.57, 0)),
        Budget("latency_p50", None, math.nextafter(10, 0)),
        Budget("file_bytes", 1e6),
    ]
    assert write_budgets(budgets, BY_NAME.__getitem__) == text
    assert parse_budgets("accuracy > 50%; accuracy >= 50%", SPECS) == [Budget("accuracy", beyond(0.5, "low"))]


def test_shares_take_points_and_what_some_model_has():
    assert parse_budgets("accuracy >= 2 pp", SPECS) == [Budget("accuracy", 0.02)]
    values = {"accuracy": np.array([0.5, math.nan, 1.7])}
    assert parse_budgets("accuracy <= 160%", SPECS, values) == [Budget("accuracy", high=1.6)]
    with pytest.raises(BudgetError, match=r"it cannot be 200%; did you mean 170"):
        parse_budgets("accuracy <= 200%", SPECS, values)


MANY = [MetricInfo(name) for name in ("latency_p99", "latency_p50", "latency_p90", "accuracy", "accuracy_drop",
                                      "top5_accuracy", "worst_accuracy", "loss")]  # fmt: skip
RARE = {spec.name: np.array([1.0, *[math.nan if spec.name == "latency_p99" else 1.0] * 3]) for spec in MANY}


@pytest.mark.parametrize(
    ("typed", "hint"),
    [
        ("latency", "Did you mean 'latency p50' or 'latency p90'?"),
        ("latncy p9", "Did you mean 'latency p90'?"),
        ("acc", "Did you mean 'accuracy', 'accuracy drop' or 'top5 accuracy'?"),
        ("acc wor", "Did you mean 'worst accuracy'?"),
        ("p9", "Did you mean 'latency p90'?"),
        ("???", "Known: latency p99, latency p50, latency p90, accuracy, accuracy drop, top5 accuracy and 2 more"),
    ],
)
def test_suggestions_are_metrics_that_most_models_have_and_that_begin_as_typed(typed, hint):
    with pytest.raises(BudgetError, match=re.escape(f"There is no metric '{typed}'. {hint}") + "$"):
        parse_budgets(f"{typed} <= 1", MANY, RARE)


def test_a_rare_metric_is_suggested_where_nothing_else_is_near():
    with pytest.raises(BudgetError, match=re.escape("Did you mean 'latency p99'?")):
        parse_budgets("p99x latency <= 1", MANY[:1], RARE)


@pytest.mark.parametrize(
    ("text", "end", "metric", "bound", "written"),
    [
        ("25e6", "high", "file_bytes", 25e6, "25 MB"),
        ("3,000 kB", "high", "file_bytes", 3e6, "3 MB"),
        ("0.5", "low", "accuracy", 0.5, "50%"),
        ("> 0", "low", "accuracy", 5e-324, "> 0%"),
        ("<9 s", "high", "latency_p50", beyond(9000, "high"), "< 9 s"),
        (">= 9000", "low", "latency_p50", 9000, "9 s"),
        ("2219626", "high", "parameters", 2219626, "2,219,626"),
        (" ", "low", "accuracy", None, ""),
    ],
)
def test_one_end_in_a_field_of_its_own(text, end, metric, bound, written):
    spec = BY_NAME[metric]
    assert parse_bound(text, end, spec) == bound
    assert write_bound(bound, end, spec) == written
    assert parse_bound(written, end, spec) == bound


def test_a_field_takes_no_bound_of_the_other_end():
    with pytest.raises(BudgetError, match="'> 5 ms' says what the lowest is; this field is the highest latency p50"):
        parse_bound("> 5 ms", "high", BY_NAME["latency_p50"])


@pytest.mark.parametrize(("metric", "value"), [("accuracy", 0.25), ("file_bytes", 2.5e7), ("latency_p50", 0.0375),
                                               ("parameters", 12.0)])  # fmt: skip
def test_a_drag_has_the_units_that_bounds_are_written_in(metric, value):
    spec = BY_NAME[metric]
    unit, divisor = [each for each in shown_units(spec) if value >= each[1]][-1]
    assert f"{value / divisor:.6g}{unit}" == write_bound(value, "low", spec)


def test_a_range_of_one_value_beside_a_short_number_is_no_strict_bound():
    alone = math.nextafter(5e8, 0)
    (budget,) = parse_budgets(write_budgets([Budget("file_bytes", alone, alone)], BY_NAME.__getitem__), SPECS)
    assert (budget.low, budget.high) == (alone, alone)


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
            st.floats(-0.5, 0.5),
            st.floats(0, 0.5),
            st.sampled_from(["low", "high", "both"]),
        ),
        max_size=4,
        unique_by=lambda each: each[0],
    )
)
@example([("<b>", 0.49999999999999994, 0.0, "both")])
def test_what_is_written_reads_the_same_whatever_the_metrics_are_called(drawn):
    budgets = []
    for name, low, more, ends in drawn:
        size = 1 if BY_NAME[name].is_share else 100 if BY_NAME[name].unit == "%" else 1e9
        bounds = (None if ends == "high" else size * low, None if ends == "low" else size * (low + more))
        budgets.append(Budget(name, *bounds))
    found = parse_budgets(write_budgets(budgets, BY_NAME.__getitem__), ODD)
    assert [(b.metric, b.low, b.high) for b in found] == [
        (b.metric, *(None if end is None else pytest.approx(end, rel=1e-5) for end in (b.low, b.high))) for b in budgets
    ]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("latency <= 10 ms", ("latency_p50", 10.0)),
        ("size <= 25 MB", ("file_bytes", 25e6)),
        ("SPEED <= 2", ("speedup", 2.0)),
        ("time <= 10 ms", ("latency_p50", 10.0)),
        ("params <= 1M", ("parameters", 1e6)),
        ("memory <= 1 GB", ("peak_memory", 1e9)),
    ],
)
def test_the_obvious_words_are_understood(text, expected):
    cost, size = MetricRole.COST, MetricRole.SIZE
    specs = [
        MetricInfo("latency_p99", "ms", better=Better.LOWER, role=cost),
        MetricInfo("latency_p90", "ms", better=Better.LOWER, role=cost, pairing=Pairing.WALL_TIME),
        MetricInfo("latency_p50", "ms", better=Better.LOWER, role=cost, pairing=Pairing.WALL_TIME, primary=True),
        MetricInfo("ideal_sparse_bytes", "B", better=Better.LOWER, role=size),
        MetricInfo("file_bytes", "B", better=Better.LOWER, role=size, primary=True),
        MetricInfo("peak_memory", "B", better=Better.LOWER, role=cost),
        MetricInfo("speedup_to_parent", "x", better=Better.HIGHER, role=cost),
        MetricInfo("speedup", "x", better=Better.HIGHER, role=cost, primary=True),
        MetricInfo("parameters", role=size),
    ]
    (budget,) = parse_budgets(text, specs)
    assert (budget.metric, budget.high) == expected
