"""The Pareto front of two metrics, and what a wider budget would buy."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, TypeAlias

import numpy as np

from viewer.format.metrics import Better

__all__ = ["Bought", "best_within", "front"]


Values: TypeAlias = Sequence[float] | np.ndarray


class Bought(NamedTuple):
    """From this budget on, this is the best that one can have."""

    budget: float
    value: float
    row: int


def front(x: Values, y: Values, x_better: Better, y_better: Better) -> list[int]:
    """Return the rows that no other row dominates, by x and then by row.

    A row dominates another if it is at least as good in both metrics and better in one; equals are both on the front.
    Rows without a finite value in both metrics take no part. A metric without a direction counts as "higher is better".

    Args:
        x: float (N,).
        y: float (N,).
        x_better: the good direction of `x`.
        y_better: the good direction of `y`.
    """
    across, up = _oriented(x, x_better), _oriented(y, y_better)
    rows = np.flatnonzero(np.isfinite(across) & np.isfinite(up))
    ordered = rows[np.lexsort((-up[rows], -across[rows]))]
    front_rows: list[int] = []
    best = -np.inf
    for row in ordered:
        # equal in both to the one before, which is on the front: on the front too
        twin = bool(front_rows) and across[row] == across[front_rows[-1]] and up[row] == up[front_rows[-1]]
        if up[row] > best or twin:
            front_rows.append(int(row))
            best = max(best, up[row])
    return sorted(front_rows, key=lambda row: (x[row], row))


def best_within(
    budget: Values, goal: Values, budget_better: Better, goal_better: Better, among: np.ndarray
) -> list[Bought]:
    """Return how the best value of the goal grows as the budget relaxes: one entry per improvement, tightest first.

    Args:
        budget: float (N,), the metric that is bounded: from above, or from below where higher is better.
        goal: float (N,), the metric that is to be good.
        budget_better: the good direction of the one.
        goal_better: the good direction of the other.
        among: bool (N,), the rows that pass all else.
    """
    loose = -_oriented(budget, Better.LOWER if budget_better is not Better.HIGHER else Better.HIGHER)
    good = _oriented(goal, goal_better)
    rows = np.flatnonzero(among & np.isfinite(loose) & np.isfinite(good))
    steps: list[Bought] = []
    best = -np.inf
    for row in rows[np.lexsort((-good[rows], loose[rows]))]:
        if good[row] > best:
            best = good[row]
            steps.append(Bought(float(budget[row]), float(goal[row]), int(row)))
    return steps


def _oriented(values: Values, better: Better) -> np.ndarray:
    """The values so that more is better: float64."""
    array = np.asarray(values, dtype=np.float64)
    return -array if better is Better.LOWER else array
