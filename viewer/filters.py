"""Budgets: bounds on metrics as data, with what they mean as a predicate, as SQL and in words."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from viewer.metrics import MetricSpec, format_value

__all__ = ["Bins", "Budget", "histogram", "passing", "sentence", "sql", "tightest"]


@dataclass(frozen=True, slots=True)
class Budget:
    """A closed interval of one metric; None: no bound on that side."""

    metric: str
    low: float | None = None
    high: float | None = None


class Bins(NamedTuple):
    """A histogram: `edges` has one more element than the counts."""

    edges: list[float]
    counts: list[int]
    within: list[int]
    """Of the counted models, those that pass all budgets."""


def passing(budgets: Iterable[Budget], columns: Mapping[str, np.ndarray], count: int) -> np.ndarray:
    """Return which of `count` models pass every budget: bool (count,). Without a value a model passes no budget on it."""
    mask = np.ones(count, dtype=bool)
    for budget in budgets:
        values = columns.get(budget.metric)
        mask &= np.zeros(count, dtype=bool) if values is None else _inside(values, budget)
    return mask


def _inside(values: np.ndarray, budget: Budget) -> np.ndarray:
    low = -math.inf if budget.low is None else budget.low
    high = math.inf if budget.high is None else budget.high
    with np.errstate(invalid="ignore"):
        inside: np.ndarray = (values >= low) & (values <= high)
    return inside


def tightest(budgets: Sequence[Budget], columns: Mapping[str, np.ndarray], count: int) -> Budget | None:
    """Of budgets that no model passes together, return the one without which most would; None if some pass.

    Of several equal ones the one that its best candidate misses by least, relative to the values' spread.
    """
    if not budgets or passing(budgets, columns, count).any():
        return None

    def freed(index: int) -> tuple[int, float]:
        others = passing([*budgets[:index], *budgets[index + 1 :]], columns, count)
        return int(others.sum()), -_miss(budgets[index], columns.get(budgets[index].metric), others)

    return budgets[max(range(len(budgets)), key=freed)]


def _miss(budget: Budget, values: np.ndarray | None, among: np.ndarray) -> float:
    """By how much of the values' spread the nearest model misses the budget."""
    if values is None or not np.isfinite(values).any():
        return math.inf
    spread = float(np.nanmax(values) - np.nanmin(values)) or 1.0
    near = values[among & np.isfinite(values)]
    if not near.size:
        return math.inf
    low = 0.0 if budget.low is None else np.maximum(budget.low - near, 0)
    high = 0.0 if budget.high is None else np.maximum(near - budget.high, 0)
    return float(np.min(low + high)) / spread


def sentence(budget: Budget, spec: MetricSpec) -> str:
    """Say a budget in words, e.g. "file bytes at most 25 MB"."""
    low = None if budget.low is None else format_value(budget.low, spec)
    high = None if budget.high is None else format_value(budget.high, spec)
    if low is not None and high is not None:
        return f"{spec.label} from {low} to {high}"
    if low is not None:
        return f"{spec.label} at least {low}"
    return f"{spec.label} at most {high}" if high is not None else f"any {spec.label}"


def sql(budgets: Iterable[Budget]) -> str:
    """Return a condition on the scoreboard's columns, to be run as it stands; "true" without budgets."""
    parts: list[str] = []
    for budget in budgets:
        column = '"' + budget.metric.replace('"', '""') + '"'
        for bound, sign in ((budget.low, ">="), (budget.high, "<=")):
            if bound is not None:
                parts.append(f"{column} {sign} {_double(bound)}")
    return " AND ".join(parts) or "true"


def _double(value: float) -> str:
    """Write a number so that SQL reads the very same: a longer one without an exponent would be read as a decimal."""
    short = f"{value:.15g}"
    if float(short) == value:
        return short
    exact = repr(value)
    return exact if "e" in exact else f"{exact}e0"


def histogram(
    values: np.ndarray, within: np.ndarray, *, bins: int = 20, span: tuple[float, float] | None = None
) -> Bins:
    """Count the finite values, and those of models `within` the budgets, in at most `bins` bins.

    Few distinct whole numbers get a bin each; equal values get one bin around them. Positive values of very different
    sizes get bins that grow by a constant factor. Edges enclose every finite value, and the `span` of the
    metric's scale where bins are equally wide.
    """
    finite = np.isfinite(values)
    if not finite.any():
        return Bins([], [], [])
    some = values[finite].astype(np.float64)
    edges = _edges(some, bins, span)
    counts = np.histogram(some, edges)[0]
    passed = np.histogram(values[finite & within].astype(np.float64), edges)[0]
    return Bins(edges.tolist(), counts.tolist(), passed.tolist())


def _edges(values: np.ndarray, bins: int, span: tuple[float, float] | None) -> np.ndarray:
    low, high = float(values.min()), float(values.max())
    distinct = np.unique(values)
    if distinct.size == 1:
        margin = abs(low) * 0.05 or 0.5
        return np.array([low - margin, low + margin])
    if np.all(distinct == np.round(distinct)) and high - low < bins:
        return np.arange(low - 0.5, high + 1)
    space = np.geomspace if low > 0 and high / low > _SPREAD else np.linspace
    if span is not None and space is np.linspace:
        low, high = min(low, span[0]), max(high, span[1])
    edges = space(low, high, min(bins, max(2, distinct.size)) + 1)
    edges[0], edges[-1] = low, high  # linspace may round them away from the values that they must enclose
    return edges


_SPREAD = 1000.0
"""Ratio of largest to smallest from which on equally wide bins would put nearly all models into the first."""
