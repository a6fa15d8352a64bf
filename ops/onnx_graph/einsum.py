"""Products that a graph writes as Einsum, as tf2onnx does of Keras' attention: which there are, and their work."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from ops.onnx_graph.layers import attribute

EINSUM = "Einsum"
_REST = "..."


def einsum_nodes(model: Any) -> list[Any]:
    """Return the Einsum nodes of a graph (onnx.NodeProto) that multiply, in graph order."""
    return [node for node in model.graph.node if node.op_type == EINSUM and len(node.input) > 1]


def einsum_macs(node: Any, shapes: Sequence[Sequence[int]]) -> int:
    """Count the multiply-accumulates of an Einsum node: every combination of its indices takes one per further operand.

    Args:
        node: the node, whose `equation` names the axes.
        shapes: those of its inputs.
    """
    text = attribute(node, "equation", b"")
    equation = (text.decode() if isinstance(text, bytes) else str(text)).replace(" ", "")
    sizes: dict[str, int] = {}
    for term, shape in zip(equation.partition("->")[0].split(","), shapes, strict=True):
        for index, size in zip(_indices(term, len(shape)), shape, strict=True):
            sizes[index] = max(size, sizes.get(index, 1))
    return math.prod(sizes.values()) * (len(shapes) - 1)


def _indices(term: str, rank: int) -> list[str]:
    """Return a name for each axis of an operand; those that `...` stands for are counted from the last."""
    before, rest, after = term.partition(_REST)
    count = rank - len(before) - len(after) if rest else 0
    return [*before, *(f"{_REST}{place}" for place in range(count, 0, -1)), *after]
