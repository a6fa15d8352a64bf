"""Columns of the model map: as few as possible such that every model stands right of its parent, under its operation.

Trees are given as parallel sequences in preorder: `parents[i]` is the index of the parent of item i, less than i, or -1.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from itertools import zip_longest

import numpy as np
import numpy.typing as npt

__all__ = ["ColumnHeading", "by_operation", "by_step", "by_time", "supersequence"]

_WIDTH = 30
_WORK = 8_000_000
"""States x sequences x length that the search may touch per step, about: 30 states for any study seen."""
_TIME_COLUMNS = 16

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class ColumnHeading:
    """The heading of a column."""

    label: str
    op: str
    nth: int
    """1 for the first column of this operation, 2 for the second, ..."""


def by_operation(ops: Sequence[str], parents: Sequence[int]) -> tuple[list[int], list[ColumnHeading]]:
    """Return the column of every item and the headers; roots share column 0.

    Models made by the same operation share a column where their lineages allow it. Never more than
    (distinct operations below the roots) x (steps below the roots) + 1 columns.
    """
    sequences = _sequences(ops, parents)
    order = supersequence(sequences)
    spots: dict[str, list[int]] = {}
    for column, op in enumerate(order, start=1):
        spots.setdefault(op, []).append(column)
    columns: list[int] = []
    for op, parent in zip(ops, parents, strict=True):
        columns.append(0 if parent < 0 else spots[op][bisect_right(spots[op], columns[parent])])
    return columns, _headers(_root_label(ops, parents), order) if ops else []


def by_step(parents: Sequence[int]) -> tuple[list[int], list[ColumnHeading]]:
    """Return the number of steps from the root as column."""
    columns: list[int] = []
    for parent in parents:
        columns.append(0 if parent < 0 else columns[parent] + 1)
    labels = ["base", *(f"step {step}" for step in range(1, max(columns, default=0) + 1))]
    return columns, [ColumnHeading(label, "", 1) for label in labels[: max(columns, default=-1) + 1]]


def by_time(orders: Sequence[float], parents: Sequence[int]) -> tuple[list[int], list[ColumnHeading]]:
    """Return columns of equally many consecutive models; a child stands right of its parent, whatever its time."""
    when: list[float] = []  # a fast step may be recorded before its parent is: it counts as made after it all the same
    for order, parent in zip(orders, parents, strict=True):
        when.append(order if parent < 0 else max(order, when[parent]))
    ranks = {at: rank for rank, at in enumerate(sorted(range(len(orders)), key=lambda at: (when[at], at)))}
    size = max(1, -(-len(orders) // _TIME_COLUMNS))
    columns: list[int] = []
    for at, parent in enumerate(parents):
        bin_ = ranks[at] // size
        columns.append(bin_ if parent < 0 else max(bin_, columns[parent] + 1))
    used = {column: new for new, column in enumerate(sorted(set(columns)))}
    columns = [used[column] for column in columns]
    return columns, [ColumnHeading(_span(columns, ranks, column), "", 1) for column in range(len(used))]


def supersequence(sequences: Sequence[Sequence[str]]) -> list[str]:
    """Return a short common supersequence: every given sequence is left when some of its elements are struck out.

    Finding the shortest is NP-hard for many sequences. This is a beam search over how far each sequence has been
    matched, guided by the sum of cubes of what remains (long remainders are what costs columns), followed by a pass
    that drops elements no sequence needs; compare Mousavi, Bahri & Tabataba, "An enhanced beam search algorithm for
    the shortest common supersequence problem", 2012. Deterministic, and the same for any order of the input.
    """
    maximal = _maximal(sequences)
    if len(maximal) <= 1:
        return list(maximal[0]) if maximal else []
    letters = _letters(maximal)
    code = {letter: at for at, letter in enumerate(letters)}
    lengths = np.array([len(sequence) for sequence in maximal])
    matrix = np.full((len(maximal), lengths.max() + 1), len(letters))
    for row, sequence in enumerate(maximal):
        matrix[row, : len(sequence)] = [code[letter] for letter in sequence]
    cyclic = list(range(len(letters))) * int(lengths.max())  # holds every sequence: the bound that is promised
    order = _reduce(_beam(matrix, lengths, len(letters)), matrix, lengths)
    if len(order) > len(cyclic):
        order = _reduce(cyclic, matrix, lengths)
    return [letters[at] for at in order]


def _maximal(sequences: Sequence[Sequence[str]]) -> list[tuple[str, ...]]:
    """Return the distinct sequences that are no prefix of another, sorted."""
    distinct = sorted({tuple(sequence) for sequence in sequences if sequence})
    return [one for one, other in zip_longest(distinct, distinct[1:], fillvalue=()) if other[: len(one)] != one]


def _letters(sequences: list[tuple[str, ...]]) -> list[str]:
    """Order the alphabet by where its letters stand on average: what usually comes first goes first among equals."""
    total: Counter[str] = Counter()
    count: Counter[str] = Counter()
    for sequence in sequences:
        for at, letter in enumerate(sequence):
            total[letter] += at
            count[letter] += 1
    return sorted(count, key=lambda letter: (total[letter] / count[letter], letter))


def _beam(matrix: Ints, lengths: Ints, letters: int) -> list[int]:
    """Search; `matrix` (sequences, longest + 1) is padded with `letters`, which no step matches."""
    width = max(1, min(_WIDTH, _WORK // matrix.size))
    rows = np.arange(len(matrix))
    cost = np.arange(matrix.shape[1], dtype=float) ** 3
    gain_of = np.diff(cost, prepend=0.0)
    names = np.random.default_rng(0).integers(1, 2**30, size=len(matrix)).astype(float)  # a state's identity is a sum
    matched = np.zeros((1, len(matrix)), dtype=np.int64)
    remaining, name = np.array([cost[lengths].sum()]), np.zeros(1)
    steps: list[tuple[Ints, Ints]] = []
    while remaining.min() > 0:
        states = len(matched)
        current = matrix[rows, matched]
        cell = (current + np.arange(states)[:, None] * (letters + 1)).ravel()
        gain = _sums(cell, gain_of[lengths - matched], states, letters)
        moved = _sums(cell, np.broadcast_to(names, current.shape), states, letters)
        after, identity = (remaining[:, None] - gain).ravel(), (name[:, None] + moved).ravel()
        after[gain.ravel() == 0] = np.inf
        best = _best(after, identity, width)
        parent, letter = np.divmod(best, letters)
        steps.append((parent, letter))
        matched = matched[parent] + (current[parent] == letter[:, None])
        remaining, name = after[best], identity[best]
    return _trace(steps, int(np.argmin(remaining)))


def _sums(cell: Ints, weights: Floats, states: int, letters: int) -> Floats:
    """Return (states, letters): the weights of all sequences that wait for a letter, added up."""
    sums: Floats = np.bincount(cell, weights.ravel(), states * (letters + 1)).astype(np.float64)
    return sums.reshape(states, letters + 1)[:, :letters]


def _best(after: Floats, identity: Floats, width: int) -> Ints:
    """Return the indices of the `width` best distinct states that get on."""
    order = np.argsort(after, kind="stable")
    order = order[np.isfinite(after[order])]
    _, first = np.unique(identity[order], return_index=True)
    return order[np.sort(first)[:width]]


def _trace(steps: list[tuple[Ints, Ints]], state: int) -> list[int]:
    order: list[int] = []
    for parent, letter in reversed(steps):
        order.append(int(letter[state]))
        state = int(parent[state])
    return order[::-1]


def _reduce(order: list[int], matrix: Ints, lengths: Ints) -> list[int]:
    """Drop elements, from the right, that no sequence needs."""
    reversed_ = np.full_like(matrix, matrix.max())
    for row, length in enumerate(lengths):
        reversed_[row, :length] = matrix[row, :length][::-1]
    after = np.zeros(len(matrix), dtype=np.int64)  # how much of every sequence's end the kept right part holds
    before = _progress(order, matrix)
    columns: list[int] = []
    rows = np.arange(len(matrix))
    for at in range(len(order) - 1, -1, -1):
        if np.all(before[at] + after >= lengths):
            continue
        columns.append(order[at])
        after = after + (reversed_[rows, after] == order[at])
    return columns[::-1]


def _progress(order: list[int], matrix: Ints) -> list[Ints]:
    """Return, before every element, how much of each sequence is matched."""
    rows = np.arange(len(matrix))
    progress = [np.zeros(len(matrix), dtype=np.int64)]
    for letter in order:
        progress.append(progress[-1] + (matrix[rows, progress[-1]] == letter))
    return progress


def _sequences(ops: Sequence[str], parents: Sequence[int]) -> list[list[str]]:
    """Return the operations from below a root to every end, each distinct one once."""
    names: dict[Hashable, int] = {}
    above: list[int] = []
    letter: list[str] = []
    of: list[int] = []
    for op, parent in zip(ops, parents, strict=True):
        if parent < 0:
            of.append(-1)
            continue
        name = names.setdefault((of[parent], op), len(names))
        of.append(name)
        if name == len(above):
            above.append(of[parent])
            letter.append(op)
    ends = set(range(len(above))) - set(above)
    return [_upwards(end, above, letter) for end in sorted(ends)]


def _upwards(end: int, above: list[int], letter: list[str]) -> list[str]:
    headers: list[str] = []
    while end >= 0:
        headers.append(letter[end])
        end = above[end]
    return headers[::-1]


def _root_label(ops: Sequence[str], parents: Sequence[int]) -> str:
    roots = {op for op, parent in zip(ops, parents, strict=True) if parent < 0}
    return next(iter(roots)) if len(roots) == 1 and "" not in roots else "base"


def _headers(root: str, order: list[str]) -> list[ColumnHeading]:
    counts: Counter[str] = Counter()
    headers = []
    for op in [root, *order]:
        counts[op] += 1
        headers.append(ColumnHeading(op if counts[op] == 1 else f"{op} {counts[op]}", op, counts[op]))
    return headers


def _span(columns: list[int], ranks: dict[int, int], column: int) -> str:
    inside = [ranks[at] + 1 for at, each in enumerate(columns) if each == column]
    low, high = min(inside), max(inside)
    return f"{low}" if low == high else f"{low}-{high}"
