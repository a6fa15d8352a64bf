"""Metrics of sets of labels. What scikit-learn defines is scikit-learn's, the intervals are ours."""

from __future__ import annotations

import numpy as np

from ops.core.tasks.multi_label import predicted_labels
from ops.core.tasks.rows import valid_rows
from pipeline.core.statistics import CONFIDENCE
from pipeline.measure.metrics._outcomes import correct_rows
from pipeline.measure.metrics.api import Better, Estimate, Pairing, Predictions, metric
from pipeline.measure.metrics.estimates import mean, share

_TARGET = "indicators"
_MOST_VALUES = 4_000_000
_SEED = 0
_KNOWN = 0.95
"""Share of the resamples in which a figure must exist for it to have an interval."""


@metric(unit="", format=".1%", better=Better.HIGHER, primary=True, pairing=Pairing.NONE)
def mean_average_precision(predictions: Predictions) -> Estimate | None:
    """Mean over the labels that occur of the average precision (scikit-learn's); the interval is a bootstrap's."""
    figures = _average_precisions(predictions)
    if figures is None:
        return None
    with np.errstate(invalid="ignore"):
        return _estimate(np.nanmean(figures, axis=1), len(predictions.ids))


@metric(unit="", format=".1%", better=Better.HIGHER, pairing=Pairing.NONE)
def worst_label_average_precision(predictions: Predictions) -> Estimate | None:
    """Average precision of the label that the model tells worst, of those that occur."""
    figures = _average_precisions(predictions)
    if figures is None:
        return None
    worst = int(np.nanargmin(figures[0]))
    return _estimate(figures[:, worst], len(predictions.ids))


@metric(unit="", format=".1%", better=Better.HIGHER, primary=True)
def subset_accuracy(predictions: Predictions) -> Estimate | None:
    """Share of instances that get exactly their labels."""
    return share(correct_rows(predictions)) if _TARGET in predictions.targets else None


@metric(unit="", format=".2%", better=Better.LOWER)
def label_error(predictions: Predictions) -> Estimate | None:
    """Share of the decisions for or against a label that are wrong (Hamming loss); of invalid outputs all are."""
    if _TARGET not in predictions.targets:
        return None
    wrong = predicted_labels(predictions) != (predictions.targets[_TARGET] > 0)
    wrong[~valid_rows(predictions)] = True
    return mean(wrong.mean(axis=1))


@metric(unit="", format=".1%", better=Better.HIGHER, pairing=Pairing.NONE)
def micro_f1(predictions: Predictions) -> float | None:
    """Harmonic mean of precision and recall of all decisions about labels (scikit-learn's f1_score)."""
    return _f1(predictions, "micro")


@metric(unit="", format=".1%", better=Better.HIGHER, pairing=Pairing.NONE)
def macro_label_f1(predictions: Predictions) -> float | None:
    """Mean of the labels' harmonic means of precision and recall, of those that occur or are given (scikit-learn's f1_score)."""
    return _f1(predictions, "macro")


def average_precisions(scores: np.ndarray, present: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Average precision of one label under several weightings of the instances, as scikit-learn defines it for each.

    Args:
        scores: float (N,), by which instances are ranked; equal ones are one place.
        present: bool (N,).
        weights: float (W, N).

    Returns:
        float64 (W,); NaN where no instance of the label has weight.
    """
    order = np.argsort(-scores, kind="stable")
    ranked = scores[order]
    ends = np.flatnonzero(np.append(ranked[1:] != ranked[:-1], True))
    hits = np.cumsum(weights[:, order] * present[order], axis=1)[:, ends]
    predicted = np.cumsum(weights[:, order], axis=1)[:, ends]
    with np.errstate(invalid="ignore", divide="ignore"):
        precision = np.where(predicted > 0, hits / predicted, 0)
        gained = np.diff(hits, axis=1, prepend=0)
        result: np.ndarray = (gained * precision).sum(axis=1) / hits[:, -1]
    return result


def _average_precisions(predictions: Predictions) -> np.ndarray | None:
    """Of the instances as they are, and of resamples: float64 (1 + resamples, labels); None where no label occurs."""
    if _TARGET not in predictions.targets or not valid_rows(predictions).all():
        return None
    present, scores = predictions.targets[_TARGET] > 0, predictions.outputs["logits"]
    if not present.any():
        return None
    count = len(present)
    number = max(200, min(1000, _MOST_VALUES // max(1, count)))
    draws = np.random.default_rng(_SEED).multinomial(count, np.full(count, 1 / count), number)
    weights = np.concatenate([np.ones((1, count)), draws])
    columns = [average_precisions(scores[:, at], present[:, at], weights) for at in range(scores.shape[1])]
    return np.stack(columns, axis=1)


def _estimate(figures: np.ndarray, count: int) -> Estimate:
    """The first figure with the percentiles of the others."""
    finite = figures[1:][np.isfinite(figures[1:])]
    if finite.size < _KNOWN * (len(figures) - 1):
        return Estimate(float(figures[0]), count=count)
    low, high = np.quantile(finite, [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2])
    return Estimate(float(figures[0]), float(low), float(high), count)


def _f1(predictions: Predictions, average: str) -> float | None:
    if _TARGET not in predictions.targets or not predictions.ids:
        return None
    from sklearn.metrics import f1_score

    present, predicted = predictions.targets[_TARGET] > 0, predicted_labels(predictions)
    some = (present | predicted).any(axis=0)
    if not some.any():
        return None
    return float(f1_score(present[:, some], predicted[:, some], average=average, zero_division=0))
