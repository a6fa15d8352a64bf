"""Matrix products in the bodies of `If`, `Loop` and `Scan`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from ops.onnx_graph.control_flow import bodies
from ops.onnx_graph.einsum import EINSUM
from ops.onnx_graph.layers import WEIGHT_INPUT
from ops.onnx_graph.recurrent import GATES

__all__ = ["body_products", "body_weights"]

_PRODUCTS = WEIGHT_INPUT.keys() | GATES.keys() | {EINSUM}


def body_products(graph: Any) -> list[tuple[str, str]]:
    """Return (name, operator) of the nodes in bodies that multiply matrices, which `matrix_nodes` does not see."""
    return [
        (node.name or node.output[0], node.op_type)
        for body in bodies(graph)
        for node in body.node
        if node.op_type in _PRODUCTS
    ]


def body_weights(graph: Any) -> Iterator[tuple[str, Any, str]]:
    """Yield (name, onnx.TensorProto or None, operator) of what products in bodies take, and of other constants with dotted names.

    None stands for a value from around the body. Constants are initialisers of a body and the values of its `Constant` nodes.
    """
    for body in bodies(graph):
        constants = {tensor.name: tensor for tensor in body.initializer}
        for node in body.node:
            if node.op_type == "Constant":
                values = [attribute.t for attribute in node.attribute if attribute.name == "value"]
                constants.update(zip(node.output, values, strict=False))
        for node in body.node:
            for name in node.input:
                if name and (node.op_type in _PRODUCTS or (name in constants and "." in name)):
                    yield name, constants.get(name), node.op_type
