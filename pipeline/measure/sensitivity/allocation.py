"""One candidate for each layer: the least damage under budgets, by mixed-integer programming (HiGHS, through SciPy)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from pipeline.core.errors import BouillonError

__all__ = ["AllocationError", "Option", "Solution", "choose_options"]

_TIE = 1e-7
"""Share of the largest damage that a whole budget is worth: of equal damages the cheaper choice is taken."""
_SCALE = 1e4
"""Times the largest damage: the solver stops within 1e-6 of the least objective, whatever its size, which must be less than a tie."""


class AllocationError(BouillonError, ValueError):
    """Budgets that no choice meets: the message says which, and by how much."""


@dataclass(frozen=True, slots=True)
class Option:
    """A candidate for a group of layers."""

    layer: str
    """First of the group."""
    members: tuple[str, ...]
    candidate: str
    damage: float
    error: float
    """Standard error of the damage."""
    savings: Mapping[str, float]
    """Cost -> how much less."""


@dataclass(frozen=True, slots=True)
class Solution:
    """The options that were taken, and what they come to."""

    options: tuple[Option, ...]
    damage: float
    error: float
    costs: Mapping[str, float]


def choose_options(
    options: Sequence[Option],
    before: Mapping[str, float],
    bounds: Mapping[str, float],
    *,
    costs: Sequence[str] | None = None,
) -> Solution:
    """Return at most one option for each layer, of the least total damage with which every cost is within its bound.

    Exact: damage and savings of layers add up here, which is what the model is (measured damage says how far it holds).

    Args:
        options: for all layers; a layer may be a member of several groups, of which one option is taken at most.
        before: cost -> that of the model as it is.
        bounds: cost -> the most that there may be.
        costs: those that the solution tells; default: those with a bound.

    Raises:
        AllocationError: naming each budget that cannot be met, the least that can be reached, and what is lacking.
    """
    _check_bounds(options, before, bounds)
    places = _solve(options, before, bounds)
    if places is None:
        raise AllocationError(_conflict(options, before, bounds))
    result = tuple(options[place] for place in places)
    totals = {cost: before[cost] - sum(one.savings.get(cost, 0.0) for one in result) for cost in costs or bounds}
    error = float(np.sqrt(sum(one.error**2 for one in result)))
    return Solution(result, float(sum(one.damage for one in result)), error, totals)


def _solve(
    options: Sequence[Option], before: Mapping[str, float], bounds: Mapping[str, float], least: str | None = None
) -> list[int] | None:
    """Return the places of the options of least damage, or of least `least`, within the bounds; None: there are none."""
    from scipy.optimize import Bounds, LinearConstraint, milp

    if not options:
        return [] if all(before[cost] <= bound for cost, bound in bounds.items()) else None
    damage = np.array([max(one.damage, 0.0) for one in options])
    savings = {
        cost: np.array([one.savings.get(cost, 0.0) for one in options])
        for cost in {*bounds, *([least] if least else [])}
    }
    objective = -savings[least] if least else damage * (_SCALE / max(float(damage.max()), 1e-300))
    for cost in () if least else bounds:
        objective = objective - _SCALE * _TIE * savings[cost] / max(before[cost], 1e-300)
    layers = sorted({name for one in options for name in one.members})
    rows = {name: place for place, name in enumerate(layers)}
    once = np.zeros((len(layers), len(options)))
    for column, one in enumerate(options):
        once[[rows[name] for name in one.members], column] = 1
    constraints = [LinearConstraint(once, ub=1)]
    for cost, bound in bounds.items():  # in shares of the whole, so that bytes and seconds are numbers of one size
        scale = max(before[cost], 1e-300)
        constraints.append(LinearConstraint(savings[cost][None] / scale, lb=(before[cost] - bound) / scale))
    optimum = milp(
        objective * (_SCALE / max(float(np.abs(objective).max()), 1e-300) if least else 1.0),
        integrality=np.ones(len(options)),
        bounds=Bounds(0, 1),
        constraints=constraints,
        options={"mip_rel_gap": 0.0},
    )
    if optimum.x is None:
        return None
    return [place for place, value in enumerate(optimum.x) if value > 0.5]  # noqa: PLR2004 - a rounded truth value


def _check_bounds(options: Sequence[Option], before: Mapping[str, float], bounds: Mapping[str, float]) -> None:
    """Refuse every bound that cannot be met even if nothing else counted."""
    problems = []
    for cost, bound in bounds.items():
        reach = _least(options, before, cost)
        if reach > bound * (1 + 1e-9):
            problems.append(
                f"{cost} <= {_figure(bound)} cannot be met: the candidates reach {_figure(reach)} at the least, "
                f"{_figure(reach - bound)} too much (now {_figure(before[cost])}). Add stronger candidates, or raise it"
            )
    if problems:
        raise AllocationError("\n".join(problems))


def _least(options: Sequence[Option], before: Mapping[str, float], cost: str) -> float:
    """The least of a cost that any choice reaches."""
    places = _solve(options, before, {}, least=cost) or []
    return before[cost] - sum(options[place].savings.get(cost, 0.0) for place in places)


def _conflict(options: Sequence[Option], before: Mapping[str, float], bounds: Mapping[str, float]) -> str:
    """Say which bounds exclude each other, and how far the last of them would have to give way."""
    for last in bounds:
        others = {cost: bound for cost, bound in bounds.items() if cost != last}
        places = _solve(options, before, others, least=last)
        if places is not None:
            reach = before[last] - sum(options[place].savings.get(last, 0.0) for place in places)
            return (
                f"{last} <= {_figure(bounds[last])} cannot be met together with the other budgets: {_figure(reach)} is the "
                f"least, {_figure(reach - bounds[last])} too much"
            )
    return f"no choice meets {', '.join(bounds)} together; raise more than one of them"


def _figure(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"  # noqa: PLR2004 - four digits either way
