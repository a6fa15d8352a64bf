"""Bundles of models that may be drawn as one: sweeps of one parameter, large sets of siblings, and folded subtrees.

A study is shown as units. A unit is a model or a bundle of siblings; a closed unit stands for everything in it and below
it. `unfold` opens as many units as fit in a number of rows, nearest to the roots first.
"""

from __future__ import annotations

import heapq
import json
from collections import defaultdict
from collections.abc import Callable, Collection, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from hashlib import blake2s
from typing import Any

from viewer.format.natural_order import natural_sorted
from viewer.results.lineage import Forest, Node, StepOutcome

__all__ = ["Bundle", "Bundles", "Shown", "unfold"]

_FEWEST = 3
"""Two models are as quickly seen as one bundle."""
_CROWD = 12
"""Siblings from which on those of one operation are bundled, whatever tells them apart."""


@dataclass(frozen=True, slots=True)
class Bundle:
    """Siblings that may be drawn as one."""

    id: str
    """Stays the same while a sweep grows."""
    parent: str | None
    op: str
    kind: str
    parameter: str
    """The one parameter that differs; "" where several differ, or none."""
    values: tuple[Any, ...]
    """Its distinct values in natural order."""
    units: tuple[str, ...]
    """What appears when it is opened: keys of models, or ids of bundles in it."""
    members: tuple[str, ...]
    """The siblings' keys."""
    models: tuple[str, ...]
    """The siblings and all their descendants."""
    outcome: StepOutcome

    @property
    def label(self) -> str:
        """Say what it holds: "magnitude_prune sparsity 0.5…0.9, 12 models"."""
        what = " ".join(part for part in (self.op or "other steps", self.parameter, self.span) if part)
        count = f"{len(self.models)} models" if self.outcome is StepOutcome.DONE else f"{len(self.models)} steps"
        return f"{what}, {count}" + ("" if self.outcome is StepOutcome.DONE else f", {self.outcome.value}")

    @property
    def span(self) -> str:
        """The values: "0.5…0.9" of numbers, "int4, int8" of few others, "int4…int16" of many."""
        texts = [_text(value) for value in self.values]
        if len(texts) <= 1:
            return "".join(texts)
        numbers = all(isinstance(value, int | float) and not isinstance(value, bool) for value in self.values)
        return f"{texts[0]}…{texts[-1]}" if numbers or len(texts) >= _FEWEST else ", ".join(texts)


@dataclass(frozen=True, slots=True)
class Shown:
    """A unit that is visible."""

    id: str
    parent: str | None
    """Id of the visible unit that its edge comes from; None for a root."""
    bundle: str
    """Id of the innermost open bundle that it is in; "" where none."""
    open: bool
    """Whether what is below it is visible, as far as there is anything."""


