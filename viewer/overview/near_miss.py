"""The model that just misses a budget, and by how much."""

from __future__ import annotations

from collections.abc import Sequence

from viewer.format.metrics import exact_value
from viewer.results.budget import Range
from viewer.results.results import Results

__all__ = ["near_miss"]

_NEAR, _NEAR_SHARE = 0.05, 0.01
"""Misses of at most so much of the bound, or of the whole, are worth a mention beside the models that pass."""


def near_miss(results: Results, filters: Sequence[Range], *, some: bool) -> dict[str, str] | None:
    """Name the model that misses the budget by least: its `key`, its `name`, and a `text` with the distance.

    Args:
        results: those of all models.
        filters: the budget.
        some: whether models pass; then a miss is told only if it is hardly anything.
    """
    miss = results.ranking.near_miss(filters)
    if miss is None:
        return None
    metric, value = miss.budget.metric, float(results.values(miss.budget.metric)[miss.row])
    below = miss.budget.low is not None and value < miss.budget.low
    bound = miss.budget.low if below else miss.budget.high
    assert bound is not None
    distance, points = abs(value - bound), results.spec(metric).points
    in_points = points is not None
    relative = distance * points / 100 if points is not None else distance / abs(bound) if bound else distance
    if some and relative > (_NEAR_SHARE if in_points else _NEAR):
        return None
    far = (
        f"{_rounded(100 * relative)} {'pp' if in_points else '%'}"
        if in_points or bound
        else exact_value(distance, results.spec(metric))
    )
    return {
        "key": results.keys[miss.row],
        "name": results.text.name(results.keys[miss.row]),
        "text": f"{results.label(metric)} {results.show(metric, miss.row)}, {far} {'below' if below else 'above'}",
    }


def _rounded(value: float) -> str:
    return f"{value:.2g}" if value < 10 else f"{value:,.0f}"  # noqa: PLR2004 - two digits
