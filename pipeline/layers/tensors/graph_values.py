"""The values of an ONNX graph: which nodes give and take them, which are constants, and where biases are added."""

from __future__ import annotations

from typing import Any

__all__ = ["WIDENING", "GraphValues"]

WIDENING = {"Cast", "DequantizeLinear", "Identity"}
"""Operators that give the values that they take, in another type."""


class GraphValues:
    """Producers and users of every value of a graph."""

    def __init__(self, graph: Any) -> None:
        self.initializers = {tensor.name: tensor for tensor in graph.initializer}
        self.producers = {output: node for node in graph.node for output in node.output}
        self.users: dict[str, list[Any]] = {}
        for node in graph.node:
            for name in node.input:
                self.users.setdefault(name, []).append(node)

    def constant(self, name: str) -> str | None:
        """Follow casts and dequantization back to an initialiser."""
        while name not in self.initializers:
            node = self.producers.get(name)
            if node is None or node.op_type not in WIDENING:
                return None
            name = node.input[0]
        return name

    def only_user(self, value: str) -> Any | None:
        """Return the node that takes a value, if it is a single one."""
        users = self.users.get(value, [])
        return users[0] if len(users) == 1 else None

    def added_bias(self, value: str, layer: str) -> tuple[Any, str] | None:
        """Return the Add node that adds a layer's bias to a value, and the bias; None if there is none.

        A product that is rounded before its bias is added stands between a QuantizeLinear and a DequantizeLinear.
        """
        user = self.only_user(value)
        for kind in ("QuantizeLinear", "DequantizeLinear"):
            if user is not None and user.op_type == kind:
                value = str(user.output[0])
                user = self.only_user(value)
        if user is None or user.op_type != "Add":
            return None
        other = self.constant(next((name for name in user.input if name != value), ""))
        is_bias = other is not None and other.startswith((f"{layer}.bias", f"{layer}.weight_bias"))
        return (user, str(other)) if is_bias else None
