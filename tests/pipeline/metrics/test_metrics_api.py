"""Registering metrics, and computing those that some evidence allows."""

import re
from pathlib import Path

import numpy as np
import pytest

from ops.core.registry import UnknownNameError
from pipeline.measure.metrics.api import (
    METRICS,
    Better,
    Estimate,
    MetricRole,
    ModelFiles,
    Pairing,
    Predictions,
    Scenario,
    Speedups,
    Timings,
    metric,
)
from pipeline.measure.metrics.compute import compute
from pipeline.measure.metrics.estimates import mean, share

GUIDE = Path(__file__).parents[3] / "pipeline" / "measure" / "README.md"


@pytest.fixture
def predictions():
    return Predictions(
        "image-classification", ("a", "b"), ("1", "2"), {"logits": np.eye(2, dtype=np.float32)},
        {"labels": np.array([0, 0])},
    )  # fmt: skip


@pytest.fixture
def register(monkeypatch):
    """A registry that forgets what a test adds."""
    list(METRICS)
    monkeypatch.setattr(METRICS, "_items", dict(METRICS._items))
    return metric


def values(found):
    return {spec.name: estimate.value for spec, estimate in found}


def test_a_persons_own_metric_is_one_function(register, predictions):
    @register(unit="", format=".1%", better=Better.HIGHER)
    def first_class_share(predictions: Predictions) -> float:
        """Share of instances that get the first class.

        More about it.
        """
        return float((predictions.outputs["logits"].argmax(axis=1) == 0).mean())

    assert values(compute(predictions))["first_class_share"] == 0.5
    assert METRICS["first_class_share"].description == "Share of instances that get the first class."
    assert first_class_share(predictions) == 0.5  # returned unchanged


def test_the_guides_metric_counts_the_three_most_likely(register):
    (code,) = re.findall(r"```python\n(.*?)```", GUIDE.read_text(), flags=re.DOTALL)
    exec(code, {"__name__": "mine"})
    logits = np.array([[4, 3, 2, 1], [1, 2, 3, 4]], np.float32)
    four = Predictions(
        "image-classification", ("a", "b", "c", "d"), ("1", "2"), {"logits": logits}, {"labels": np.array([2, 0])}
    )
    assert values(compute(four, names=["top3_accuracy"])) == {"top3_accuracy": 0.5}


def test_metrics_of_change_need_a_base(register, predictions):
    @register(unit="", better=Better.NEITHER)
    def moved(predictions: Predictions, base: Predictions) -> Estimate:
        """How far logits moved."""
        return Estimate(float(np.abs(predictions.outputs["logits"] - base.outputs["logits"]).max()), 0, 1, 2)

    assert "moved" not in values(compute(predictions))
    found = {spec.name: estimate for spec, estimate in compute(predictions, base=predictions)}
    assert found["moved"] == Estimate(0.0, 0, 1, 2)


def test_metrics_of_timings_are_stated_for_one_scenario():
    single = Timings(np.full(20, 0.5), np.full(20, 0.4), batch_size=1, threads=1)
    offline = Timings(np.full(20, 0.5), np.full(20, 0.4), batch_size=8, threads=2, scenario=Scenario.OFFLINE)
    assert values(compute(single)) == {"cpu_time_p50": 400, "latency_p50": 500}
    assert values(compute(offline)) == {"throughput": pytest.approx(16)}


def test_a_metric_that_does_not_apply_is_left_out(predictions):
    assert {"f1", "exact_match", "top5_accuracy", "worst_group_accuracy"}.isdisjoint(values(compute(predictions)))


def test_an_unknown_name_gets_the_nearest(predictions):
    with pytest.raises(UnknownNameError, match=re.escape("No metric is called 'acuracy'. Did you mean 'accuracy'?")):
        compute(predictions, names=["acuracy"])


def test_what_takes_no_evidence_is_refused(register):
    message = "a metric takes Predictions, (Predictions, Predictions), Timings, Speedups or ModelFiles"
    with pytest.raises(TypeError, match=re.escape(message)):

        @register(unit="", better=Better.HIGHER)
        def wrong(count: int) -> float:
            return count


