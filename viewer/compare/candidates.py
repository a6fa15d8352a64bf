"""Candidate variables of a comparison: single differences and combinations of them, a bounded number.

Candidates are the differences themselves, one parameter of operations that exclude each other, sets of such operations,
combinations found by merging, step by step, the two parts that depend on each other most, and all but one of these. Their
number grows with the number of differences, not with the number of ways to combine them.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import combinations

import numpy as np
import numpy.typing as npt

from viewer.compare.alignment import ABSENT, Lineages, Slot, token
from viewer.compare.variables import BASE, Raw, VariableKind, combine, shared

__all__ = ["Candidates", "candidates"]

_MOST_PARTS = 14
_MOST_RAWS = 40
_CHEAPEST = 6
_MANY = 12
_NUMBER = token(0)[0]
_WIDEST = 2**62

Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]


class Candidates:
    """Variables that may be drawn; the first combines all differences. Labels are made only of those that are drawn."""

    def __init__(self, lineages: Lineages, raws: list[Raw]) -> None:
        self.lineages = lineages
        self.raws = raws
        self.codes_of_raw = np.array([_codes(raw.tokens) for raw in raws])
        """(differences, models)."""
        self.sets: list[tuple[int, ...]] = []
        """Per candidate, the differences that it shows."""
        self.codes: list[Ints] = []
        """Per candidate, its values by number: (models,)."""
        self.cost: list[float] = []
        self.kinds: list[VariableKind] = []
        self._tried_sets: set[tuple[tuple[int, ...], bool]] = set()

    def add(self, members: Iterable[int]) -> None:
        """Add the combination of some differences."""
        joint = tuple(sorted(set(members)))
        if not joint or (joint, False) in self._tried_sets:
            return
        self._tried_sets.add((joint, False))
        codes = _joint(self.codes_of_raw[list(joint)])
        self._append(joint, codes, self._kind(joint))

    def add_shared(self, members: Sequence[int]) -> None:
        """Add one parameter of operations that exclude each other."""
        joint = tuple(sorted(members))
        if (joint, True) not in self._tried_sets:
            self._tried_sets.add((joint, True))
            self._append(joint, _codes(shared([self.raws[at] for at in joint]).tokens), VariableKind.PARAMETER)

    def _append(self, joint: tuple[int, ...], codes: Ints, kind: VariableKind) -> None:
        self.sets.append(joint)
        self.codes.append(codes)
        self.kinds.append(kind)
        numeric = kind is VariableKind.PARAMETER and self.numeric(joint)
        gaps = joint[-1] - joint[0] + 1 - len(joint)  # of equals, steps that follow each other
        self.cost.append(_cost(kind, int(codes.max()) + 1, len(joint), numeric=numeric) + 0.01 * gaps)

    def numeric(self, joint: tuple[int, ...]) -> bool:
        """Whether the values of parameters can be put to scale."""
        return all(value == ABSENT or value[0] == _NUMBER for at in joint for value in self.raws[at].tokens)

    def _kind(self, joint: tuple[int, ...]) -> VariableKind:
        raws = [self.raws[at] for at in joint]
        if len(raws) == 1:
            return raws[0].kind
        if any(raw.kind is not VariableKind.PRESENCE for raw in raws):
            return VariableKind.SEQUENCE
        present = self.codes_of_raw[list(joint)] == [[_code_of_presence(raw)] for raw in raws]
        return VariableKind.OPERATION if present.sum(axis=0).max() <= 1 else VariableKind.SEQUENCE

    def _presences(self, joint: tuple[int, ...]) -> list[bool]:
        """Return which presences follow from what is written: a parameter's value says that its operation is there."""
        slots = {self.raws[at].slot for at in joint if self.raws[at].parameter}
        if any(self.raws[at].kind is VariableKind.ORDER for at in joint):
            slots |= set(self.lineages.unstable)
        return [raw.kind is VariableKind.PRESENCE and raw.slot in slots for raw in self.raws]

    def raw(self, at: int) -> Raw:
        """Build the variable of a candidate, with its labels."""
        raws = [self.raws[member] for member in self.sets[at]]
        if len(raws) == 1:
            return raws[0]
        if self.kinds[at] is VariableKind.PARAMETER:
            return shared(raws)
        return combine(self.lineages, raws, self.kinds[at])

    def shows(self) -> Bools:
        """Return (candidates, differences): which differences a reader sees in which candidate."""
        table = np.zeros((len(self.sets), len(self.raws)), dtype=bool)
        for row, joint in enumerate(self.sets):
            table[row, list(joint)] = True
            if len(joint) == 1 or self.kinds[row] is not VariableKind.PARAMETER:
                table[row] |= self._presences(joint)
        return table


