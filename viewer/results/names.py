"""Names that identify: of the models of a set, the shortest that no two of them share."""

from __future__ import annotations

import math
import re
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping
from itertools import pairwise, product
from typing import Any, TypeAlias
from weakref import WeakKeyDictionary

from viewer.results.lineage import Forest, Node

__all__ = ["unique_length", "unique_names"]

ARROW = " → "
_AND = " · "
_MOST_STEPS = 12
"""Of a name; longer ones are not read, and a chain of one operation has nothing in it that tells."""
_SHORTEST_KEY = 6
_LONGEST_VALUE = 40
_SWEPT = re.compile(r"(?P<step>.*?)\[(?P<parameters>.*)\]")
_MADE = re.compile(r"(?P<head>[^()]+)\((?P<parts>[^()]+)\)")
"""A title that a program wrote: "Magnitude prune (amount: 0.5)", "Prune (50.0%)"."""
_STEM = 4
"""Letters that two forms of a word share: "Pruning" and "prune"."""
_FIRST = ("seed",)
_LAST = ("recipe",)

Facts: TypeAlias = Mapping[str, str]


def unique_names(forest: Forest, keys: Iterable[str]) -> dict[str, str]:
    """Return the name of every model: "sparsity 0.8 → finetuned → int8 · seed 7".

    It is the end of the lineage, as long as it must be for no other of the models to end like that. Models of one lineage
    are told apart by their seeds, then by parameters, then by recipes; where nothing tells them apart, by their keys.
    """
    lineages: dict[tuple[str, ...], list[str]] = defaultdict(list)
    texts = _STEPS.get(forest) or _STEPS.setdefault(forest, _StepTexts(forest))
    for key in dict.fromkeys(keys):
        if key in forest:
            lineages[_lineage(forest, texts, key)].append(key)
    ends = _ends(lineages)
    return {
        key: name
        for lineage, members in lineages.items()
        for key, name in _told_apart(forest, ends[lineage], members).items()
    }


def _lineage(forest: Forest, steps: _StepTexts, key: str) -> tuple[str, ...]:
    """Return the texts of the steps that a name may have, the last one first."""
    texts: list[str] = []
    at: str | None = key
    while at is not None and len(texts) < _MOST_STEPS:
        texts.append(steps.text(at))
        at = forest.parent(at)
    return tuple(texts)


def _ends(lineages: Iterable[tuple[str, ...]]) -> dict[tuple[str, ...], str]:
    """Return the shortest end of each lineage that tells it from the others, or all of it where none does."""
    length = dict.fromkeys(lineages, 1)
    pending = list(length)
    while pending:
        alike: dict[tuple[str, ...], list[tuple[str, ...]]] = defaultdict(list)
        for lineage in pending:
            alike[lineage[: length[lineage]]].append(lineage)
        pending = [
            lineage
            for members in alike.values()
            for lineage in members
            if len(members) > 1 and length[lineage] < len(lineage)
        ]
        for lineage in pending:
            length[lineage] += 1
    return {lineage: ARROW.join(lineage[:most][::-1]) for lineage, most in length.items()}


class _StepTexts:
    """What the steps of a forest are called."""

    def __init__(self, forest: Forest) -> None:
        self._forest = forest
        self._values: dict[tuple[str, str], set[str]] = defaultdict(set)
        """Operation and parameter -> its values in the forest."""
        self._titles: dict[tuple[str, str], set[str]] = defaultdict(set)
        """Operation and what titles name -> the values that they give."""
        for node in forest:
            for name, text in _plain(node.params).items():
                self._values[node.op, name].add(text)
            for name, text in _parts(node.title):
                self._titles[node.op, name].add(text)
        self._texts: dict[str, str] = {}

    def text(self, key: str) -> str:
        """Name a step as its recipe or its file does: "magnitude[sparsity=0.5]" reads "magnitude sparsity 0.5".

        A title that repeats the operation is passed over: a root has its id, other steps as much of their parameters as
        tells them from others of the operation.
        """
        if key not in self._texts:
            self._texts[key] = self._text(key)
        return self._texts[key]

    def _text(self, key: str) -> str:
        node, parent = self._forest[key], self._forest.parent(key)
        before = f"{self._forest[parent].name}/" if parent is not None else ""
        if before and node.name.startswith(before):
            return _readable(node.name.removeprefix(before))
        if not self._repeats(node):
            return node.title or _readable(node.name) or _operation(node) or key[:12]
        return (_readable(node.name) if parent is None else "") or self._brief(node)

    def _brief(self, node: Node) -> str:
        texts = {name: text for name, text in _plain(node.params).items() if len(self._values[node.op, name]) > 1}
        # numbers first: they are what a sweep is about
        names = sorted(texts, key=lambda name: not isinstance(node.params[name], int | float))
        parameters = ", ".join(f"{name.replace('_', ' ')} {texts[name]}" for name in names)
        return f"{node.op.replace('_', ' ')} {parameters}".strip()

    def _repeats(self, node: Node) -> bool:
        """Whether a title says nothing but the operation with its parameters, or what is the same wherever it stands."""
        made = _MADE.fullmatch(node.title)
        if made is None or not _is_form_of(made["head"], node.op):
            return False
        own = _plain(node.params)
        return all(
            any(_is_same(text, value) for each, value in own.items() if name in ("", each))
            or bool(name and name not in own and len(self._titles[node.op, name]) == 1)
            for name, text in _parts(node.title)
        )


