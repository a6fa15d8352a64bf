"""Matrix products in the bodies of `If`, `Loop` and `Scan`."""

from __future__ import annotations

from typing import Any

from ops.onnx_graph.control_flow import bodies
from ops.onnx_graph.einsum import EINSUM
from ops.onnx_graph.layers import WEIGHT_INPUT
from ops.onnx_graph.recurrent import GATES

__all__ = ["body_products"]

_PRODUCTS = WEIGHT_INPUT.keys() | GATES.keys() | {EINSUM}


def body_products(graph: Any) -> list[tuple[str, str]]:
    """Return (name, operator) of the nodes in bodies that multiply matrices, which `matrix_nodes` does not see."""
    return [
        (node.name or node.output[0], node.op_type)
        for body in bodies(graph)
        for node in body.node
        if node.op_type in _PRODUCTS
    ]
