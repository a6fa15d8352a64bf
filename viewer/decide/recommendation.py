"""The model to ship: by one of three aims, within the budget, compared as the Compare page and budgets compare."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

import numpy as np

from viewer.format.metrics import Better, MetricRole
from viewer.session.proposals import original_of, size_metric, speed_metric

if TYPE_CHECKING:
    from collections.abc import Iterable

    from viewer.results.budget import Range
    from viewer.results.results import Results

__all__ = ["Aim", "Recommendation", "objectives", "recommend", "tells_losses"]

_NEAR = 0.05
"""Values farther apart than so much of them are not shown alike."""


class Aim(StrEnum):
    """What the model to ship is to be."""

    SMALLEST = "smallest"
    FASTEST = "fastest"
    BEST = "best"


@dataclass(frozen=True, slots=True)
class Recommendation:
    """The model to ship, or what is in the way."""

    aim: Aim
    quality: str
    """The metric that must not be measurably lost, or that the model is to be best in; empty where there is none."""
    objective: str
    """The metric that the model is the best in; empty where nothing of the kind was measured."""
    original: int | None
    """Row of the model that losses are told against; None where none can be."""
    unmeasured: int | None
    """Row of the model that they would be told against, had it a known quality; else None."""
    within: np.ndarray
    """bool (N,): the rows within the budget."""
    lossless: np.ndarray
    """bool (N,): the rows that lose nothing measurable, whether within the budget or not; all of them where the aim is the best."""
    row: int | None
    """Row of the model to ship."""
    alike: tuple[int, ...] = ()
    """Rows of the others that qualify and cannot be told apart from it in the objective."""


def tells_losses(results: Results, metric: str) -> bool:
    """Return whether a metric can tell what a model's answers lose: the room that it takes and what it costs do not."""
    return bool(metric) and results.spec(metric).role not in (MetricRole.SIZE, MetricRole.COST)


def objectives(results: Results, quality: str) -> dict[Aim, str]:
    """Return the metric of every aim; empty where nothing of the kind was measured."""
    return {Aim.SMALLEST: size_metric(results), Aim.FASTEST: speed_metric(results), Aim.BEST: quality}


def recommend(results: Results, aim: Aim, quality: str, filters: Iterable[Range], base: str = "") -> Recommendation:
    """Choose the model to ship.

    A model qualifies if it is sound, within the budget, and, unless the aim is the best quality, not measurably worse than the
    original in `quality`. Of these the best in the objective is chosen; times that were taken roughly or while others used
    the machine win nothing. Of several that are shown alike in it, the one with the best quality. Where the smallest or the
    fastest cannot be told apart from the original, that is the one to ship: nothing speaks for another. An original whose
    quality is not known is none: nothing can be lost against it.

    Args:
        results: those to choose from.
        aim: what the model is to be.
        quality: name of the metric of quality; empty: none is known.
        filters: the budget.
        base: key of the model that losses are told against; empty: the best original.
    """
    ranking = results.ranking
    within = ranking.passing(filters)
    original, unmeasured = original_of(results, quality, base), None
    if original is not None and quality and not np.isfinite(results.values(quality)[original]):
        original, unmeasured = None, original
    objective = objectives(results, quality)[aim]
    lossless = np.ones(len(results.keys), dtype=bool)
    if aim is not Aim.BEST and quality:
        lossless = np.isfinite(results.values(quality))
        if original is not None:
            lossless &= ranking.order(quality, original) >= 0
    best = ranking.best(objective, within & lossless) if objective else None
    if best is None:
        return Recommendation(aim, quality, objective, original, unmeasured, within, lossless, None)
    qualifying = within & lossless & results.sound & results.scope & ~results.elsewhere
    row = _best_shown_alike(results, objective, quality, best.row, qualifying)
    if aim is not Aim.BEST and original is not None and original in best.alike and qualifying[original]:
        row = original
    tied = qualifying & np.isfinite(results.values(objective)) & (ranking.order(objective, row) == 0)
    tied[row] = False
    alike = tuple(np.flatnonzero(tied).tolist())
    return Recommendation(aim, quality, objective, original, unmeasured, within, lossless, row, alike)


def _best_shown_alike(results: Results, objective: str, quality: str, first: int, qualifying: np.ndarray) -> int:
    """Return, of the rows that are shown with the very value of the first, the one with the best bare quality; else the first."""
    values, goods = results.values(objective), results.values(quality)
    if not quality or objective == quality:
        return first
    near = np.isclose(values, values[first], rtol=_NEAR) & qualifying & ~results.unsure(objective) & np.isfinite(goods)
    text = results.show(objective, first)
    equals = [row for row in np.flatnonzero(near).tolist() if results.show(objective, row) == text]
    sign = -1 if results.better(quality) is Better.LOWER else 1
    return max([first, *equals], key=lambda row: sign * goods[row] if np.isfinite(goods[row]) else -np.inf)
