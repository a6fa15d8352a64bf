"""Ranking of models: those that pass a budget, the best, and the Pareto front."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

import numpy as np

from viewer.format.metrics import Better
from viewer.results.budget import Budget, Range, passing, sentence, tightest
from viewer.results.pareto import front

if TYPE_CHECKING:
    from viewer.results.results import Results

__all__ = ["Ranking", "budgets"]


def budgets(filters: Iterable[Range]) -> list[Budget]:
    """Return the state's filters as budgets."""
    return [Budget(metric, low, high) for metric, low, high in filters]


class Ranking:
    """Ranks the rows of one publication's results."""

    def __init__(self, results: Results) -> None:
        self._results = results

    def passing(self, filters: Iterable[Range]) -> np.ndarray:
        """Return which rows satisfy all filters; one without a value satisfies none on it."""
        return passing(budgets(filters), self._results.columns_by_name, len(self._results.keys))

    def front(self, x: str, y: str, among: np.ndarray | None = None) -> list[int]:
        """Return the rows that none (of those `among`) beats in both metrics, by x; empty where neither has a better end."""
        if not x or not y or {self._results.better(x), self._results.better(y)} == {Better.NEITHER}:
            return []
        xs = self._results.values(x) if among is None else np.where(among, self._results.values(x), np.nan)
        return front(xs, self._results.values(y), self._results.better(x), self._results.better(y))

    def best(self, metric: str, among: np.ndarray) -> int | None:
        """Return the row with the best value; None if no row has one, or nothing is better."""
        values = np.where(among, self._results.values(metric), np.nan)
        if not metric or not np.isfinite(values).any() or self._results.better(metric) is Better.NEITHER:
            return None
        return int(np.nanargmin(values) if self._results.better(metric) is Better.LOWER else np.nanargmax(values))

    def filter_texts(self, filters: Iterable[Range]) -> list[str]:
        """Return each filter in words."""
        return [sentence(budget, self._results.spec(budget.metric)) for budget in budgets(filters)]

    def tightest(self, filters: Iterable[Range]) -> Budget | None:
        """Return the filter without which most models would pass, if none passes all."""
        return tightest(budgets(filters), self._results.columns_by_name, len(self._results.keys))
