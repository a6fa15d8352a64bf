"""The bodies of `If`, `Loop` and `Scan`: graphs inside a node. How often one runs is known only when it runs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any

__all__ = ["bodies", "graphs", "uses"]


def bodies(graph: Any) -> Iterator[Any]:
    """Yield the onnx.GraphProto of every body in a graph, those inside bodies too."""
    for node in graph.node:
        for attribute in node.attribute:
            for body in (*([attribute.g] if attribute.HasField("g") else []), *attribute.graphs):
                yield from graphs(body)


def graphs(graph: Any) -> Iterator[Any]:
    """Yield a graph and its bodies."""
    yield graph
    yield from bodies(graph)


def uses(graph: Any) -> Counter[str]:
    """Count how often each value of a graph is taken: by its nodes, and by its bodies, which see what is around them."""
    taken = Counter(name for node in graph.node for name in node.input)
    for body in bodies(graph):
        taken.update(name for node in body.node for name in node.input)
        taken.update(value.name for value in body.output)
    return taken
