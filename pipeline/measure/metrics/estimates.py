"""Estimates from one number per instance, with their intervals."""

from __future__ import annotations

import numpy as np

from pipeline.core.statistics import bootstrap_mean, wilson
from pipeline.measure.metrics.api import Estimate

__all__ = ["mean", "share"]


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
