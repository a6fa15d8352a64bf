"""Find models by what they are called and how they were made."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable

from viewer.results.lineage import Forest, Node

__all__ = ["search_models"]


def search_models(
    forest: Forest,
    query: str,
    name_of: Callable[[str], str] = lambda key: "",
    facts_of: Callable[[str], Iterable[str]] = lambda key: (),
) -> list[str]:
    """Return the keys of the models that match every word of `query`, best first; none for an empty query.

    A word matches if it stands anywhere in a model's name, as the recipe has it or as `name_of` shows it, or in its title,
    operation, kind or parameters, in any case, or if the model's key, or what `facts_of` tells of its experiment, begins with it.
    Models whose name begins with the query come first, then those with all words in their name, then the others; each
    in the order in which they were made.
    """
    words = query.casefold().split()
    if not words:
        return []
    ranked = []
    for node in forest.nodes.values():
        name = f"{node.name} {node.title} {name_of(node.key)}".casefold()
        rest, beginnings = _rest(node), (node.key, *(fact.casefold() for fact in facts_of(node.key)))
        if all(word in name or word in rest or any(each.startswith(word) for each in beginnings) for word in words):
            rank = 0 if name.startswith(query.casefold().strip()) else 1 if all(word in name for word in words) else 2
            ranked.append((rank, node.order, node.key))
    return [key for _, _, key in sorted(ranked)]


def _rest(node: Node) -> str:
    """Everything but the name: `sparsity=0.5` finds a parameter by its value."""
    params = " ".join(f"{name}={json.dumps(value, default=str)}" for name, value in node.params.items())
    return f"{node.op} {node.kind} {params} {node.outcome}".casefold()
