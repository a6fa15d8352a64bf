"""Alignment of lineages: every step of every selected model's lineage in a slot that lineages share.

A slot is an operation with its number of occurrence ("the second magnitude_prune"). Where two lineages run the same slots
in different orders, those slots are `unstable` and their order is a difference of its own.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from viewer.format.natural_order import NaturalKey, natural_key
from viewer.results.lineage import Forest, Node

__all__ = ["ABSENT", "Lineages", "Slot", "align", "root_label", "token", "value_text"]

ABSENT: NaturalKey = (-2,)
"""Token of a parameter whose operation is not in the lineage."""
UNSET: NaturalKey = (-1,)
"""Token of a parameter that the step does not have."""
_MOST_PAIRED = 200
_ORDINALS = {2: "2nd", 3: "3rd"}


@dataclass(frozen=True, slots=True, order=True)
class Slot:
    """One operation at its nth occurrence in a lineage."""

    op: str
    nth: int = 1

    @property
    def name(self) -> str:
        """The slot's name for people: "calibrate", "calibrate (2nd)"."""
        return self.op if self.nth == 1 else f"{self.op} ({_ORDINALS.get(self.nth, f'{self.nth}th')})"


@dataclass(frozen=True)
class Lineages:
    """The selection, aligned."""

    keys: list[str]
    roots: list[Node]
    """Per model."""
    sequences: list[list[Slot]]
    """Per model: its steps below the root, in order."""
    steps: dict[Slot, list[Node | None]]
    """Per slot, in the usual order of the slots: per model the step, or None where the lineage has none."""
    unstable: tuple[Slot, ...]
    """Slots that stand in different orders in different lineages."""


def align(forest: Forest, keys: Iterable[str]) -> Lineages:
    """Align the lineages of models; keys that are unknown are left out, double ones count once."""
    present = [key for key in dict.fromkeys(keys) if key in forest]
    paths = [[forest[each] for each in forest.path(key)] for key in present]
    sequences: list[list[Slot]] = []
    slots: dict[Slot, list[Node | None]] = {}
    place: Counter[Slot] = Counter()
    for model, path in enumerate(paths):
        counts: Counter[str] = Counter()
        sequence: list[Slot] = []
        for at, node in enumerate(path[1:]):
            counts[node.op] += 1
            slot = Slot(node.op, counts[node.op])
            sequence.append(slot)
            slots.setdefault(slot, [None] * len(paths))[model] = node
            place[slot] += at
        sequences.append(sequence)
    usual = sorted(slots, key=lambda slot: (place[slot] / sum(step is not None for step in slots[slot]), slot))
    steps = {slot: slots[slot] for slot in usual}
    return Lineages(present, [path[0] for path in paths], sequences, steps, _unstable(sequences, usual))


def _unstable(sequences: list[list[Slot]], usual: list[Slot]) -> tuple[Slot, ...]:
    rank = {slot: at for at, slot in enumerate(usual)}
    ranks = [[rank[slot] for slot in sequence] for sequence in sequences]
    if all(each == sorted(each) for each in ranks):
        return ()
    if len(usual) > _MOST_PAIRED:  # comparing all pairs would take too long: take every slot that is ever out of place
        odd = {at for each in ranks for at, expected in zip(each, sorted(each), strict=True) if at != expected}
        return tuple(slot for slot in usual if rank[slot] in odd)
    earlier = np.zeros((len(usual), len(usual)), dtype=bool)
    for each in (each for each in ranks if each):
        earlier[np.array(each)[:, None], each] |= np.triu(np.ones((len(each), len(each)), dtype=bool), 1)
    either_way = np.flatnonzero((earlier & earlier.T).any(axis=1))
    return tuple(usual[at] for at in either_way)


def token(value: object) -> NaturalKey:
    """Return what identifies a parameter's value and orders it; floats that differ only in dust are the same value."""
    return natural_key(_dusted(value))


def value_text(value: object) -> str:
    """Write a parameter's value for people."""
    match value:
        case bool():
            return "yes" if value else "no"
        case float():
            return f"{value:.6g}"
        case None:
            return "null"
        case list() | tuple():
            return ", ".join(value_text(each) for each in value) or "empty"
        case dict():
            return ", ".join(f"{name} {value_text(each)}" for name, each in value.items()) or "empty"
        case _:
            return str(value)


def root_label(node: Node) -> str:
    """Return the name of a root without the parameters that a sweep put into it: `resnet50[epochs=1]` is `resnet50`."""
    return re.sub(r"\[[^]]*\]", "", node.name) or node.label


def _dusted(value: object) -> object:
    match value:
        case float():
            return float(f"{value:.12g}")
        case list() | tuple():
            return [_dusted(each) for each in value]
        case dict():
            return {name: _dusted(each) for name, each in value.items()}
        case _:
            return value
