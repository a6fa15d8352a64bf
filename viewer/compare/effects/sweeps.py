"""Sweeps: one operation applied to the same models with several values of one number, all else equal."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from viewer.compare.effects.places import AppliedOperation, AppliedPair

__all__ = ["Sweep", "SweptLineage", "SweptValue", "sweeps"]

_FEWEST = 2
"""Values that make a curve."""


@dataclass(frozen=True, slots=True)
class SweptValue:
    """One value of the parameter, and the models that it made: several where there are several seeds."""

    value: float
    children: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class SweptLineage:
    """The models of one lineage that had every value applied, and what came out."""

    parents: tuple[str, ...]
    values: tuple[SweptValue, ...]

    @property
    def keys(self) -> list[str]:
        """All models."""
        return [*self.parents, *(key for each in self.values for key in each.children)]


@dataclass(frozen=True, slots=True)
class Sweep:
    """An operation with the parameter that was swept."""

    id: str
    op: str
    kind: str
    parameter: str
    fixed: str
    """The other parameters, as far as they tell the sweep from others of the operation."""
    lineages: tuple[SweptLineage, ...]


def sweeps(operations: Sequence[AppliedOperation]) -> list[Sweep]:
    """Return the clean sweeps: of each lineage, the values that the same models had applied, two or more.

    Models that lack one of the values, or differ in another parameter, are on no curve with the others.
    """
    families: dict[tuple[str, str, str], list[AppliedOperation]] = defaultdict(list)
    for operation in operations:
        for name in _numbers(operation):
            rest = {other: value for other, value in operation.params.items() if other != name}
            families[operation.op, name, json.dumps(rest, sort_keys=True, default=str)].append(operation)
    clean = [
        sweep
        for (_, name, _), members in families.items()
        if len(members) >= _FEWEST
        for sweep in _sweep(name, members)
    ]
    return _told_apart(clean)


def _sweep(name: str, members: Sequence[AppliedOperation]) -> Iterator[Sweep]:
    pairs: dict[int, dict[float, list[AppliedPair]]] = defaultdict(lambda: defaultdict(list))
    for operation in members:
        for place in operation.places:
            pairs[place.parent_lineage][float(operation.params[name])].extend(place.pairs)
    lineages = [lineage for by_value in pairs.values() if (lineage := _lineage(by_value)) is not None]
    if lineages:
        first = members[0]
        ordered = sorted(lineages, key=lambda each: (-len(each.values), -len(each.parents)))  # stable: then by time
        fixed = ", ".join(
            f"{other.replace('_', ' ')} {_text(value)}"
            for other, value in first.params.items()
            if other != name and isinstance(value, str | int | float)
        )
        yield Sweep(f"{first.id}-{name}", first.op, first.kind, name.replace("_", " "), fixed, tuple(ordered))


def _lineage(by_value: Mapping[float, Sequence[AppliedPair]]) -> SweptLineage | None:
    """Return the most values that the same parents had applied; None if there are too few."""
    values_of: dict[str, set[float]] = defaultdict(set)
    for value, pairs in by_value.items():
        for pair in pairs:
            values_of[pair.parent].add(value)
    choices = {frozenset(values) for values in values_of.values() if len(values) >= _FEWEST}
    if not choices:
        return None
    parents_of = {each: [key for key, values in values_of.items() if each <= values] for each in choices}
    values = max(parents_of, key=lambda each: (len(each), len(parents_of[each]), sorted(each)))
    parents = set(parents_of[values])
    points = (
        SweptValue(value, tuple(pair.child for pair in by_value[value] if pair.parent in parents))
        for value in sorted(values)
    )
    return SweptLineage(tuple(parents_of[values]), tuple(points))


def _told_apart(clean: Sequence[Sweep]) -> list[Sweep]:
    """Leave away what is fixed where an operation has one sweep of a parameter."""
    count: dict[tuple[str, str], int] = defaultdict(int)
    for sweep in clean:
        count[sweep.op, sweep.parameter] += 1
    return [replace(each, fixed="") if count[each.op, each.parameter] == 1 else each for each in clean]


def _numbers(operation: AppliedOperation) -> list[str]:
    return [
        name
        for name, value in operation.params.items()
        if isinstance(value, int | float) and not isinstance(value, bool)
    ]


def _text(value: object) -> str:
    return (
        ("yes" if value else "no")
        if isinstance(value, bool)
        else f"{value:.6g}"
        if isinstance(value, float)
        else str(value)
    )
