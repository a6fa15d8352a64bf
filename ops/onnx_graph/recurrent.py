"""Recurrent layers (LSTM, GRU, RNN) of an ONNX graph: their weights and how much they compute."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass
from typing import Any

from ops.onnx_graph.metadata import recorded_names

GATES = {"DynamicQuantizeLSTM": (0, 2, 3, 1), "GRU": (1, 0, 2), "LSTM": (0, 2, 3, 1), "RNN": (0,)}
"""Recurrent operators -> which block of rows in the file is each gate of torch's, in torch's order."""
_SCOPES = "pkg.torch.onnx.name_scopes"
_NAMED = re.compile(r"(.*)\.weight_ih_l(\d{1,4})(_quantized)?$")


@dataclass(frozen=True, slots=True)
class RecurrentNode:
    """One recurrent operator: one level of a layer, in one or both directions."""

    node: Any
    """onnx.NodeProto."""
    layer: str
    """The torch module, or the node's own name."""
    level: int
    """0 for the level that takes the layer's input."""
    weight: str
    """The initialiser of the weights of the inputs: (directions, gates x hidden, inputs)."""
    recurrence: str
    """That of the weights of the state: (directions, gates x hidden, hidden)."""
    bias: str | None
    """That of the biases of both: (directions, 2 x gates x hidden)."""

    @property
    def parts(self) -> tuple[tuple[str, str], ...]:
        """(initialiser, the name that it gets): torch's names for one direction of a level."""
        result = [
            (self.weight, f"{self.layer}.weight_ih_l{self.level}"),
            (self.recurrence, f"{self.layer}.weight_hh_l{self.level}"),
        ]
        return (*result, (self.bias, f"{self.layer}.bias_l{self.level}")) if self.bias else tuple(result)


def recurrent_nodes(model: Any) -> list[RecurrentNode]:
    """Return the recurrent operators of an onnx.ModelProto whose weights are initialisers, in graph order."""
    initializers = {tensor.name for tensor in model.graph.initializer}
    levels: Counter[str] = Counter()
    result = []
    for node in model.graph.node:
        if node.op_type not in GATES or not {*node.input[1:3]} <= initializers:
            continue
        match = _NAMED.match(node.input[1])
        layer = match[1] if match else _module(node) or node.name or str(node.output[0])
        level = int(match[2]) if match else levels[layer]
        levels[layer] += 1
        bias = node.input[3] if len(node.input) > 3 and node.input[3] in initializers else None  # noqa: PLR2004 - the bias is the fourth
        result.append(RecurrentNode(node, layer, level, node.input[1], node.input[2], bias))
    return result


def _module(node: Any) -> str:
    """Return the module that torch's exporter recorded for a node; empty if none."""
    scopes = recorded_names(node, _SCOPES)
    return scopes[-2] if len(scopes) > 1 else ""
