"""Metrics of how right a model's answers are, on the target that it will run on."""

from __future__ import annotations

import numpy as np

from ops.core.tasks.classification import predicted_classes
from ops.core.tasks.functions import FunctionTask
from ops.core.tasks.question_answering import token_f1_rows
from ops.core.tasks.rows import log_softmax, valid_rows
from ops.core.tasks.task import TASKS
from pipeline.core.statistics import expected_calibration_error
from pipeline.measure.metrics._outcomes import correct_rows
from pipeline.measure.metrics.api import Better, Estimate, Pairing, Predictions, metric
from pipeline.measure.metrics.estimates import mean, share

_TOP = 5


@metric(unit="", format=".1%", better=Better.HIGHER, primary=True)
def accuracy(predictions: Predictions) -> Estimate | None:
    """Share of instances whose most likely class is the label."""
    return share(correct_rows(predictions)) if "labels" in predictions.targets else None


@metric(unit="", format=".1%", better=Better.HIGHER)
def top5_accuracy(predictions: Predictions) -> Estimate | None:
    """Share of instances whose label is among the five most likely classes; only with more than five classes."""
    if "labels" not in predictions.targets or len(predictions.classes) <= _TOP:
        return None
    logits, labels = predictions.outputs["logits"], predictions.targets["labels"][:, None]
    own = np.take_along_axis(logits, labels, axis=1)
    # of equal logits the first class comes first, as in argmax: a constant output must not look right
    earlier = (logits == own) & (np.arange(logits.shape[1]) < labels)
    rank = ((logits > own) | earlier).sum(axis=1)
    return share((rank < _TOP) & valid_rows(predictions))


@metric(unit="nat", format=".4g", better=Better.LOWER)
def loss(predictions: Predictions) -> Estimate | None:
    """Mean cross-entropy of the true label (of start and end for question answering); none with invalid outputs."""
    if not valid_rows(predictions).all():
        return None
    rows = TASKS[predictions.task].loss_rows(predictions)
    return None if rows is None else mean(rows)


@metric(unit="", format=".1%", better=Better.LOWER, pairing=Pairing.NONE)
def calibration_error(predictions: Predictions) -> float | None:
    """Distance of confidence from accuracy (expected calibration error, 15 bins)."""
    if "labels" not in predictions.targets or not valid_rows(predictions).all() or not predictions.ids:
        return None
    confidence = np.exp(log_softmax(predictions.outputs["logits"]).max(axis=1))
    return expected_calibration_error(confidence, correct_rows(predictions))


@metric(unit="", format=".1%", better=Better.HIGHER, pairing=Pairing.NONE)
def macro_f1(predictions: Predictions) -> float | None:
    """Mean over the classes of the harmonic mean of precision and recall."""
    if "labels" not in predictions.targets or not predictions.ids:
        return None
    labels, predicted = predictions.targets["labels"], predicted_classes(predictions)
    size = len(predictions.classes)
    label_counts = np.bincount(labels, minlength=size)
    predicted_counts = np.bincount(predicted[predicted >= 0], minlength=size)
    hits = np.bincount(labels[labels == predicted], minlength=size)
    present = label_counts + predicted_counts > 0
    return float((2 * hits[present] / (label_counts + predicted_counts)[present]).mean())


@metric(unit="", format=".1%", better=Better.HIGHER, pairing=Pairing.NONE)
def worst_class_accuracy(predictions: Predictions) -> Estimate | None:
    """Accuracy of the class that the model serves worst."""
    if "labels" not in predictions.targets:
        return None
    return _worst(correct_rows(predictions), predictions.targets["labels"])


@metric(unit="", format=".1%", better=Better.HIGHER, pairing=Pairing.NONE)
def worst_group_accuracy(predictions: Predictions) -> Estimate | None:
    """Accuracy of the attribute group that the model serves worst; only for data with attributes."""
    if "labels" not in predictions.targets:
        return None
    correct = correct_rows(predictions)
    attributes = [np.asarray(values) for values in (predictions.attributes or {}).values()]
    result = [_worst(correct[groups != ""], groups[groups != ""]) for groups in attributes]
    return min((worst for worst in result if worst), key=lambda worst: worst.value, default=None)


@metric(unit="", format=".1%", better=Better.HIGHER, primary=True)
def f1(predictions: Predictions) -> Estimate | None:
    """Mean overlap of the answer's words with the best accepted answer (question answering)."""
    return mean(token_f1_rows(predictions)) if predictions.references else None


@metric(unit="", format=".1%", better=Better.HIGHER)
def exact_match(predictions: Predictions) -> Estimate | None:
    """Share of answers that equal an accepted one (question answering)."""
    return share(correct_rows(predictions)) if predictions.references else None


@metric(unit="", format=".1%", better=Better.HIGHER, primary=True)
def mean_score(predictions: Predictions) -> Estimate | None:
    """Mean score of the answers, from 0 to 1, of a task of a person's own that is given by functions."""
    task = TASKS[predictions.task]
    return mean(task.scores(predictions)) if isinstance(task, FunctionTask) else None


@metric(unit="", format=".2%", better=Better.LOWER)
def invalid_outputs(predictions: Predictions) -> Estimate | None:
    """Share of instances for which the model gives NaN or infinity."""
    return share(~TASKS[predictions.task].valid(predictions))


def _worst(correct: np.ndarray, groups: np.ndarray) -> Estimate | None:
    shares = [share(correct[groups == group]) for group in np.unique(groups)]
    return min((estimate for estimate in shares if estimate), key=lambda estimate: estimate.value, default=None)
