"""Ranking of models: those that pass a budget, the best, and the Pareto front; all as far as noise lets them be told apart."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from pipeline.core.statistics import independent_sides
from viewer.format.metrics import Better, Pairing
from viewer.results.budget import Budget, Range, effective_budget, nearest_row, passing, sentence, tightest
from viewer.results.pareto import Bought, best_within, front

if TYPE_CHECKING:
    from viewer.results.results import Results

__all__ = ["Best", "Miss", "Ranking", "budgets"]

_MOST_VERDICTS = 2000
_MOST_FRONTS = 16
"""The latest: several parts of a page ask for one."""
_FAR = 2.0
"""Of the interval of two independent values: farther apart they are so in paired comparisons too, which know more."""


@dataclass(frozen=True, slots=True)
class Best:
    """The best of some models in a metric."""

    row: int
    alike: tuple[int, ...]
    """Rows of the others that cannot be told apart from it."""


@dataclass(frozen=True, slots=True)
class Miss:
    """A model that misses a budget."""

    row: int
    budget: Budget


def budgets(filters: Iterable[Range]) -> list[Budget]:
    """Return the state's filters as budgets."""
    return [Budget(metric, low, high) for metric, low, high in filters]


class Ranking:
    """Ranks the rows of one publication's results."""

    def __init__(self, results: Results) -> None:
        self._results = results
        self._verdicts: dict[tuple[str, int], np.ndarray] = {}
        self._fronts: dict[tuple[str, str, bytes], tuple[int, ...]] = {}

    def passing(self, filters: Iterable[Range]) -> np.ndarray:
        """Return which rows in scope satisfy all filters; one without a value satisfies none on it."""
        within = passing(self.effective_budgets(filters), self._results.columns_by_name, len(self._results.keys))
        return within & self._results.scope

    def effective_budgets(self, filters: Iterable[Range]) -> list[Budget]:
        """Return the filters as they judge: by what is shown."""
        return [effective_budget(budget, self._results.spec(budget.metric)) for budget in budgets(filters)]

    def near_miss(self, filters: Iterable[Range]) -> Miss | None:
        """Return the sound model that misses one budget alone, by the least of the values' spread; None if there is none."""
        results, ranges = self._results, list(filters)
        bounds = self.effective_budgets(ranges)
        best: tuple[float, Miss] | None = None
        for at, budget in enumerate(bounds):
            values = results.values(budget.metric)
            others = passing([*bounds[:at], *bounds[at + 1 :]], results.columns_by_name, len(results.keys))
            among = others & self._eligible(None) & ~self.passing([ranges[at]]) & np.isfinite(values)
            if among.any():
                row, share = nearest_row(budget, values, among)
                if best is None or share < best[0]:
                    best = share, Miss(row, budgets(ranges)[at])
        return best[1] if best else None

    def verdicts(self, metric: str, row: int) -> np.ndarray:
        """Return which models are measurably better (1) or worse (-1) than that of a row: int8 (N,).

        It is 0 where a value is missing, where the two cannot be told apart, compared as on the Compare page, where the noise
        of a value is unknown, and where one of two times was taken roughly or while others used the machine.
        """
        signs = self._verdicts.get((metric, row))
        if signs is None:
            if len(self._verdicts) >= _MOST_VERDICTS:
                self._verdicts.clear()
            signs = self._verdicts[metric, row] = self._compare(metric, row)
        return signs

    def _compare(self, metric: str, row: int) -> np.ndarray:
        results, column = self._results, self._results.column(metric)
        difference = np.nan_to_num(column.value - column.value[row], nan=0.0)
        low, high = column.ends
        has_noise = np.isfinite(low) & np.isfinite(high)
        below, above = independent_sides(column.value, (low, high), column.value[row], (low[row], high[row]))
        with np.errstate(invalid="ignore"):
            apart = has_noise & has_noise[row] & ((difference > below) | (-difference > above))
        signs = np.where(apart, np.sign(difference), 0).astype(np.int8)
        pairing = results.spec(metric).pairing
        if pairing is not Pairing.NONE:
            close = np.abs(difference) <= _FAR * (np.maximum(below, above))
            near = close | ~has_noise | ~has_noise[row] | (pairing is not Pairing.INSTANCES)
            for other in np.flatnonzero(near & np.isfinite(column.value)):
                change = results.difference(metric, results.keys[other], results.keys[row])
                if change is not None:
                    is_told = change.has_known_noise and not change.within_noise
                    signs[other] = np.sign(change.absolute) if is_told else 0
        return self._verdict(metric, row, signs)

    def _verdict(self, metric: str, row: int, signs: np.ndarray) -> np.ndarray:
        """Turn signs of differences into better and worse; of rough times nothing is said."""
        unsure = self._results.unsure(metric)
        signs[unsure | unsure[row]] = 0
        signs[row] = 0
        return -signs if self._results.better(metric) is Better.LOWER else signs

    def order(self, metric: str, row: int) -> np.ndarray:
        """Return the verdicts that models are ranked by: as `verdicts`, but of a metric of which no noise is known by bare values."""
        if self._results.has_known_noise(metric):
            return self.verdicts(metric, row)
        values = self._results.values(metric)
        return self._verdict(metric, row, np.sign(np.nan_to_num(values - values[row], nan=0.0)).astype(np.int8))

    def front(self, x: str, y: str, among: np.ndarray | None = None) -> list[int]:
        """Return the rows that none (of those `among`) measurably beats, by x; empty where neither metric has a better end.

        One model beats another if it is measurably better in one metric and not measurably worse in the other. Models that
        cannot be told apart stand or fall together; broken ones are left out. A metric of which no noise is known at all, as
        of imported files, counts by its bare values.
        """
        results = self._results
        if not x or not y or {results.better(x), results.better(y)} == {Better.NEITHER}:
            return []
        name = x, y, b"" if among is None else among.tobytes()
        if name not in self._fronts:
            while len(self._fronts) >= _MOST_FRONTS:
                self._fronts.pop(next(iter(self._fronts)), None)
            self._fronts[name] = tuple(self._front(x, y, among))
        return list(self._fronts[name])

    def _front(self, x: str, y: str, among: np.ndarray | None) -> list[int]:
        results = self._results
        nominal = self.outline(x, y, among)
        beaten = np.zeros(len(results.keys), dtype=bool)
        for row in nominal:
            across, up = self.order(x, row), self.order(y, row)
            beaten |= (across <= 0) & (up <= 0) & (across + up < 0)
        measured = np.isfinite(results.values(x)) & np.isfinite(results.values(y))
        rows = np.flatnonzero(self._eligible(among) & measured & ~beaten).tolist()
        return sorted(rows or nominal, key=lambda row: (results.values(x)[row], row))

    def outline(self, x: str, y: str, among: np.ndarray | None = None) -> list[int]:
        """Return the rows that none beats by the bare values, by x: where the line of the front is drawn."""
        results = self._results
        xs = np.where(self._eligible(among), results.values(x), np.nan)
        return front(xs, results.values(y), results.better(x), results.better(y))

    def best(self, metric: str, among: np.ndarray) -> Best | None:
        """Return the best of some rows; None if none has a value that counts, or nothing is better.

        Broken models, rough times and those taken while others used the machine win nothing.
        """
        results, better = self._results, self._results.better(metric)
        eligible = self._eligible(among)
        values = np.where(eligible & ~results.unsure(metric), results.values(metric), np.nan)
        if not metric or not np.isfinite(values).any() or better is Better.NEITHER:
            return None
        row = int(np.nanargmin(values) if better is Better.LOWER else np.nanargmax(values))
        alike = eligible & np.isfinite(results.values(metric)) & (self.order(metric, row) == 0)
        alike[row] = False
        return Best(row, tuple(np.flatnonzero(alike).tolist()))

    def relaxation_steps(self, budget: str, goal: str, among: np.ndarray) -> list[Bought]:
        """Return how the best value of a goal grows as the budget on a metric relaxes: one entry per measurable improvement."""
        results = self._results
        eligible = self._eligible(among) & ~results.unsure(goal)
        steps: list[Bought] = []
        for step in best_within(
            results.values(budget), results.values(goal), results.better(budget), results.better(goal), eligible
        ):
            if not steps or self.order(goal, steps[-1].row)[step.row] > 0:
                steps.append(step)
        return steps

    def _eligible(self, among: np.ndarray | None) -> np.ndarray:
        """Return which rows may win: of some, or of all, those in scope that are sound and of the data set at hand."""
        eligible: np.ndarray = self._results.sound & ~self._results.elsewhere & self._results.scope
        return eligible if among is None else eligible & among

    def filter_texts(self, filters: Iterable[Range]) -> list[str]:
        """Return each filter in words."""
        return [sentence(budget, self._results.spec(budget.metric)) for budget in budgets(filters)]

    def tightest(self, filters: Iterable[Range]) -> Budget | None:
        """Return the filter without which most models would pass, if none passes all."""
        ranges = list(filters)
        bounds = self.effective_budgets(ranges)
        tight = tightest(bounds, self._results.columns_by_name, len(self._results.keys))
        return None if tight is None else budgets(ranges)[bounds.index(tight)]
