"""Comparison of selected models: the fewest variables that explain their differences, ready to draw, and in words."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import prod

from viewer.compare.alignment import Lineages, align, token, value_text
from viewer.compare.encoding import Choice, choose_encoding
from viewer.compare.sentence import comparison_sentence
from viewer.compare.variables import Raw, Variable, VariableKind, raw_variables, variable
from viewer.format.natural_order import NaturalKey, natural_key
from viewer.results.lineage import Forest, Node

__all__ = ["Comparison", "Mark", "compare_selection", "narrow"]


@dataclass(frozen=True, slots=True)
class Mark:
    """A model's place in the drawing: no two marks of a comparison are equal but for their key."""

    key: str
    x: int
    """Index of its value of the variable on x; 0 where there is none. So `color` and `facet`."""
    color: int
    facet: int
    repeat: int
    """Number, from 0, among the models of the same lineage, which share a place and have to be drawn beside each other."""
    repeats: int
    """How many they are: 1 for almost all."""


@dataclass(frozen=True)
class Comparison:
    """The variables, marks and sentence of a selection."""

    keys: tuple[str, ...]
    """The models, in the order of their marks."""
    x: Variable | None
    color: Variable | None
    facet: Variable | None
    marks: tuple[Mark, ...]
    """By facet, x, colour, repeat."""
    variables: tuple[Variable, ...]
    """All single differences with all their values: what a selection may be narrowed by."""
    sentence: str
    base: str | None
    """Key of the models' deepest common ancestor, possibly one of them."""
    confounders: tuple[str, ...] = ()
    """Labels of what differs too and is not drawn: what the drawn variables seem to do may be its doing."""
    clean: tuple[str, ...] = ()
    """The most models among which none of these differs; empty where they are fewer than two."""

    @property
    def encodings(self) -> tuple[Variable, ...]:
        """The variables that are drawn: none to three."""
        return tuple(each for each in (self.x, self.color, self.facet) if each is not None)


def compare_selection(forest: Forest, keys: Iterable[str]) -> Comparison:
    """Compare models; any number of them, in any order. Unknown keys are left out.

    Two models whose lineages differ in anything differ in x, colour or facet; models made by the same steps with the same
    parameters share them and differ in `repeat`. Takes time polynomial in the number of models and of their differences.
    """
    lineages = align(forest, sorted({key for key in keys if key in forest}, key=lambda key: _age(forest, key)))
    if not lineages.keys:
        return Comparison((), None, None, None, (), (), "Nothing is selected", None)
    raws = raw_variables(lineages)
    choice = choose_encoding(lineages, raws)
    repeat = _repeats(forest, lineages, raws)
    encodings = [_variable(lineages, *each) for each in zip(choice.variables, choice.parts, strict=True)]
    if repeat is not None and not encodings:
        encodings = [repeat]
    x, color, facet = [*encodings, None, None, None][:3]
    marks = _marks(lineages.keys, encodings, forest)
    refining = [_variable(lineages, raw, (raw,)) for raw in _single(raws)] + ([repeat] if repeat else [])
    return Comparison(
        keys=tuple(mark.key for mark in marks),
        x=x,
        color=color,
        facet=facet,
        marks=marks,
        variables=tuple(refining),
        sentence=_sentence(forest, lineages, encodings, choice, raws),
        base=forest.common_ancestor(lineages.keys),
        confounders=tuple(raw.label for raw in choice.unseen),
        clean=_clean(lineages, choice.unseen),
    )


def _clean(lineages: Lineages, unseen: Sequence[Raw]) -> tuple[str, ...]:
    groups = _groups(lineages.keys, [raw.tokens for raw in unseen]) if unseen else []
    largest = max(groups, key=len, default=[])
    return tuple(largest) if len(largest) > 1 else ()


def narrow(comparison: Comparison, selection: Mapping[str, Collection[str]]) -> list[str]:
    """Return the models that have, of every variable with selected values, one of these; unknown variables are ignored.

    `selection` maps ids of `comparison.variables` to labels of their values; no label means no restriction.
    """
    selections = [(each, set(selection[each.id])) for each in comparison.variables if selection.get(each.id)]
    return [key for key in comparison.keys if all(each.value(key) in values for each, values in selections)]


def _age(forest: Forest, key: str) -> tuple[float, str]:
    return forest[key].order, key


