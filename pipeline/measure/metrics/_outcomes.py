"""Rows of correctness, and intervals, for the metrics of predictions."""

from __future__ import annotations

import numpy as np

from ops.core.tasks.task import TASKS
from pipeline.core.statistics import bootstrap_mean, wilson
from pipeline.measure.metrics.api import Estimate, Predictions


def correct_rows(predictions: Predictions) -> np.ndarray:
    """True where the model is right, as its task says: bool (N,)."""
    return TASKS[predictions.task].correct(predictions)


def share(rows: np.ndarray) -> Estimate | None:
    """Share of True with its Wilson interval; None of nothing."""
    if not len(rows):
        return None
    interval = wilson(int(rows.sum()), len(rows))
    return Estimate(interval.value, interval.low, interval.high, len(rows))


def mean(rows: np.ndarray) -> Estimate | None:
    """Mean with its bootstrap interval; None of nothing. An infinite mean (a label of probability zero) has none."""
    if not len(rows):
        return None
    if not np.isfinite(rows).all():
        return Estimate(float(rows.mean()), count=len(rows))
    interval = bootstrap_mean(rows)
    return Estimate(interval.value, interval.low, interval.high, len(rows))