def candidates(lineages: Lineages, raws: list[Raw]) -> Candidates:
    """Collect the candidates; `raws` holds at least one difference."""
    pool = Candidates(lineages, raws)
    every = range(len(pool.raws))
    pool.add(every)
    for at in every[:_MOST_RAWS]:
        pool.add([at])
    parts = _parts(pool)
    exclusive = _exclusive(pool)
    groups = [*exclusive, *_same_partition(pool), *_merged(pool, parts), *_merged(pool, _presences(pool))]
    for members in groups:
        pool.add(members)
    alike = _alike_parameters(pool, exclusive)
    for members in alike:
        pool.add_shared(members)
    singles = [(at,) for at in every[:_MOST_RAWS]]
    for members in [*singles, *groups, *alike, *(one + other for one, other in combinations(_cheap(pool), 2))]:
        pool.add(set(every) - set(members))
    return pool


def _cheap(pool: Candidates) -> list[tuple[int, ...]]:
    order = sorted(range(len(pool.sets)), key=lambda at: (pool.cost[at], at))
    return [pool.sets[at] for at in order[:_CHEAPEST]]


def _parts(pool: Candidates) -> list[tuple[int, ...]]:
    """Group the differences by what they belong to: the base model, a slot; the order belongs to all its slots."""
    groups: dict[object, list[int]] = {}
    odd = set(pool.lineages.unstable)
    for at, raw in enumerate(pool.raws):
        name: object = "root" if raw.kind is VariableKind.ROOT or raw.slot == BASE else raw.slot or raw.id
        if raw.kind is VariableKind.ORDER or (raw.slot in odd and raw.kind is VariableKind.PRESENCE):
            name = "order"
        groups.setdefault(name, []).append(at)
    return _few([tuple(members) for members in groups.values()])


def _presences(pool: Candidates) -> list[tuple[int, ...]]:
    kinds = VariableKind.PRESENCE, VariableKind.ORDER
    return _few([(at,) for at, raw in enumerate(pool.raws) if raw.kind in kinds])


def _few(parts: list[tuple[int, ...]]) -> list[tuple[int, ...]]:
    """Put what is beyond the limit into one part."""
    rest = tuple(at for part in parts[_MOST_PARTS - 1 :] for at in part)
    return [*parts[: _MOST_PARTS - 1], rest] if rest else parts


def _same_partition(pool: Candidates) -> list[tuple[int, ...]]:
    """Differences that always go together: the operations of a step that some lineages have and others have not."""
    groups: dict[bytes, list[int]] = {}
    for at, raw in enumerate(pool.raws):
        if raw.kind is VariableKind.PRESENCE:
            groups.setdefault(_first_seen(pool.codes_of_raw[at]).tobytes(), []).append(at)
    return [tuple(members) for members in groups.values() if len(members) > 1]


def _first_seen(codes: Ints) -> Ints:
    """Number values by first appearance: equal results mean equal partitions."""
    _, first, inverse = np.unique(codes, return_index=True, return_inverse=True)
    number: Ints = np.argsort(np.argsort(first))[inverse]
    return number


def _exclusive(pool: Candidates) -> list[tuple[int, ...]]:
    """Return sets of operations of which no lineage has two: alternatives of each other."""
    presences = [at for at, raw in enumerate(pool.raws) if raw.kind is VariableKind.PRESENCE]
    has: dict[int, Bools] = {at: pool.codes_of_raw[at] == _code_of_presence(pool.raws[at]) for at in presences}
    sets: set[tuple[int, ...]] = set()
    for start in list(has)[:_MOST_RAWS]:
        members, covered = [start], has[start].copy()
        for other, where in has.items():
            if other != start and not (covered & where).any():
                members.append(other)
                covered |= where
        sets.add(tuple(sorted(members)))
        sets |= _by_kind(pool, members)
    return sorted(members for members in sets if len(members) > 1)


