"""`allocate` in a recipe: which candidate each layer gets is found from measured damage, under budgets."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ops.core.errors import BadParamsError
from ops.core.registry import nearest
from ops.core.text import show
from pipeline.core.units import QuantityError, parse_quantity

__all__ = ["COSTS", "DAMAGES", "SAMPLES", "AllocatedStep", "AllocationRequest", "CostBudget", "read_allocation"]

COSTS = {"weight_bytes": "B", "compressed_weight_bytes": "B", "macs": "", "seconds": "s"}
"""Cost that a budget may bound -> its unit."""
DAMAGES = ("kl", "loss", "flips")
SAMPLES = 256
"""Calibration instances on which damage is measured."""
_WORDS = ("candidates", "budget", "damage", "exclude", "limits", "samples", "exact")


@dataclass(frozen=True, slots=True)
class CostBudget:
    """A bound of one cost."""

    cost: str
    bound: float
    is_share: bool
    """Whether the bound is a share of the parent's cost."""

    def absolute(self, before: float) -> float:
        """Return the bound in the cost's unit, where the parent's cost is `before`."""
        return self.bound * before if self.is_share else self.bound


@dataclass(frozen=True, slots=True)
class AllocationRequest:
    """What a step with `allocate` asks for."""

    candidates: Any
    """As written: `pipeline.plan.candidates.read_candidates` checks them."""
    budgets: tuple[CostBudget, ...]
    damage: str = "kl"
    exclude: tuple[str, ...] = ()
    """Names or globs of layers that stay as they are."""
    limits: Mapping[str, float] = field(default_factory=dict)
    """Name or glob -> the most predicted damage of such a layer."""
    samples: int = SAMPLES
    exact: int | None = None
    """So many layers of each candidate are measured, those of the largest score; None: all of a small network."""
    written: Mapping[str, Any] = field(default_factory=dict)
    """As it stands in the recipe."""


@dataclass(frozen=True, slots=True)
class AllocatedStep:
    """A step whose strengths by layer were found, and what was predicted of it."""

    path: str
    parent: str
    """Path of the model whose layers were measured."""
    request: Mapping[str, Any]
    """As it stood in the recipe."""
    choices: Mapping[str, str]
    """Layer -> candidate; those that stay are left out."""
    damage: str
    predicted_damage: float
    predicted_error: float
    predicted: Mapping[str, float]
    """Cost -> that of the result."""
    before: Mapping[str, float]
    """Cost -> that of the parent."""
    samples: int
    target: str | None
    """On which times were predicted; None: no time was."""


def read_allocation(raw: Any, where: str) -> AllocationRequest:
    """Read what stands under `allocate`.

    Raises:
        BadParamsError: in one line, with the place and the nearest fix.
    """
    if not isinstance(raw, Mapping):
        raise BadParamsError(f"{where}: expected `candidates` and `budget` (got {show(raw)})")
    for word in raw:
        if word not in _WORDS:
            raise BadParamsError(
                f"{where}: unknown word '{word}'.{nearest(str(word), _WORDS)} Known: {', '.join(_WORDS)}"
            )
    budgets, damage = raw.get("budget"), raw.get("damage", DAMAGES[0])
    if not isinstance(budgets, Mapping) or not budgets:
        raise BadParamsError(
            f"{where}.budget: expected a bound, e.g. {{compressed_weight_bytes: 150 kB}} or {{macs: 0.5}} (got {show(budgets)})"
        )
    if damage not in DAMAGES:
        raise BadParamsError(f"{where}.damage: expected one of {', '.join(DAMAGES)} (got {show(damage)})")
    return AllocationRequest(
        candidates=raw.get("candidates"),
        budgets=tuple(_budget(str(cost), bound, where) for cost, bound in budgets.items()),
        damage=damage,
        exclude=_names(raw.get("exclude", ()), f"{where}.exclude"),
        limits=_limits(raw.get("limits", {}), f"{where}.limits"),
        samples=_whole(raw.get("samples", SAMPLES), f"{where}.samples"),
        exact=None if raw.get("exact") is None else _whole(raw["exact"], f"{where}.exact"),
        written=dict(raw),
    )


def _budget(cost: str, bound: Any, where: str) -> CostBudget:
    if cost not in COSTS:
        raise BadParamsError(
            f"{where}.budget: no cost is called '{cost}'.{nearest(cost, COSTS)} Known: {', '.join(COSTS)}"
        )
    place = f"{where}.budget.{cost}"
    is_share = isinstance(bound, str) and bound.strip().endswith("%")
    try:
        value = parse_quantity(str(bound), "" if is_share else COSTS[cost])
    except QuantityError as error:
        raise BadParamsError(f"{place}: {error}") from None
    if isinstance(bound, bool) or value <= 0:
        raise BadParamsError(
            f"{place}: expected a share such as 0.5 or 50%, or an amount such as 150 kB (got {show(bound)})"
        )
    if COSTS[cost] == "s" and not isinstance(bound, str):  # half a second, or half of the time?
        raise BadParamsError(f"{place}: expected a time such as 5 ms, or a share such as 60% (got {show(bound)})")
    # a number alone up to 1 is a share of the parent's: no model costs a byte or one multiplication
    return CostBudget(cost, value, is_share or (not isinstance(bound, str) and value <= 1))


def _names(value: Any, where: str) -> tuple[str, ...]:
    if isinstance(value, str) or not isinstance(value, Sequence) or not all(isinstance(name, str) for name in value):
        raise BadParamsError(f"{where}: expected a list of layers, e.g. [head] (got {show(value)})")
    return tuple(value)


def _limits(value: Any, where: str) -> dict[str, float]:
    numbers = isinstance(value, Mapping) and all(
        isinstance(most, int | float) and not isinstance(most, bool) and most >= 0 for most in value.values()
    )
    if not numbers:
        raise BadParamsError(f"{where}: expected the most damage by layer, e.g. {{'*': 0.01}} (got {show(value)})")
    return {str(name): float(most) for name, most in value.items()}


def _whole(value: Any, where: str) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise BadParamsError(f"{where}: expected a whole number from 1 (got {show(value)})")
    return value
