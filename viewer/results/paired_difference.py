"""Paired differences of two models that were measured together: known better than from two intervals of their own.

Answers are to the same instances: what makes an instance hard for both does not blur their difference. Times are of one
session, in which the two ran in turn: the machine was equally fast for both. The metric says which of these it is of.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path

import numpy as np

from pipeline.core.statistics import CONFIDENCE
from pipeline.measure.uncertain_values import Differences, paired_difference
from viewer.format.metrics import Better, MeasuredValue, MetricInfo, Pairing
from viewer.results.queries import instance_values, speedups
from viewer.results.snapshot import Setting

__all__ = ["Paired", "of_instances", "of_speedup"]

_ROUNDING = 1e-6
"""Values are kept in single precision."""


class Paired:
    """Differences between models in one context. Values by instance are read when a metric is first asked for."""

    def __init__(self, path: Path, context: Setting) -> None:
        self._path, self._context = path, context
        self._by_metric: dict[str, dict[str, np.ndarray]] = {}

    def _instances(self, metric: str) -> dict[str, np.ndarray]:
        if metric not in self._by_metric:
            self._by_metric[metric] = instance_values(self._path, self._context, metric)
        return self._by_metric[metric]

    @cached_property
    def _speedups(self) -> Mapping[tuple[str, str, str], MeasuredValue]:
        return {pair: MeasuredValue(*values) for pair, values in speedups(self._path, self._context).items()}

    def difference(self, metric: MetricInfo, key: str, other: str, values: tuple[float, float]) -> MeasuredValue | None:
        """Return the difference of two models, in the metric's unit, with its 95 % interval.

        Args:
            metric: its pairing says what the two share.
            key: the model.
            other: the model that it is compared with.
            values: of the two; instances whose mean they are not are of another evaluation.

        Returns:
            None where the two were not measured together.
        """
        if metric.pairing is Pairing.INSTANCES:
            by_instance = self._instances(metric.name)
            mine, theirs = by_instance.get(key), by_instance.get(other)
            if mine is None or theirs is None:
                return None
            return _of_evaluations(mine, theirs, values, is_share=metric.is_share and not metric.unit)
        if metric.pairing not in (Pairing.WALL_TIME, Pairing.CPU_TIME):
            return None
        speedup = self._speedup(key, other, metric.clock)
        return of_speedup(speedup, values[1], less=metric.better is Better.LOWER) if speedup else None

    def covers(self, metric: MetricInfo) -> bool:
        """Whether any models were measured together in a metric."""
        if metric.pairing is Pairing.INSTANCES:
            return bool(self._instances(metric.name))
        return bool(metric.clock) and any(clock == metric.clock for _, _, clock in self._speedups)

    def _speedup(self, key: str, other: str, clock: str) -> MeasuredValue | None:
        """Return how many times as fast a model is as another; of either way round one is recorded."""
        recorded = self._speedups.get((other, key, clock))
        if recorded is None or (key, other, clock) in self._speedups:
            return self._speedups.get((key, other, clock))
        return MeasuredValue(1 / recorded.value, 1 / recorded.high, 1 / recorded.low)


def _of_evaluations(
    mine: np.ndarray, other: np.ndarray, values: tuple[float, float], *, is_share: bool
) -> MeasuredValue | None:
    """The difference, if both count the same instances, and these give the values that are shown."""
    counted = ~np.isnan(mine)
    if len(mine) != len(other) or not np.array_equal(counted, ~np.isnan(other)) or not counted.any():
        return None
    pair = mine[counted].astype(np.float64), other[counted].astype(np.float64)
    if not all(np.isfinite(rows).all() for rows in pair):
        return None
    close = (
        math.isclose(value, rows.mean(), rel_tol=_ROUNDING, abs_tol=_ROUNDING)
        for value, rows in zip(values, pair, strict=True)
    )
    return of_instances(*pair, is_share=is_share) if all(close) else None


def of_instances(mine: np.ndarray, other: np.ndarray, *, is_share: bool = False) -> MeasuredValue | None:
    """Return the mean difference of values of the same instances with its 95 % interval: that which gates and lints use.

    Args:
        mine: values of the model, finite, float64 (instances,).
        other: those of the other.
        is_share: whether the metric is shown in percent.

    Returns:
        None where nothing tells the spread.
    """
    estimate = paired_difference(Differences.of(mine - other), is_share=is_share)
    if estimate is None:
        return None
    interval = estimate.interval(CONFIDENCE)
    return MeasuredValue(interval.value, interval.low, interval.high)


def of_speedup(speedup: MeasuredValue, reference: float, *, less: bool) -> MeasuredValue:
    """Return the difference from `reference` that a model has which is so many times as fast.

    Args:
        speedup: how many times as fast the model is, with its interval; positive.
        reference: the other's time or rate.
        less: whether it is a time, which is divided by the speedup; a rate is multiplied.
    """
    value, low, high = (
        reference * (1 / r if less else r) - reference for r in (speedup.value, speedup.low, speedup.high)
    )
    return MeasuredValue(value, min(low, high), max(low, high))
