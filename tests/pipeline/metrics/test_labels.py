"""Metrics of sets of labels against scikit-learn; a label that never occurs has no part in means, and none is lucky."""

from dataclasses import replace

import numpy as np
import pytest
from sklearn import metrics as sklearn_metrics

from pipeline.measure.metrics import labels, quality
from pipeline.measure.metrics.api import Predictions
from pipeline.measure.metrics.compute import compute

NAMES = tuple("abcd")


@pytest.fixture(scope="module")
def predictions():
    draw = np.random.default_rng(0)
    present = draw.random((300, 4)) < [0.5, 0.2, 0.05, 0.0]  # the last never occurs
    logits = np.float32(np.round(draw.normal(size=(300, 4)) + 1.5 * present - 0.5, 1))  # rounded: there are ties
    targets = {"indicators": present.astype(np.float32), "thresholds": np.full((300, 4), 0.5, np.float32)}
    ids = tuple(map(str, range(300)))
    return Predictions("image-multi-label-classification", NAMES, ids, {"logits": logits}, targets)


def test_agrees_with_scikit_learn(predictions):
    present, scores = predictions.targets["indicators"] > 0, predictions.outputs["logits"]
    given = scores >= 0
    each = [sklearn_metrics.average_precision_score(present[:, at], scores[:, at]) for at in range(3)]
    assert labels.mean_average_precision(predictions).value == pytest.approx(np.mean(each))
    assert labels.worst_label_average_precision(predictions).value == pytest.approx(min(each))
    assert labels.subset_accuracy(predictions).value == pytest.approx(sklearn_metrics.accuracy_score(present, given))
    assert labels.label_error(predictions).value == pytest.approx(sklearn_metrics.hamming_loss(present, given))
    micro = sklearn_metrics.f1_score(present, given, average="micro")
    assert labels.micro_f1(predictions) == pytest.approx(micro)
    macro = sklearn_metrics.f1_score(present, given, average="macro", zero_division=0)  # the last is given: 0
    assert labels.macro_label_f1(predictions) == pytest.approx(macro)
    probabilities = 1 / (1 + np.exp(-scores.astype(np.float64)))
    losses = [sklearn_metrics.log_loss(present[:, at], probabilities[:, at], labels=[0, 1]) for at in range(4)]
    assert quality.loss(predictions).value == pytest.approx(np.mean(losses))


def test_resamples_are_weights_as_scikit_learn_takes_them(predictions):
    present, scores = predictions.targets["indicators"][:, 1] > 0, predictions.outputs["logits"][:, 1]
    weights = np.random.default_rng(1).integers(0, 3, (5, len(scores))).astype(float)
    expected = [sklearn_metrics.average_precision_score(present, scores, sample_weight=each) for each in weights]
    assert labels.average_precisions(scores, present, weights) == pytest.approx(expected)


def test_shares_and_means_have_intervals(predictions):
    for name in ("mean_average_precision", "worst_label_average_precision", "subset_accuracy", "label_error"):
        estimate = getattr(labels, name)(predictions)
        assert estimate.low < estimate.value < estimate.high, name


def test_outputs_that_are_no_numbers_are_wrong_and_have_no_ranking(predictions):
    logits = predictions.outputs["logits"].copy()
    logits[:30] = np.nan
    broken = replace(predictions, outputs={"logits": logits})
    assert labels.mean_average_precision(broken) is None
    assert not labels.subset_accuracy(broken).rows[:30].any()
    assert (labels.label_error(broken).rows[:30] == 1).all()
    assert quality.invalid_outputs(broken).value == pytest.approx(0.1)


def test_only_metrics_that_have_a_meaning_are_computed(predictions):
    names = {spec.name for spec, _ in compute(predictions, base=predictions)}
    assert {"mean_average_precision", "subset_accuracy", "micro_f1", "agreement", "negative_flip_rate"} <= names
    assert not {"accuracy", "macro_f1", "calibration_error", "kl_to_base", "accuracy_drop", "r2"} & names


def test_where_no_label_occurs_nothing_is_said(predictions):
    nothing = {**predictions.targets, "indicators": np.zeros((300, 4), np.float32)}
    silent = replace(predictions, targets=nothing, outputs={"logits": np.full((300, 4), -5, np.float32)})
    assert labels.mean_average_precision(silent) is None
    assert labels.micro_f1(silent) is None
    assert labels.subset_accuracy(silent).value == 1
