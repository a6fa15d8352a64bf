"""A recipe's tree as plain data: its steps with `allocate`, and ordinary steps in their place."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pipeline.plan.candidates import LayerCandidate
from pipeline.plan.recipe import ALLOCATE

__all__ = ["WrittenAllocation", "allocations_of", "ordinary_step", "replaced", "without_allocations"]

Tree = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class WrittenAllocation:
    """A step with `allocate`, none above it."""

    path: str
    parent: str
    raw: Any


def allocations_of(tree: Tree, parent: str = "") -> Iterator[WrittenAllocation]:
    """Yield the steps with `allocate` that have none above them."""
    for name, node in tree.items():
        if not isinstance(node, Mapping):
            continue
        path = f"{parent}/{name}" if parent else str(name)
        if ALLOCATE in node:
            yield WrittenAllocation(path, parent, node[ALLOCATE])
        elif isinstance(node.get("then"), Mapping):
            yield from allocations_of(node["then"], path)


def without_allocations(tree: Tree) -> dict[str, Any]:
    """Return the tree without steps with `allocate` and what stands below them."""
    result: dict[str, Any] = {}
    for name, node in tree.items():
        if isinstance(node, Mapping) and ALLOCATE in node:
            continue
        below = node.get("then") if isinstance(node, Mapping) else None
        result[name] = {**node, "then": without_allocations(below)} if isinstance(below, Mapping) else node
    return result


def replaced(tree: Tree, path: str, new: Mapping[str, Any]) -> dict[str, Any]:
    """Return the tree with other steps in the place of the one at a path; what stands below it goes below the last of them."""
    first, _, rest = path.partition("/")
    result: dict[str, Any] = {}
    for name, node in tree.items():
        if str(name) != first:
            result[name] = node
        elif rest:
            result[name] = {**node, "then": replaced(node["then"], rest, new)}
        else:
            result |= _with_below(new, node.get("then"))
    return result


def _with_below(steps: Mapping[str, Any], below: Any) -> dict[str, Any]:
    """Put steps below the last of a chain."""
    ((name, node),) = steps.items()
    if "then" in node:
        return {name: {**node, "then": _with_below(node["then"], below)}}
    return {name: {**node, **({"then": below} if below else {})}}


def ordinary_step(name: str, picks: Sequence[tuple[LayerCandidate, Sequence[str]]]) -> tuple[dict[str, Any], str]:
    """Return the chain of steps that gives groups of layers their candidates, and the path of its last below the parent.

    Candidates of one operation that differ in strength alone are one step, with a strength for each layer.

    Args:
        name: of the last step; those before it have their operation's name behind it.
        picks: candidates with the layers of a group.
    """
    calls: list[tuple[LayerCandidate, dict[str, Any]]] = []
    for candidate, layers in picks:
        fixed = {key: value for key, value in candidate.params.items() if key not in candidate.strengths}
        own = {key: dict.fromkeys(layers, candidate.params[key]) for key in candidate.strengths}
        for other, values in calls:
            if (
                other.op == candidate.op
                and other.strengths == candidate.strengths
                and all(other.params[key] == value for key, value in fixed.items() if key != "include" or own)
            ):
                for key, mapping in own.items():
                    values[key] |= mapping
                if not own:
                    values["include"] += layers
                break
        else:
            calls.append((candidate, {**fixed, **own} if own else {**fixed, "include": list(layers)}))
    names = _names(name, [candidate.op for candidate, _ in calls])
    chain: dict[str, Any] = {}
    for step, (candidate, values) in reversed(list(zip(names, calls, strict=True))):
        chain = {step: {"op": candidate.op, "with": values, **({"then": chain} if chain else {})}}
    return chain, "/".join(names)


def _names(name: str, ops: Sequence[str]) -> list[str]:
    names: list[str] = []
    for place, op in enumerate(ops[:-1]):
        number = f"_{place + 1}" if ops[:-1].count(op) > 1 else ""
        names.append(f"{name}_{op}{number}")
    return [*names, name]
