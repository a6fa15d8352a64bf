"""The models of a study and their lineage, as plain data: what layout, comparison and search work on."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Any

from viewer.format.natural_order import NaturalKey, natural_key

__all__ = ["Forest", "Node", "Problem", "StepOutcome"]


class StepOutcome(StrEnum):
    """The outcome of a step."""

    DONE = "done"
    FAILED = "failed"
    SKIPPED = "skipped"


@dataclass(frozen=True, slots=True)
class Node:
    """One model, or one step whose model never came to be."""

    key: str
    parent: str | None = None
    name: str = ""
    """Path of its step, e.g. `resnet50/magnitude[sparsity=0.5]/int8`."""
    title: str = ""
    op: str = ""
    kind: str = ""
    params: Mapping[str, Any] = field(default_factory=dict)
    outcome: StepOutcome = StepOutcome.DONE
    reason: str = ""
    """Why the step failed or was skipped."""
    order: float = 0.0
    """Index in time: of two nodes the one recorded first has the lower."""
    notes: Mapping[str, Any] = field(default_factory=dict)
    """What else tells models apart that were made by the same steps, e.g. `{"seed": 1}`."""

    @property
    def label(self) -> str:
        """The model's name where there is room for one line."""
        return self.title or self.name or self.key[:12]

    @property
    def brief(self) -> Node:
        """The same step with its nested parameters by name alone: an entry for a model is a page of settings."""
        notes = {
            name: (value.get("name") or f"{len(value)} settings") if isinstance(value, Mapping) else value
            for name, value in self.params.items()
        }
        return replace(self, params=notes)


@dataclass(frozen=True, slots=True)
class Problem:
    """A record whose lineage cannot be followed as written; the node is kept, as a root."""

    key: str
    text: str


class Forest:
    """Nodes by key, with their tree. Immutable; the same for any order of the input.

    A node whose parent is unknown, or whose ancestors lead back to itself, becomes a root and is listed in `problems`;
    of several nodes with one key the earliest is kept. Nothing here recurses: chains may be thousands of steps deep.
    """

    def __init__(self, nodes: Iterable[Node]) -> None:
        self.problems: list[Problem] = []
        self.nodes: dict[str, Node] = {}
        for node in sorted(nodes, key=_record_key):
            if node.key in self.nodes:
                self.problems.append(
                    Problem(node.key, f"{node.label}: another model has the same key; this one is not shown")
                )
            else:
                self.nodes[node.key] = node
        self._parent = {node.key: self._known_parent(node) for node in self.nodes.values()}
        self._cut_cycles()
        self._children: dict[str, list[str]] = {key: [] for key in self.nodes}
        self.roots: list[str] = []
        for key in sorted(self.nodes, key=lambda k: sibling_key(self.nodes[k])):
            parent = self._parent[key]
            (self.roots if parent is None else self._children[parent]).append(key)
        self.preorder: list[str] = self._walk(self.roots)
        self._depth: dict[str, int] = {}
        for key in self.preorder:
            parent = self._parent[key]
            self._depth[key] = 0 if parent is None else self._depth[parent] + 1

    def __len__(self) -> int:
        return len(self.nodes)

    def __contains__(self, key: object) -> bool:
        return key in self.nodes

    def __getitem__(self, key: str) -> Node:
        return self.nodes[key]

    def __iter__(self) -> Iterator[Node]:
        """Yield parents before their children, siblings in order."""
        return (self.nodes[key] for key in self.preorder)

    def parent(self, key: str) -> str | None:
        """Return the parent's key; None for a root, and where the recorded parent cannot be followed."""
        return self._parent[key]

    def children(self, key: str) -> list[str]:
        """Return the keys of the children: by operation, then by parameters in natural order, then by time."""
        return list(self._children[key])

    def depth(self, key: str) -> int:
        """Return the number of steps from the root: 0 for a root."""
        return self._depth[key]

    def path(self, key: str) -> list[str]:
        """Return the keys from the root to the node, both included."""
        return [*self.ancestors(key)[::-1], key]

    def ancestors(self, key: str) -> list[str]:
        """Return parent, grandparent, ..., root."""
        order: list[str] = []
        parent = self._parent[key]
        while parent is not None:
            order.append(parent)
            parent = self._parent[parent]
        return order

    def descendants(self, key: str) -> list[str]:
        """Return everything below the node, without it, parents before children."""
        return self._walk(self._children[key])

    def root(self, key: str) -> str:
        """Return the root that the node stems from; itself for a root."""
        return self.path(key)[0]

    def common_ancestor(self, keys: Iterable[str]) -> str | None:
        """Return the deepest node on the paths of all keys, possibly one of them; None across trees or for no keys."""
        shared: list[str] | None = None
        for key in keys:
            path = self.path(key)
            shared = path if shared is None else [a for a, b in zip(shared, path, strict=False) if a == b]
        return shared[-1] if shared else None

    def _known_parent(self, node: Node) -> str | None:
        if node.parent is None or node.parent in self.nodes:
            return node.parent
        self.problems.append(Problem(node.key, f"{node.label}: its parent {node.parent!r} is not among the models"))
        return None

    def _cut_cycles(self) -> None:
        settled: set[str] = set()
        for start in self.nodes:  # earliest first, so the same member of a cycle becomes the root each time
            path: list[str] = []
            on_path: set[str] = set()
            key: str | None = start
            while key is not None and key not in settled and key not in on_path:
                path.append(key)
                on_path.add(key)
                key = self._parent[key]
            if key is not None and key in on_path:
                first = min(path[path.index(key) :], key=lambda k: _record_key(self.nodes[k]))
                self._parent[first] = None
                label = self.nodes[first].label
                self.problems.append(Problem(first, f"{label}: its ancestors lead back to itself; shown as a root"))
            settled |= on_path

    def _walk(self, tops: list[str]) -> list[str]:
        order: list[str] = []
        stack = tops[::-1]
        while stack:
            key = stack.pop()
            order.append(key)
            stack.extend(reversed(self._children[key]))
        return order


def sibling_key(node: Node) -> NaturalKey:
    """Return the key that siblings are listed by: operation, parameters in natural order, time, key."""
    return (node.op, natural_key(node.params), node.order, node.key)


def _record_key(node: Node) -> NaturalKey:
    return (node.order, node.key, node.parent or "", node.name)