def _by_kind(pool: Candidates, members: list[int]) -> set[tuple[int, ...]]:
    """Of alternatives, those of one kind: ways to prune, ways to recover."""
    groups: dict[str, list[int]] = {}
    for at in members:
        slot = pool.raws[at].slot
        step = next(step for step in pool.lineages.steps[slot] if step is not None) if slot else None
        groups.setdefault(step.kind if step else "", []).append(at)
    return {tuple(sorted(group)) for group in groups.values()}


def _alike_parameters(pool: Candidates, exclusive: list[tuple[int, ...]]) -> list[tuple[int, ...]]:
    """Return parameters of one name, and of one sort of value, that alternatives have in common."""
    sets: set[tuple[int, ...]] = set()
    for members in exclusive:
        slots: set[Slot | None] = {pool.raws[at].slot for at in members}
        by_kind: dict[tuple[str, frozenset[int]], list[int]] = {}
        for at, raw in enumerate(pool.raws):
            if raw.kind is VariableKind.PARAMETER and raw.slot in slots:
                sorts = frozenset(int(value[0]) for value in raw.tokens if value != ABSENT)
                by_kind.setdefault((raw.parameter, sorts), []).append(at)
        sets |= {tuple(each) for each in by_kind.values() if len(each) > 1}
    return sorted(sets)


def _merged(pool: Candidates, parts: list[tuple[int, ...]]) -> list[tuple[int, ...]]:
    """Merge two parts at a time, those that depend on each other most; return every part and merger on the way."""
    codes = [_joint(pool.codes_of_raw[list(part)]) for part in parts]
    sets = list(parts)
    parts = list(parts)
    while len(parts) > 1:
        sizes = [int(each.max()) + 1 for each in codes]

        def independence(pair: tuple[int, int], sizes: list[int] = sizes) -> tuple[float, int, int, int]:
            one, other = pair
            together = len(np.unique(codes[one] * sizes[other] + codes[other]))
            return together / (sizes[one] * sizes[other]), together, other - one, one

        one, other = min(combinations(range(len(parts)), 2), key=independence)
        parts[one] = parts[one] + parts.pop(other)
        codes[one] = _joint(np.array([codes[one], codes.pop(other)]))
        sets.append(parts[one])
    return sets


def _codes(tokens: Sequence[object]) -> Ints:
    index: dict[object, int] = {}
    return np.array([index.setdefault(each, len(index)) for each in tokens], dtype=np.int64)


def _code_of_presence(raw: Raw) -> int:
    """Return the code that stands for an operation's being there."""
    return 0 if raw.tokens[0] == (1,) else 1


def _joint(codes: Ints) -> Ints:
    """Return one code per distinct column of (variables, models)."""
    joint: Ints = codes[0]
    room = int(joint.max()) + 1
    for each in codes[1:]:
        size = int(each.max()) + 1
        if room * size > _WIDEST:
            joint = np.unique(joint, return_inverse=True)[1].astype(np.int64)
            room = int(joint.max()) + 1
        joint, room = joint * size + each, room * size
    return np.unique(joint, return_inverse=True)[1].astype(np.int64) if len(codes) > 1 else joint


def _cost(kind: VariableKind, values: int, parts: int, *, numeric: bool) -> float:
    """Return the effort that a variable asks of the reader: parameters on a scale are easiest, long texts hardest."""
    match kind:
        case VariableKind.PARAMETER:
            return 1 + (0.05 if numeric else 0.15) * values
        case VariableKind.ROOT:
            return 0.8 + 0.2 * values
        case VariableKind.PRESENCE:
            return 2.0
        case VariableKind.ORDER | VariableKind.OPERATION:
            return 2 + 0.5 * values
        case _:
            if values == 2:  # noqa: PLR2004 - with and without
                return 2.3 + 0.1 * parts
            few = min(values, _MANY)  # the more long texts there are, the less each of them is read
            return 2 + 0.25 * few**2 + 2 * (values - few)