def _variable(lineages: Lineages, raw: Raw, parts: Sequence[Raw]) -> Variable:
    ops = [part.slot.op for part in parts if part.slot is not None and part.slot in lineages.steps]
    if any(part.kind is VariableKind.ORDER for part in parts):
        ops += [slot.op for slot in lineages.unstable]
    return variable(raw, lineages.keys, [part.id for part in parts], list(dict.fromkeys(ops)))


def _single(raws: Sequence[Raw]) -> list[Raw]:
    """Leave out presences that a parameter tells as well: it says "none" where its operation is absent."""
    explained = {raw.slot for raw in raws if raw.parameter}
    return [raw for raw in raws if raw.kind is not VariableKind.PRESENCE or raw.slot not in explained]


def _repeats(forest: Forest, lineages: Lineages, raws: Sequence[Raw]) -> Variable | None:
    """Return what tells models of the same lineage apart: a note that does, such as the seed, or their number."""
    groups = _groups(lineages.keys, [raw.tokens for raw in raws])
    if all(len(group) == 1 for group in groups):
        return None
    notes = {key: _notes(forest.path(key), forest) for key in lineages.keys}
    for name in sorted({name for each in notes.values() for name in each}, key=lambda name: (name != "seed", name)):
        tokens = {key: token(notes[key].get(name)) for key in lineages.keys}
        if all(len({tokens[key] for key in group}) == len(group) for group in groups):
            texts = [value_text(notes[key][name]) if name in notes[key] else "none" for key in lineages.keys]
            raw = Raw(name, name, VariableKind.REPEAT, tuple(tokens.values()), tuple(texts))
            return variable(raw, lineages.keys, (), ())
    number = {key: at for group in groups for at, key in enumerate(_by_path(forest, group), start=1)}
    order = [natural_key(number[key]) for key in lineages.keys]
    raw = Raw("repeat", "repeat", VariableKind.REPEAT, tuple(order), tuple(str(number[key]) for key in lineages.keys))
    return variable(raw, lineages.keys, (), ())


def _groups(keys: Sequence[str], tokens: Sequence[Sequence[NaturalKey]]) -> list[list[str]]:
    groups: dict[tuple[NaturalKey, ...], list[str]] = {}
    for model, key in enumerate(keys):
        groups.setdefault(tuple(each[model] for each in tokens), []).append(key)
    return list(groups.values())


def _notes(path: Sequence[str], forest: Forest) -> dict[str, object]:
    """Return the plain notes of a lineage; a later step's win."""
    notes: dict[str, object] = {}
    for key in path:
        notes |= {k: v for k, v in forest[key].notes.items() if isinstance(v, str | int | float | bool)}
    return notes


def _by_path(forest: Forest, keys: Iterable[str]) -> list[str]:
    """Order repeats by when their lineages were made, so that a repeat's number is its ancestor's."""
    keys = list(keys)
    if len(keys) == 1:
        return keys
    return sorted(keys, key=lambda key: [(forest[each].order, each) for each in forest.path(key)])


def _marks(keys: Sequence[str], axes: Sequence[Variable], forest: Forest) -> tuple[Mark, ...]:
    places: dict[tuple[int, int, int], list[str]] = {}
    for key in keys:
        places.setdefault(_place(key, axes), []).append(key)
    marks: list[Mark] = []
    for place in sorted(places, key=lambda place: (place[2], place[0], place[1])):
        here = _by_path(forest, places[place])
        x, color, facet = place
        marks += [Mark(key, x, color, facet, at, len(here)) for at, key in enumerate(here)]
    return tuple(marks)


def _place(key: str, axes: Sequence[Variable]) -> tuple[int, int, int]:
    x, color, facet = [*(each.of[key] for each in axes), 0, 0, 0][:3]
    return x, color, facet


def _sentence(forest: Forest, lineages: Lineages, axes: Sequence[Variable], choice: Choice, raws: Sequence[Raw]) -> str:
    if len(lineages.keys) == 1:
        node: Node = forest[lineages.keys[0]]
        return f"One model: {node.label}"
    cells = prod(len(each.values) for each in axes)
    distinct = cells if not raws else len(_groups(lineages.keys, [raw.tokens for raw in raws]))
    return comparison_sentence(axes, choice.unseen, models=len(lineages.keys), cells=cells, lineages=distinct)