class Bundles:
    """All bundles of a forest, nested: `units(None)` are the roots' units, `units(key)` those of a model's children."""

    def __init__(self, forest: Forest) -> None:
        self.forest = forest
        self.bundles: dict[str, Bundle] = {}
        self.sizes = _sizes(forest)
        shapes = _shapes(forest)
        self._units = {key: self._group(key, forest.children(key), shapes) for key in forest.nodes}
        self._roots = self._group(None, forest.roots, shapes)

    def units(self, unit: str | None) -> tuple[str, ...]:
        """Return what appears when a unit is opened; for None, what is there from the start."""
        if unit is None:
            return self._roots
        return self.bundles[unit].units if unit in self.bundles else self._units[unit]

    def models(self, unit: str) -> tuple[str, ...]:
        """Return the keys that a closed unit stands for."""
        return self.bundles[unit].models if unit in self.bundles else (unit, *self.forest.descendants(unit))

    def _group(self, parent: str | None, siblings: list[str], shapes: Mapping[str, int]) -> tuple[str, ...]:
        if len(siblings) < _FEWEST:
            return tuple(siblings)
        units = self._sweeps(parent, siblings, shapes)
        if len(units) > _CROWD:
            units = self._crowds(parent, units, lambda unit: (self._one(unit).op, self._one(unit).outcome), _FEWEST)
        if len(units) > 2 * _CROWD:
            units = self._crowds(parent, units, lambda unit: "", _FEWEST)
        return tuple(units)

    def _one(self, unit: str) -> Node:
        return self.forest[self.bundles[unit].members[0] if unit in self.bundles else unit]

    def _sweeps(self, parent: str | None, siblings: list[str], shapes: Mapping[str, int]) -> list[str]:
        alike: dict[Hashable, list[str]] = defaultdict(list)
        for key in siblings:
            node = self.forest[key]
            alike[(node.op, node.outcome, frozenset(node.params), shapes[key])].append(key)
        bundled: dict[str, str] = {}
        for keys in alike.values():
            for parameter, members in _one_parameter([self.forest[key] for key in keys]):
                unit = self._add(parent, [node.key for node in members], parameter)
                bundled |= dict.fromkeys((node.key for node in members), unit)
        return list(dict.fromkeys(bundled.get(key, key) for key in siblings))

    def _crowds(self, parent: str | None, units: list[str], like: Callable[[str], Hashable], fewest: int) -> list[str]:
        alike: dict[Hashable, list[str]] = defaultdict(list)
        for unit in units:
            alike[like(unit)].append(unit)
        bundled: dict[str, str] = {}
        for members in alike.values():
            if len(members) >= fewest:
                bundled |= dict.fromkeys(members, self._add(parent, members, None))
        return list(dict.fromkeys(bundled.get(unit, unit) for unit in units))

    def _add(self, parent: str | None, units: list[str], parameter: str | None) -> str:
        """Make a bundle; `parameter` None: a crowd."""
        members = [key for unit in units for key in (self.bundles[unit].members if unit in self.bundles else (unit,))]
        nodes = [self.forest[key] for key in members]
        first = nodes[0]
        same_op = len({node.op for node in nodes}) == 1
        bundle = Bundle(
            id="",
            parent=parent,
            op=first.op if same_op else "",
            kind=first.kind if len({node.kind for node in nodes}) == 1 else "",
            parameter=parameter or "",
            values=tuple(natural_sorted({_text(n.params[parameter]): n.params[parameter] for n in nodes}.values()))
            if parameter
            else (),
            units=tuple(units),
            members=tuple(members),
            models=tuple(each for key in members for each in (key, *self.forest.descendants(key))),
            outcome=first.outcome if len({node.outcome for node in nodes}) == 1 else StepOutcome.DONE,
        )
        fixed = (
            {name: value for name, value in first.params.items() if name != parameter}
            if parameter is not None
            else None
        )
        unit = self._free_id([parent, bundle.op, bundle.outcome, parameter, fixed])
        self.bundles[unit] = replace(bundle, id=unit)
        return unit

    def _free_id(self, identity: list[Any]) -> str:
        """Derive an id from what a bundle sweeps, not from what is in it by now; number those that look alike."""
        number = 0
        while True:
            text = json.dumps([*identity, number], sort_keys=True, default=str)
            unit = "bundle-" + blake2s(text.encode(), digest_size=6).hexdigest()
            if unit not in self.bundles and unit not in self.forest:
                return unit
            number += 1


