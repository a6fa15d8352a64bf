"""The bodies of `If`, `Loop` and `Scan`: graphs inside a node. How often one runs is known only when it runs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any

__all__ = ["bodies", "bodies_of", "graphs", "uses"]


def bodies_of(node: Any) -> list[Any]:
    """Return the bodies (onnx.GraphProto) of one node."""
    return [
        body
        for attribute in node.attribute
        for body in (*([attribute.g] if attribute.HasField("g") else []), *attribute.graphs)
    ]


def graphs(graph: Any) -> Iterator[Any]:
    """Yield a graph and every body in it, those inside bodies too."""
    yield graph
    yield from bodies(graph)


def bodies(graph: Any) -> Iterator[Any]:
    """Yield every body in a graph, those inside bodies too."""
    for node in graph.node:
        for body in bodies_of(node):
            yield from graphs(body)


def uses(graph: Any) -> Counter[str]:
    """Count how often each value of a graph is taken: by its nodes, and by its bodies, which see what is around them."""
    counts = Counter(name for node in graph.node for name in node.input)
    for body in bodies(graph):
        counts.update(name for node in body.node for name in node.input)
        counts.update(value.name for value in body.output)
    return counts
