"""Places of operations: each operation with its parameters, and the lineages that it was applied to."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Hashable, Iterable, Mapping
from dataclasses import dataclass, replace
from hashlib import blake2s
from typing import Any

from viewer.format.natural_order import natural_key
from viewer.results.lineage import Forest, Node, StepOutcome
from viewer.results.results import Results

__all__ = ["AppliedOperation", "AppliedPair", "AppliedPlace", "applied_operations", "lineages", "step_id", "step_texts"]


@dataclass(frozen=True, slots=True)
class AppliedPair:
    """A model and the one that it was made from, by their keys."""

    parent: str
    child: str


@dataclass(frozen=True, slots=True)
class AppliedPlace:
    """One lineage that an operation was applied to: several pairs where it was with several seeds."""

    pairs: tuple[AppliedPair, ...]
    parent_lineage: int
    """Number of the parents' lineage."""

    @property
    def keys(self) -> list[str]:
        """The models of all pairs, each once."""
        return list(dict.fromkeys(key for pair in self.pairs for key in (pair.parent, pair.child)))


@dataclass(frozen=True, slots=True)
class AppliedOperation:
    """An operation with its parameters, and where it was applied."""

    id: str
    """Short, and the same in every publication."""
    op: str
    kind: str
    params: Mapping[str, Any]
    text: str
    """Its parameters as far as they tell it from others of this operation; empty of the only one."""
    whole: str
    """The operation with all of its parameters."""
    places: tuple[AppliedPlace, ...]
    failed: int
    """Number of models that it failed on."""

    @property
    def pairs(self) -> list[AppliedPair]:
        """Those of all places."""
        return [pair for place in self.places for pair in place.pairs]

    @property
    def has_seeds(self) -> bool:
        """Whether it was applied to some lineage more than once."""
        return len(self.pairs) > len(self.places)


def lineages(forest: Forest) -> dict[str, int]:
    """Return a number for each node: equal for models of the same steps from the same root, whatever their seeds."""
    numbers: dict[Hashable, int] = {}
    of_key: dict[str, int] = {}
    for node in forest:  # parents come before their children
        parent = forest.parent(node.key)
        before = f"{node.name} {node.title}" if parent is None else of_key[parent]
        of_key[node.key] = numbers.setdefault((before, *_step(node)), len(numbers))
    return of_key


def applied_operations(results: Results) -> list[AppliedOperation]:
    """Return the operations that models in scope were made with: by operation, then by parameters in natural order."""
    forest, numbers = results.forest, lineages(results.forest)
    at_hand = results.scope & ~results.elsewhere
    pairs: dict[tuple[str, str], dict[int, list[AppliedPair]]] = defaultdict(lambda: defaultdict(list))
    first: dict[tuple[str, str], Node] = {}
    failed: Counter[tuple[str, str]] = Counter()
    for node in forest:
        parent = forest.parent(node.key) or ""
        if parent not in results.row or not at_hand[results.row.get(node.key, results.row[parent])]:
            continue
        if node.outcome is StepOutcome.DONE:
            pairs[_step(node)][numbers[node.key]].append(AppliedPair(parent, node.key))
        elif node.outcome is StepOutcome.FAILED:
            failed[_step(node)] += 1
        else:
            continue
        first.setdefault(_step(node), node)
    texts = step_texts(results, first)
    operations = [
        AppliedOperation(
            id=step_id(node.op, node.params),
            op=node.op,
            kind=node.kind,
            params=node.params,
            text=texts[step],
            whole=results.text.operation(node.key),
            places=tuple(AppliedPlace(tuple(each), numbers[each[0].parent]) for each in pairs[step].values()),
            failed=failed[step],
        )
        for step, node in first.items()
    ]
    return _unique(sorted(operations, key=lambda each: (each.op, natural_key(each.params))))


def _step(node: Node) -> tuple[str, str]:
    return _words(node.op, node.params)


def _words(op: str, params: Mapping[str, Any]) -> tuple[str, str]:
    return op, json.dumps(params, sort_keys=True, default=str)


def step_id(op: str, params: Mapping[str, Any]) -> str:
    """Return a short name of an operation with its parameters, for addresses."""
    return blake2s("\0".join(_words(op, params)).encode("utf-8", "replace"), digest_size=5).hexdigest()


def step_texts(results: Results, first: Mapping[tuple[str, str], Node]) -> dict[tuple[str, str], str]:
    """Return what tells each step from others of its operation: more of its parameters where few would not do.

    Args:
        results: those that the steps are of.
        first: operation and an identity of its parameters -> a node that was made so.
    """
    texts = {step: results.text.telling_text(node.brief) for step, node in first.items()}
    alike = Counter((node.op, texts[step]) for step, node in first.items())
    return {
        step: results.text.parameters_text(node.brief) if alike[node.op, texts[step]] > 1 else texts[step]
        for step, node in first.items()
    }


def _unique(operations: Iterable[AppliedOperation]) -> list[AppliedOperation]:
    """Number what no parameter that can be read tells apart, such as settings within an entry for a model."""
    count: Counter[tuple[str, str]] = Counter()
    unique = []
    for each in operations:
        count[each.op, each.text] += 1
        number = count[each.op, each.text]
        unique.append(each if number == 1 else replace(each, text=f"{each.text} ({number})".strip()))
    return unique