def unfold(
    bundles: Bundles,
    *,
    rows: int | None,
    open_units: Collection[str] = (),
    closed: Collection[str] = (),
    focus: Sequence[str] = (),
) -> list[Shown]:
    """Choose what is visible, in preorder: everything where `rows` is None or enough, else what fits.

    What leads to the models in focus is opened first, then models before bundles, shallow before deep, those that cost few
    rows before those that cost many.

    Args:
        bundles: the forest with its bundles.
        rows: of the map; None: no limit.
        open_units: ids of units that are opened as soon as they are visible, beyond the rows if need be.
        closed: ids of units that stay closed.
        focus: keys of models, those to be seen first before others.
    """
    ways = _ways(bundles, focus)
    room = float("inf") if rows is None else rows - len(bundles.units(None))
    open_: set[str] = set()
    queue: list[tuple[int, bool, int, int, int, str]] = []
    count = 0

    def consider(units: Iterable[str], depth: int) -> None:
        nonlocal count
        for unit in units:
            inner = bundles.units(unit)
            if inner and unit not in closed:
                first = ways.get(unit, len(ways))
                heapq.heappush(queue, (first, unit in bundles.bundles, depth, len(inner), count, unit))
                count += 1

    consider(bundles.units(None), 0)
    while queue:
        _, _, depth, inner, _, unit = heapq.heappop(queue)
        if unit not in open_units:
            if inner - 1 > room:
                continue
            room -= inner - 1
        open_.add(unit)
        consider(bundles.units(unit), depth + (unit not in bundles.bundles))
    return _visible(bundles, open_)


def _ways(bundles: Bundles, focus: Sequence[str]) -> dict[str, int]:
    """Return the units that must be open for the models in focus to be seen, each with the first of these."""
    holder = {unit: bundle.id for bundle in bundles.bundles.values() for unit in bundle.units}
    ways: dict[str, int] = {}
    for at, key in enumerate(focus):
        for each in bundles.forest.path(key):
            unit = each
            while unit in holder:
                unit = holder[unit]
                ways.setdefault(unit, at)
            if each != key:
                ways.setdefault(each, at)
    return ways


def _visible(bundles: Bundles, open_: set[str]) -> list[Shown]:
    units: list[Shown] = []
    stack: list[tuple[str, str | None, str]] = [(unit, None, "") for unit in reversed(bundles.units(None))]
    while stack:
        unit, parent, inside = stack.pop()
        inner = bundles.units(unit) if unit in open_ else ()
        if unit in bundles.bundles and inner:
            stack.extend((each, parent, unit) for each in reversed(inner))
            continue
        units.append(Shown(unit, parent, inside, unit in open_ or not bundles.units(unit)))
        stack.extend((each, unit, "") for each in reversed(inner))
    return units


def _one_parameter(nodes: list[Node]) -> list[tuple[str, list[Node]]]:
    """Split siblings of one operation into sweeps of one parameter: the parameter that makes the fewest, largest ones."""
    if len(nodes) < _FEWEST:
        return []
    texts = [{name: _text(value) for name, value in node.params.items()} for node in nodes]
    varying = sorted(name for name in nodes[0].params if len({text[name] for text in texts}) > 1)
    best: list[list[Node]] = []
    best_name = ""
    for name in varying or [""]:
        groups: dict[Hashable, list[Node]] = defaultdict(list)
        for node, text in zip(nodes, texts, strict=True):
            groups[tuple(sorted((other, text[other]) for other in text if other != name))].append(node)
        if not best or len(groups) < len(best):
            best, best_name = list(groups.values()), name
    return [(best_name, group) for group in best if len(group) >= _FEWEST]


def _shapes(forest: Forest) -> dict[str, int]:
    """Number what is below each model: equal numbers for subtrees of the same steps with the same parameters."""
    numbers: dict[Hashable, int] = {}
    shapes: dict[str, int] = {}
    for key in reversed(forest.preorder):
        below = sorted((*_step(forest[child]), shapes[child]) for child in forest.children(key))
        shapes[key] = numbers.setdefault(tuple(below), len(numbers))
    return shapes


def _step(node: Node) -> tuple[str, str, str]:
    return node.op, node.outcome, json.dumps(node.params, sort_keys=True, default=str)


def _sizes(forest: Forest) -> dict[str, int]:
    sizes: dict[str, int] = {}
    for key in reversed(forest.preorder):
        sizes[key] = 1 + sum(sizes[child] for child in forest.children(key))
    return sizes


def _text(value: object) -> str:
    if isinstance(value, float):
        return f"{value:.6g}"
    return value if isinstance(value, str) else json.dumps(value, sort_keys=True, default=str)
