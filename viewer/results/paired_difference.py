"""Paired differences of two models that were measured together: known better than from two intervals of their own.

Answers are to the same instances, of which only those that one model alone gets right tell the two apart. Times are of
one session, in which the two ran in turn: the machine was equally fast for both.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path

import numpy as np

from pipeline.core.statistics import Z
from viewer.format.metrics import MeasuredValue
from viewer.results.queries import Setting, right_answers, speedups

__all__ = ["Paired", "of_answers", "of_speedup"]

_OF_ANSWERS = ("accuracy", "exact_match")
_OF_TIMES = {"latency_p50": ("wall", True), "cpu_time_p50": ("cpu", True), "speedup": ("cpu", False)}
"""Metric -> its clock, and whether less is faster."""


class Paired:
    """Differences between models in one context. What they rest on is read when the first one is asked for."""

    def __init__(self, path: Path, context: Setting) -> None:
        self._path, self._context = path, context

    @cached_property
    def _right(self) -> dict[str, np.ndarray]:
        return right_answers(self._path, self._context)

    @cached_property
    def _speedups(self) -> Mapping[tuple[str, str, str], MeasuredValue]:
        return {pair: MeasuredValue(*values) for pair, values in speedups(self._path, self._context).items()}

    def difference(self, metric: str, key: str, other: str, values: tuple[float, float]) -> MeasuredValue | None:
        """Return the difference of `key` from `other`, in the metric's unit; None where they were not measured together.

        `values` are those of the two models: answers that do not give them are of another evaluation.
        """
        if metric in _OF_ANSWERS:
            mine, theirs = self._right.get(key), self._right.get(other)
            if mine is None or theirs is None or len(mine) != len(theirs):
                return None
            agree = all(math.isclose(v, r.mean(), abs_tol=1e-6) for v, r in zip(values, (mine, theirs), strict=True))
            return of_answers(mine, theirs) if agree else None
        if metric in _OF_TIMES:
            clock, less = _OF_TIMES[metric]
            speedup = self._speedups.get((key, other, clock))
            return of_speedup(speedup, values[1], less=less) if speedup else None
        return None


def of_answers(mine: np.ndarray, other: np.ndarray) -> MeasuredValue:
    """Return the difference of two shares of right answers with its 95 % interval; bool (instances,) each.

    Wald interval for paired proportions (Agresti, Categorical Data Analysis, 3rd edition, section 11.1).
    """
    gained, lost, count = int((mine & ~other).sum()), int((other & ~mine).sum()), len(mine)
    difference = (gained - lost) / count
    half = Z * math.sqrt(max(0.0, gained + lost - (gained - lost) ** 2 / count)) / count
    return MeasuredValue(difference, difference - half, difference + half)


def of_speedup(speedup: MeasuredValue, reference: float, *, less: bool) -> MeasuredValue:
    """Return the difference from `reference` that a model has which is so many times as fast.

    `less`: of a time, which is divided by the speedup; else of a rate, which is multiplied.
    """
    value, low, high = (
        reference * (1 / r if less else r) - reference for r in (speedup.value, speedup.low, speedup.high)
    )
    return MeasuredValue(value, *sorted((low, high)))