_STEPS: WeakKeyDictionary[Forest, _StepTexts] = WeakKeyDictionary()


def _parts(title: str) -> Iterator[tuple[str, str]]:
    """Yield what stands in a title's brackets: name, which may be empty, and value."""
    made = _MADE.fullmatch(title)
    for part in made["parts"].split(", ") if made else ():
        name, _, text = part.rpartition(": ")
        yield name, text


def _is_form_of(head: str, op: str) -> bool:
    """Whether a word of the one begins as one of the other does."""
    pairs = product(head.casefold().split(), re.split(r"[\s_]+", op.casefold()))
    return any(one[:_STEM] == other[:_STEM] for one, other in pairs)


def _is_same(text: str, value: str) -> bool:
    """Whether a title gives a parameter's value: "0.5" and "50.0%" are 0.5."""
    return text == value or math.isclose(_number(text), _number(value), rel_tol=1e-5)


def _number(text: str) -> float:
    try:
        return float(text.removesuffix("%")) / (100 if text.endswith("%") else 1)
    except ValueError:
        return math.nan


def _readable(segment: str) -> str:
    swept = _SWEPT.fullmatch(segment)
    if swept is None:
        return segment
    return f"{swept['step']} {swept['parameters'].replace('=', ' ').replace(',', ', ')}".strip()


def _operation(node: Node) -> str:
    return " ".join([node.op.replace("_", " "), *(text for text in _plain(node.params).values())]).strip()


def _told_apart(forest: Forest, name: str, keys: list[str]) -> dict[str, str]:
    """Add to a name what tells the models apart that have it: as few facts as will do."""
    if len(keys) == 1:
        return {keys[0]: name}
    facts = {key: _facts(forest, key) for key in keys}
    telling: list[str] = []
    count = 1
    for fact in _in_order(facts.values()):
        more = len({tuple(facts[key].get(each, "") for each in (*telling, fact)) for key in keys})
        if more > count:
            telling, count = [*telling, fact], more
    length = 0 if count == len(keys) else unique_length(keys)
    return {
        key: _AND.join(
            [
                name,
                *(f"{fact.rpartition('/')[2]} {facts[key][fact]}" for fact in telling if fact in facts[key]),
                *([key[:length]] if length else []),
            ]
        )
        for key in keys
    }


def _facts(forest: Forest, key: str) -> Facts:
    """Return the facts that may tell a model from its twins: its notes, and the parameters of its steps, the last step's first."""
    path = forest.path(key)[::-1][:_MOST_STEPS]
    facts = {
        name: str(forest[each].notes[name])
        for each in path[::-1]
        for name in (*_FIRST, *_LAST)
        if name in forest[each].notes
    }
    for at, each in enumerate(path):
        facts |= {f"{at}/{name.replace('_', ' ')}": text for name, text in _plain(forest[each].params).items()}
    return facts


def _plain(params: Mapping[str, Any]) -> dict[str, str]:
    """Parameters that can be written in a word or two."""
    texts = {
        name: f"{value:.6g}" if isinstance(value, float) else str(value)
        for name, value in params.items()
        if isinstance(value, str | int | float)
    }
    return {name: text for name, text in texts.items() if len(text) <= _LONGEST_VALUE}


def _in_order(facts: Iterable[Facts]) -> list[str]:
    names = dict.fromkeys(name for each in facts for name in each)
    return sorted(names, key=lambda name: (name not in _FIRST, name in _LAST))


def unique_length(keys: Collection[str]) -> int:
    """Return how many characters of a key tell it from all others: six or more."""
    length = _SHORTEST_KEY
    for one, other in pairwise(sorted(keys)):
        same = next(
            (at for at, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), min(len(one), len(other))
        )
        length = max(length, same + 1)
    return length
