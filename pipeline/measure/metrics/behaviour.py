"""Metrics of what compression changed: a model's predictions against its base's, instance by instance."""

from __future__ import annotations

import numpy as np

from ops.core.tasks.rows import divergence, valid_rows
from ops.core.tasks.task import TASKS
from pipeline.core.errors import BouillonError
from pipeline.core.statistics import benjamini_hochberg, holm, mcnemar
from pipeline.measure.metrics._outcomes import correct_rows, is_judged
from pipeline.measure.metrics.api import Better, Estimate, Pairing, Predictions, metric
from pipeline.measure.metrics.estimates import mean, share, share_difference


class DifferentDataError(BouillonError, ValueError):
    """Two models' predictions are not of the same instances."""


@metric(unit="", format=".1%", better=Better.HIGHER)
def agreement(predictions: Predictions, base: Predictions) -> Estimate | None:
    """Share of instances with the same prediction as the base's."""
    _check(predictions, base)
    rows = TASKS[predictions.task].agreement(predictions, base)
    return None if rows is None else share(rows)


@metric(unit="", format=".1%", better=Better.LOWER)
def negative_flip_rate(predictions: Predictions, base: Predictions) -> Estimate | None:
    """Share of instances that the base gets right and this model gets wrong."""
    _check(predictions, base)
    return share(correct_rows(base) & ~correct_rows(predictions)) if is_judged(predictions) else None


@metric(unit="", format=".1%", better=Better.LOWER)
def accuracy_drop(predictions: Predictions, base: Predictions) -> Estimate | None:
    """Accuracy of the base less that of this model, on the same instances."""
    _check(predictions, base)
    if "labels" not in predictions.targets:
        return None
    return share_difference(correct_rows(base), correct_rows(predictions))


@metric(unit="nat", format=".3g", better=Better.LOWER)
def kl_to_base(predictions: Predictions, base: Predictions) -> Estimate | None:
    """Mean Kullback-Leibler divergence of this model's probabilities from the base's; none with invalid outputs."""
    _check(predictions, base)
    names = [name for name in TASKS[predictions.task].softmax_outputs if name in base.outputs]
    if not names or not (valid_rows(predictions) & valid_rows(base)).all():
        return None
    rows = np.mean([divergence(base.outputs[name], predictions.outputs[name]) for name in names], axis=0)
    return mean(rows)


@metric(unit="", format=".2g", better=Better.NEITHER, pairing=Pairing.NONE)
def mcnemar_p(predictions: Predictions, base: Predictions) -> float | None:
    """P value that this model is right as often as the base (exact McNemar test); not corrected for many models."""
    _check(predictions, base)
    return mcnemar(correct_rows(predictions), correct_rows(base)) if is_judged(predictions) else None


@metric(unit="", format=".1%", better=Better.LOWER, pairing=Pairing.NONE)
def worst_class_drop(predictions: Predictions, base: Predictions) -> float | None:
    """Largest loss of accuracy of any class against the base."""
    losses = _class_losses(predictions, base)
    return max((loss for loss, _ in losses), default=None)


@metric(unit="", format=".2g", better=Better.NEITHER, pairing=Pairing.NONE)
def class_drop_p(predictions: Predictions, base: Predictions) -> float | None:
    """P value that no class became worse (exact McNemar tests, corrected for all classes by Benjamini and Hochberg)."""
    losses = _class_losses(predictions, base)
    return float(benjamini_hochberg([p for _, p in losses]).min()) if losses else None


@metric(unit="", format=".1%", better=Better.LOWER, pairing=Pairing.NONE)
def worst_group_drop(predictions: Predictions, base: Predictions) -> float | None:
    """Largest loss of accuracy of any attribute group against the base; only for data with attributes."""
    losses = _group_losses(predictions, base)
    return max((loss for loss, _ in losses), default=None)


@metric(unit="", format=".2g", better=Better.NEITHER, pairing=Pairing.NONE)
def group_drop_p(predictions: Predictions, base: Predictions) -> float | None:
    """P value that no attribute group became worse (exact McNemar tests, corrected for all groups by Holm)."""
    losses = _group_losses(predictions, base)
    return float(holm([p for _, p in losses]).min()) if losses else None


def _class_losses(predictions: Predictions, base: Predictions) -> list[tuple[float, float]]:
    _check(predictions, base)
    if "labels" not in predictions.targets:
        return []
    return _losses(correct_rows(predictions), correct_rows(base), predictions.targets["labels"])


def _group_losses(predictions: Predictions, base: Predictions) -> list[tuple[float, float]]:
    _check(predictions, base)
    if not is_judged(predictions):
        return []
    correct, before = correct_rows(predictions), correct_rows(base)
    attributes = (np.asarray(values) for values in (predictions.attributes or {}).values())
    return [
        loss for groups in attributes for loss in _losses(*(rows[groups != ""] for rows in (correct, before, groups)))
    ]


def _losses(correct: np.ndarray, before: np.ndarray, groups: np.ndarray) -> list[tuple[float, float]]:
    """Of each group: how much accuracy it lost, and the p value of that; a gain is no evidence of a loss."""
    losses = []
    for group in np.unique(groups):
        now, then = correct[groups == group], before[groups == group]
        loss = float(then.mean() - now.mean())
        losses.append((loss, mcnemar(now, then) if loss > 0 else 1.0))
    return losses


def _check(predictions: Predictions, base: Predictions) -> None:
    if predictions.ids != base.ids:
        raise DifferentDataError(
            f"The model was evaluated on {len(predictions.ids)} instances and its base on {len(base.ids)} others: "
            "evaluate both on the same data set"
        )
