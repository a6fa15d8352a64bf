"""Embedding tables in int8: most of a small transformer's file."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import Any

from ops.core.selector import Layer
from ops.onnx_graph.control_flow import uses
from ops.onnx_graph.layers import attribute, prefixes

_LARGEST = 127
_SMALL = 4096  # elements: a smaller table gains nothing


def embedding_layers(model: Any) -> list[Layer]:
    """Return the float32 tables of an onnx.ModelProto that are only looked up in, as layers."""
    return [
        Layer(name := _layer(table.name), frozenset({"embedding"}), ("Embedding", "Gather"), tuple(prefixes(name)))
        for table in _tables(model)
    ]


def quantize_embeddings(path: Path, layers: Collection[str]) -> list[str]:
    """Store the chosen tables of an ONNX file in int8, and return their layers.

    Symmetric, with a scale per column, so that only the rows looked up are widened (DequantizeLinear along the last axis).
    """
    import onnx

    model = onnx.load(path)
    done = []
    for table in _tables(model):
        if _layer(table.name) in layers:
            done.append(_layer(table.name))
            _quantize(model, table)
    if done:
        onnx.save(model, path)
    return done


def _layer(table: str) -> str:
    return table.removesuffix(".weight")


def _tables(model: Any) -> list[Any]:
    """Return the initialisers that nothing but lookups of whole rows use."""
    import onnx

    lookups: dict[str, list[bool]] = {}
    counts = uses(model.graph)
    for node in model.graph.node:
        for index, name in enumerate(node.input):
            rows = node.op_type == "Gather" and index == 0 and attribute(node, "axis", 0) == 0
            lookups.setdefault(name, []).append(rows)
    return [
        tensor
        for tensor in model.graph.initializer
        if tensor.data_type == onnx.TensorProto.FLOAT
        and len(tensor.dims) == 2  # noqa: PLR2004 - a matrix
        and tensor.dims[0] * tensor.dims[1] >= _SMALL
        and all(lookups.get(tensor.name, [False]))
        and len(lookups[tensor.name]) == counts[tensor.name]
    ]


def _quantize(model: Any, table: Any) -> None:
    import numpy as np
    import onnx
    from onnx import numpy_helper

    values = numpy_helper.to_array(table)
    largest = np.abs(values).max(axis=0)
    scale = np.where(largest > 0, largest / _LARGEST, 1.0).astype(np.float32)
    old, stored, scales = table.name, f"{table.name}_quantized", f"{table.name}_scale"
    model.graph.initializer.append(numpy_helper.from_array(scale, scales))
    table.CopyFrom(numpy_helper.from_array(np.rint(values / scale).astype(np.int8), stored))
    for node in [node for node in model.graph.node if old in node.input]:
        node.input[0] = stored
        output, node.output[0] = node.output[0], f"{node.output[0]}_rows"
        widen = onnx.helper.make_node(
            "DequantizeLinear", [node.output[0], scales], [output], f"{node.name}.widen", axis=-1
        )
        place = next(index for index, other in enumerate(model.graph.node) if other == node)
        model.graph.node.insert(place + 1, widen)
    records = [value for value in model.graph.value_info if value.name == old]
    for value in records:
        model.graph.value_info.remove(value)
