"""Metrics of models without a task: how far outputs moved from the base's, on the same instances."""

from __future__ import annotations

import numpy as np

from pipeline.measure.metrics._outcomes import is_judged
from pipeline.measure.metrics.api import Better, Estimate, Predictions, metric
from pipeline.measure.metrics.estimates import mean


@metric(unit="", format=".3g", better=Better.LOWER, primary=True)
def output_distance(predictions: Predictions, base: Predictions) -> Estimate | None:
    """Mean over instances of the distance of the outputs from the base's, in units of their norm; of several outputs the largest."""
    pairs = _pairs(predictions, base)
    if pairs is None:
        return None
    with np.errstate(divide="ignore", invalid="ignore"):
        parts = [np.linalg.norm(own - theirs, axis=1) / np.linalg.norm(theirs, axis=1) for own, theirs in pairs]
    same = [(own == theirs).all(axis=1) for own, theirs in pairs]  # nothing is far from itself, zeros neither
    return mean(np.max([np.where(equal, 0.0, part) for equal, part in zip(same, parts, strict=True)], axis=0))


@metric(unit="", format=".4f", better=Better.HIGHER)
def output_cosine(predictions: Predictions, base: Predictions) -> Estimate | None:
    """Mean over instances of the cosine of the angle between the outputs and the base's; of several outputs the smallest."""
    pairs = _pairs(predictions, base)
    if pairs is None:
        return None
    return mean(np.min([_cosines(own, theirs) for own, theirs in pairs], axis=0))


def _cosines(own: np.ndarray, theirs: np.ndarray) -> np.ndarray:
    """float64 (N,) of (N, values); zeros have no direction: they agree with zeros alone."""
    lengths = np.linalg.norm(own, axis=1) * np.linalg.norm(theirs, axis=1)
    same = (own == theirs).all(axis=1)
    cosines: np.ndarray = np.where(lengths > 0, (own * theirs).sum(axis=1) / np.where(lengths > 0, lengths, 1), same)
    return cosines


def _pairs(predictions: Predictions, base: Predictions) -> list[tuple[np.ndarray, np.ndarray]] | None:
    """The outputs of both as float64 (N, values), one pair per output; None where the task says what is right, or of no numbers."""
    if is_judged(predictions) or predictions.ids != base.ids or not predictions.ids:
        return None
    pairs = []
    for name, theirs in base.outputs.items():
        own = predictions.outputs.get(name)
        if own is None or own.shape != theirs.shape:
            return None
        pairs.append(tuple(values.reshape(len(values), -1).astype(np.float64) for values in (own, theirs)))
    if not all(np.isfinite(values).all() for pair in pairs for values in pair):
        return None
    return pairs  # type: ignore[return-value]  # each tuple has two
