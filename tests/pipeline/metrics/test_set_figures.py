"""Figures on evaluation sets: named, spread over the own instances, and the difference of differences by instance."""

from types import SimpleNamespace

import numpy as np
import pytest

from pipeline.measure.lints.api import Measured, Subject
from pipeline.measure.lints.shift import costs_more_under_shift
from pipeline.measure.metrics.api import Predictions
from pipeline.plan.evaluation_sets import EvaluationSpec
from pipeline.stages.evaluation_sets.set_figures import AnswerPair, metric_record, set_figures
from pipeline.store.writer import Store
from pipeline.sweep.config import ConfigError
from pipeline.sweep.preflight import check_sets, set_records
from tests.pipeline.store.facts import GROUND


def answers(correct: np.ndarray) -> Predictions:
    labels = np.arange(len(correct)) % 3
    given = np.where(correct, labels, (labels + 1) % 3)
    return Predictions(
        "image-classification",
        ("a", "b", "c"),
        tuple(f"i{at}" for at in range(len(correct))),
        {"logits": np.eye(3, dtype=np.float32)[given] * 4},
        {"labels": labels},
    )


def drawn(rng: np.random.Generator, share: float) -> np.ndarray:
    return rng.random(600) < share


def test_extra_loss_is_the_difference_of_differences_by_instance():
    rng = np.random.default_rng(0)
    base_here, here, base_there, there = (drawn(rng, share) for share in (0.95, 0.94, 0.8, 0.6))
    rows = np.ones(600, bool)
    figures = set_figures(
        "noise", AnswerPair(answers(there), answers(base_there)), AnswerPair(answers(here), answers(base_here)), rows
    ).estimates
    values = (base_there.astype(float) - there) - (base_here.astype(float) - here)
    extra = figures["accuracy extra_loss @ noise"]
    assert extra.value == pytest.approx(values.mean())
    half = 1.96 * values.std(ddof=1) / 600**0.5
    assert (extra.low, extra.high) == pytest.approx((values.mean() - half, values.mean() + half), abs=0.003)
    assert figures["accuracy @ noise"].value == pytest.approx(there.mean())


def test_of_other_data_the_two_paired_intervals_count():
    rng = np.random.default_rng(0)
    base_here, here = drawn(rng, 0.95), drawn(rng, 0.94)
    far = [drawn(rng, share)[:300] for share in (0.8, 0.6)]
    figures = set_figures(
        "other", AnswerPair(answers(far[1]), answers(far[0])), AnswerPair(answers(here), answers(base_here)), None
    ).estimates
    extra = figures["accuracy extra_loss @ other"]
    assert extra.value == pytest.approx((far[0].mean() - far[1].mean()) - (base_here.mean() - here.mean()))
    assert extra.low < extra.value < extra.high
    assert figures["accuracy @ other"].rows is None


def test_a_slice_has_values_where_it_has_instances():
    rng = np.random.default_rng(0)
    correct, rows = drawn(rng, 0.9), np.arange(600) % 4 == 0
    figures = set_figures(
        "some", AnswerPair(answers(correct[rows]), None), AnswerPair(answers(correct), None), rows
    ).estimates
    values = figures["accuracy @ some"].rows
    assert np.isnan(values[~rows]).all()
    np.testing.assert_array_equal(values[rows], correct[rows])
    assert not any("extra_loss" in name for name in figures)


def test_a_metric_says_what_it_means():
    record = metric_record("accuracy @ noise")
    assert (record.better, record.format, record.role, record.pairing) == ("higher", ".1%", "quality", "instances")
    assert record.description.endswith("on the evaluation set noise.")
    assert metric_record("accuracy extra_loss @ noise").better == "lower"


def subject(**extra: tuple[float, float, float]) -> Subject:
    metrics = {f"accuracy extra_loss @ {name}": Measured(*values) for name, values in extra.items()}
    return Subject("k", "m", "quantize", "quantize", {}, "onnxruntime", metrics)


def test_the_lint_speaks_beyond_chance_and_counts_the_sets():
    assert costs_more_under_shift(subject(noise=(0.001, -0.01, 0.012))) is None
    finding = costs_more_under_shift(subject(noise=(0.08, 0.05, 0.11), blur=(0.001, -0.01, 0.012)))
    assert finding is not None
    assert "8.0 points [5.0, 11.0] more accuracy on noise" in finding.message
    assert "blur" not in finding.message
    barely = {"noise": (0.03, 0.002, 0.058)}
    assert costs_more_under_shift(subject(**barely)) is not None
    others = {f"s{at}": (0.0, -0.03, 0.03) for at in range(10)}
    assert costs_more_under_shift(subject(**barely, **others)) is None  # one of eleven may look so by chance


def test_a_name_stands_for_one_content_in_a_results_file(tmp_path):
    """Else figures of two sets would stand in one column; results that are brought together say so."""
    recipe = SimpleNamespace(evaluate=(EvaluationSpec("noise", "gaussian_noise", 3),))
    one, other = (SimpleNamespace(data_fingerprint="data1", evaluation_sets={"noise": own}) for own in ("i1", "i2"))
    stores = []
    for facts in (one, other):
        stores.append(Store(tmp_path / f"{facts.evaluation_sets['noise']}.duckdb"))
        stores[-1].write([*GROUND, *set_records(facts, recipe)])
        stores[-1].publish()
    check_sets(one, recipe, stores[0])
    with pytest.raises(ConfigError, match=r"evaluate\.noise: .* another set by this name, .*gaussian_noise"):
        check_sets(other, recipe, stores[0])
    stores[1].close()
    (conflict,) = stores[0].merge(tmp_path / "i2.duckdb").conflicts
    assert (
        conflict
        == "evaluation_set: dataset data1, name noise: another set by the same name; figures of both are here now"
    )
    with pytest.raises(ConfigError, match="another set by this name"):
        check_sets(one, recipe, stores[0])