@pytest.mark.parametrize(
    ("evidence", "text", "role", "pairing"),
    [
        ((Predictions,), "`Predictions`", "quality", "instances"),
        ((Predictions, Predictions), "`Predictions`, and the base's", "change", "instances"),
        ((Timings,), "`Timings`", "cost", "none"),
        ((Speedups,), "`Speedups`", "cost", "none"),
        ((ModelFiles,), "`ModelFiles`", "size", "none"),
    ],
)
def test_the_evidence_says_the_role_and_the_pairing_as_in_the_guide(register, evidence, text, role, pairing):
    assert f"| {text} | `{role}` | `{pairing}` |" in GUIDE.read_text()

    def own(*evidence):
        """Says nothing of itself."""

    own.__annotations__ = dict(enumerate(evidence))
    register(unit="", better=Better.HIGHER)(own)
    assert (METRICS["own"].role, METRICS["own"].pairing) == (role, pairing)
    del METRICS._items["own"]
    register(unit="", better=Better.HIGHER, role=MetricRole.OTHER, pairing=Pairing.NONE)(own)
    assert (METRICS["own"].role, METRICS["own"].pairing) == ("other", "none")


@pytest.mark.parametrize(
    ("evidence", "options"),
    [
        (Timings, {"pairing": Pairing.INSTANCES}),
        (Timings, {"pairing": Pairing.CPU_TIME, "scenario": Scenario.OFFLINE}),
        (Speedups, {"pairing": Pairing.WALL_TIME, "better": Better.NEITHER}),
        (Predictions, {"pairing": Pairing.CPU_TIME}),
        (ModelFiles, {"pairing": Pairing.INSTANCES}),
        (Predictions, {"runtime": True}),
    ],
)
def test_pairs_that_the_evidence_does_not_have_are_refused(register, evidence, options):
    def own(evidence):
        """Says nothing of itself."""

    own.__annotations__ = {"evidence": evidence}
    with pytest.raises(TypeError, match=r"test_metrics_api\..*own: pairs by instances are of Predictions"):
        register(**{"unit": "", "better": Better.LOWER, **options})(own)
    assert "own" not in METRICS


def test_only_rows_that_are_the_instances_pair_two_models(register, predictions):
    def of(rows):
        return lambda predictions: share(np.array(rows))

    for name, rows, options in (
        ("all", [True, False], {}),
        ("part", [True], {}),
        ("unpaired", [True, False], {"pairing": Pairing.NONE}),
    ):
        compute_it = of(rows)
        compute_it.__name__, compute_it.__annotations__ = name, {"predictions": Predictions}
        register(unit="", better=Better.HIGHER, **options)(compute_it)
    found = {spec.name: estimate.rows for spec, estimate in compute(predictions, names=["all", "part", "unpaired"])}
    assert found["all"].tolist() == [1, 0]
    assert found["all"].dtype == np.float32
    assert found["part"] is found["unpaired"] is None


def test_what_is_not_a_number_does_not_count():
    estimate = mean(np.array([1.0, np.nan, 3.0]))
    assert (estimate.value, estimate.count) == (2.0, 2)
    assert np.array_equal(estimate.rows, np.array([1, np.nan, 3], np.float32), equal_nan=True)
    assert mean(np.array([np.nan])) is None


def test_every_metric_says_what_it_is():
    for name in METRICS:
        spec = METRICS[name]
        assert spec.description.endswith("."), name
        assert len(spec.description) > 15, name
        assert format(1.0, spec.format), name
        assert spec.unit in ("", "B", "ms", "nat", "J", "1/s", "x"), name
    assert [name for name in METRICS if METRICS[name].primary] == [
        "accuracy", "f1", "file_bytes", "latency_p50", "mean_absolute_error", "mean_average_precision", "mean_score",
        "output_distance", "sparsity", "speedup", "subset_accuracy", "within_tolerance",
    ]  # fmt: skip


def test_a_metric_that_fails_is_noted_and_the_others_go_on(register, predictions):
    @register(unit="", better=Better.NEITHER)
    def broken(predictions: Predictions) -> float:
        """Raises."""
        raise KeyError("oops")

    failed = {}
    assert values(compute(predictions, failed=failed))["accuracy"] == 0.5
    assert list(failed) == ["broken"]
    assert re.fullmatch(r"KeyError: 'oops' \(.*test_metrics_api\.py:\d+\)", failed["broken"])
    with pytest.raises(KeyError):
        compute(predictions)


@pytest.mark.parametrize("result", [Estimate(None), Estimate("much"), Estimate(1.0, low="less"), "much"])
def test_a_value_that_is_no_number_fails_its_metric_and_not_the_store(register, predictions, result):
    @register(unit="", better=Better.NEITHER)
    def wordy(predictions: Predictions) -> Estimate:
        """Return no number."""
        return result

    failed = {}
    names = values(compute(predictions, failed=failed))
    assert list(failed) == ["wordy"]
    assert "wordy" not in names
    assert names["accuracy"] == 0.5
