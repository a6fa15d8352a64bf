"""Estimates from one number per instance, with their intervals."""

from __future__ import annotations

import numpy as np

from pipeline.core.statistics import CONFIDENCE, bootstrap_mean, wilson
from pipeline.measure.metrics.api import Estimate
from pipeline.measure.uncertain_values import Differences, paired_difference

__all__ = ["mean", "share", "share_difference"]


def share(rows: np.ndarray) -> Estimate | None:
    """Share of True in bool (N,), one per instance, with its Wilson interval; None of nothing."""
    if not len(rows):
        return None
    interval = wilson(int(rows.sum()), len(rows))
    return Estimate(interval.value, interval.low, interval.high, len(rows), rows.astype(np.float32))


def mean(rows: np.ndarray) -> Estimate | None:
    """Mean of floats (N,), one per instance, with its bootstrap interval; NaN does not count. None of nothing.

    An infinite mean (a label of probability zero) has no interval.
    """
    counted = rows[~np.isnan(rows)]
    if not len(counted):
        return None
    single = rows.astype(np.float32)
    if not np.isfinite(counted).all():
        return Estimate(float(counted.mean()), count=len(counted), rows=single)
    interval = bootstrap_mean(counted)
    return Estimate(interval.value, interval.low, interval.high, len(counted), single)


def share_difference(first: np.ndarray, second: np.ndarray) -> Estimate | None:
    """Share of True in the first less that in the second, bool (N,) each, of the same instances; None of nothing."""
    if not len(first):
        return None
    rows = first.astype(np.float32) - second.astype(np.float32)
    estimate = paired_difference(Differences.of(rows), is_share=True)
    assert estimate is not None  # shares have an interval from a single instance on
    interval = estimate.interval(CONFIDENCE)
    return Estimate(interval.value, interval.low, interval.high, len(rows), rows)
