"""Choosing what to draw: at most three variables that tell all lineages apart, at the least cost for the reader.

All candidates are tried alone, then pairs and triples of the cheapest, as many as a fixed amount of work allows.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations
from math import comb

import numpy as np
import numpy.typing as npt

from viewer.compare.alignment import Lineages
from viewer.compare.candidates import Candidates, Ints, candidates
from viewer.compare.variables import Raw, VariableKind

__all__ = ["Choice", "choose_encoding"]

_TRIPLES_OF = 26
_CELLS = 1_500_000
"""Numbers that a vectorised step may handle at once: bounds the time for very large selections."""
_EMPTY, _COLORS, _FACETS, _EXCESS = 4.0, 8, 6, 0.5
_UNSEEN, _UNSEEN_ROOT = 2.0, 3.5
"""Cost of a difference that no encoding shows: a chart must not hide, above all, that the base models differ."""

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Choice:
    """The variables to draw, x first, and the differences that none of them shows."""

    variables: list[Raw]
    parts: list[tuple[Raw, ...]]
    """Per variable, what it is made of."""
    unseen: list[Raw]


def choose_encoding(lineages: Lineages, raws: list[Raw]) -> Choice:
    """Choose at most three variables such that models of different lineages differ in one of them."""
    if not raws:
        return Choice([], [], [])
    pool = candidates(lineages, raws)
    roles = _roles(_cheapest(pool), pool)
    visible = set(np.flatnonzero(pool.shows()[roles].any(axis=0)))
    return Choice(
        [pool.raw(at) for at in roles],
        [tuple(raws[member] for member in pool.sets[at]) for at in roles],
        [raw for at, raw in enumerate(raws) if at not in visible],
    )


def _cheapest(pool: Candidates) -> list[int]:
    costs = _Costs(pool)
    best: tuple[float, list[int]] = (np.inf, [0])
    for count in (1, 2, 3):
        sets = costs.injective(count)
        if len(sets):
            total = costs.total(sets)
            at = int(np.argmin(total))
            best = min(best, (float(total[at]), sets[at].tolist()), key=lambda each: each[0])
    return best[1]


class _Costs:
    """The candidates as arrays."""

    def __init__(self, pool: Candidates) -> None:
        self.codes, self.cost, self.shows = np.array(pool.codes), np.array(pool.cost), pool.shows()
        self.weight = np.array([_UNSEEN_ROOT if raw.kind is VariableKind.ROOT else _UNSEEN for raw in pool.raws])
        self.sizes = self.codes.max(axis=1) + 1
        self.lineages = int(self.sizes[0])
        """Number of different ones: the first candidate combines everything."""
        promise = self.cost + 0.3 * (~self.shows @ self.weight)
        order: list[int] = np.argsort(promise, kind="stable").tolist()
        self.order = [0, *(at for at in order if at != 0)]

    def injective(self, count: int) -> Ints:
        """Return (sets, count): the sets of candidates that tell all lineages apart, among the most promising."""
        sets = np.array(list(combinations(self.order[: self._limit(count)], count)), dtype=np.int64).reshape(-1, count)
        sets = sets[self.sizes[sets].prod(axis=1) >= self.lineages]
        injective: Ints = sets[self._told_apart(sets) == self.lineages]
        return injective

    def total(self, sets: Ints) -> Floats:
        """Return the cost per set: its variables', empty cells, differences that are not seen, too many colours or facets."""
        cells = self.sizes[sets].prod(axis=1)
        unseen = ~self.shows[sets].any(axis=1) @ self.weight
        ranked = np.sort(self.sizes[sets], axis=1)[:, ::-1]  # the largest goes on x, the next is colour, then facet
        excess = np.zeros(len(sets))
        for column, room in ((1, _COLORS), (2, _FACETS)):
            if sets.shape[1] > column:
                excess += np.maximum(ranked[:, column] - room, 0)
        empty = np.log2(cells / self.lineages)
        costs: Floats = self.cost[sets].sum(axis=1) + _EMPTY * empty + unseen + _EXCESS * excess
        return costs

    def _limit(self, count: int) -> int:
        """Return of how many candidates all sets of `count` can be looked at."""
        most, models = len(self.codes), self.codes.shape[1]
        if count == 1:
            return most
        limit = count
        while limit < most and comb(limit + 1, count) * models < _CELLS:
            limit += 1
        return limit if count == 2 else min(limit, _TRIPLES_OF)  # noqa: PLR2004 - pairs

    def _told_apart(self, sets: Ints) -> Ints:
        """Return how many models each set of variables tells apart."""
        if not len(sets):
            return np.zeros(0, dtype=np.int64)
        joint = self.codes[sets[:, 0]]
        for column in range(1, sets.shape[1]):
            joint = joint * self.sizes[sets[:, column], None] + self.codes[sets[:, column]]
        joint = np.sort(joint, axis=1)
        runs: Ints = 1 + (np.diff(joint, axis=1) != 0).sum(axis=1)
        return runs


def _roles(cheapest: list[int], pool: Candidates) -> list[int]:
    """Order variables as x, colour, facet: what is on a scale on x, few values as colours, fewest as facets."""

    def rank(at: int) -> tuple[bool, bool, int, int]:
        size = int(pool.codes[at].max()) + 1
        numeric = pool.kinds[at] is VariableKind.PARAMETER and pool.numeric(pool.sets[at])
        return size <= _COLORS, not numeric, -size, at

    return sorted(cheapest, key=rank)
