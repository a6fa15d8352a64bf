"""A quantized ONNX file with its weights widened by hand and its activations left in float: the same graph in float32."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import helper, numpy_helper

_HALF = (onnx.TensorProto.FLOAT16, onnx.TensorProto.BFLOAT16)
_WIDENING = ("DequantizeLinear", "Cast", "Sub", "Mul")
"""What turns rounded activations into float again, in one operator or written out."""


def widened(path: Path, result: Path) -> None:
    """Write the float graph of a quantized file.

    Args:
        path: of the quantized file.
        result: where to write.
    """
    model = onnx.load(path)
    _Widening(model).run()
    onnx.save(model, result)


class _Widening:
    def __init__(self, model: Any) -> None:
        self._graph = model.graph
        self._values = {tensor.name: numpy_helper.to_array(tensor) for tensor in self._graph.initializer}
        self._kinds = {tensor.name: tensor.data_type for tensor in self._graph.initializer}
        self._nodes: list[Any] = []
        self._new: dict[str, np.ndarray] = {}
        self._same: dict[str, str] = {}
        """A value that is gone -> the one that stands for it."""
        self._rounded: set[str] = set()
        self._steps: Mapping[str, Callable[[Any, Sequence[str], dict[str, Any]], None]] = {
            "QuantizeLinear": self._quantize,
            "DynamicQuantizeLinear": self._quantize_dynamically,
            "MatMulInteger": self._product,
            "ConvInteger": self._product,
            "MatMulNBits": self._blocks,
        }

    def run(self) -> None:
        for node in self._graph.node:
            operands = [self._same.get(name, name) for name in node.input]
            if node.op_type in self._steps:
                attributes = {one.name: helper.get_attribute_value(one) for one in node.attribute}
                self._steps[node.op_type](node, operands, attributes)
            elif not self._widen(node, operands):
                copy = onnx.NodeProto.FromString(node.SerializeToString())
                copy.input[:] = operands
                self._nodes.append(copy)
        for value in self._graph.output:
            if value.name in self._same:
                self._nodes.append(helper.make_node("Identity", [self._same[value.name]], [value.name]))
        del self._graph.node[:]
        self._graph.node.extend(self._nodes)
        for name, array in self._new.items():
            self._graph.initializer.append(numpy_helper.from_array(np.ascontiguousarray(array), name))
        del self._graph.value_info[:]

    def _widen(self, node: Any, operands: Sequence[str]) -> bool:
        """Do without a node that makes floats of whole numbers or 16 bits; return whether it is one."""
        first = node.input[0] if node.input else ""
        if first in self._rounded and node.op_type in _WIDENING:
            self._rounded |= set(node.output) if node.op_type in ("Cast", "Sub") else set()
            self._same[node.output[0]] = operands[0]
        elif node.op_type == "DequantizeLinear" and first in self._values:
            axes = [attribute.i for attribute in node.attribute if attribute.name == "axis"]
            self._new[node.output[0]] = self._spread(node.input, axes[0] if axes else 1)
        elif node.op_type == "Cast" and self._kinds.get(first) in _HALF:
            self._new[node.output[0]] = self._values[first].astype(np.float32)
        else:
            return False
        return True

    def _spread(self, operands: Sequence[str], axis: int) -> np.ndarray:
        """Return (whole numbers - zero point) * scale, with a scale for all or one along an axis."""
        whole, scale = self._values[operands[0]], self._values[operands[1]]
        point = self._values[operands[2]] if len(operands) > 2 and operands[2] else np.zeros_like(scale, np.int8)
        shape = [1] * whole.ndim
        if scale.size > 1:
            shape[axis] = -1
        point, scale = (part.reshape(shape if part.size > 1 else ()).astype(np.float32) for part in (point, scale))
        return (whole.astype(np.float32) - point) * scale

    def _quantize(self, node: Any, operands: Sequence[str], _: dict[str, Any]) -> None:
        """Clip to the range: it may stand for a ReLU that was taken out."""
        clipped = f"{node.output[0]}.clipped"
        scale, point = self._values[node.input[1]], self._values[node.input[2]]
        for part in ("min", "max"):
            end = float(getattr(np.iinfo(point.dtype), part))
            self._new[f"{clipped}.{part}"] = np.float32((end - float(point)) * float(scale))
        self._nodes.append(helper.make_node("Clip", [operands[0], f"{clipped}.min", f"{clipped}.max"], [clipped]))
        self._rounded.add(node.output[0])
        self._same[node.output[0]] = clipped

    def _quantize_dynamically(self, node: Any, operands: Sequence[str], _: dict[str, Any]) -> None:
        self._same[node.output[0]] = operands[0]
        self._new[node.output[1]], self._new[node.output[2]] = np.float32(1), np.uint8(0)

    def _product(self, node: Any, operands: Sequence[str], attributes: dict[str, Any]) -> None:
        """Multiply by whole numbers in float; the scales are nodes of their own."""
        weight = f"{node.output[0]}.weight"
        point = self._values[node.input[3]] if len(node.input) > 3 and node.input[3] else np.int8(0)
        self._new[weight] = self._values[node.input[1]].astype(np.float32) - point.astype(np.float32)
        operator = node.op_type.removesuffix("Integer")
        self._nodes.append(helper.make_node(operator, [operands[0], weight], list(node.output), **attributes))

    def _blocks(self, node: Any, operands: Sequence[str], attributes: dict[str, Any]) -> None:
        """Widen blocks of inputs, each with its scale and zero point."""
        outputs, inputs, bits = attributes["N"], attributes["K"], attributes.get("bits", 4)
        packed = self._values[node.input[1]].reshape(outputs, -1, self._values[node.input[1]].shape[-1])
        blocks = packed.shape[1]
        whole = packed if bits == 8 else _unpacked(packed)
        scale = self._values[node.input[2]].reshape(outputs, blocks, 1)
        point = np.full((outputs, blocks, 1), 1 << (bits - 1), np.float32)
        if len(node.input) > 3 and node.input[3]:
            stored = self._values[node.input[3]].reshape(outputs, -1)
            stored = _unpacked(stored) if bits == 4 and stored.dtype == np.uint8 else stored
            point = stored[:, :blocks, None].astype(np.float32)
        wide = ((whole.astype(np.float32) - point) * scale).reshape(outputs, -1)[:, :inputs]
        weight = f"{node.output[0]}.weight"
        self._new[weight] = wide.T.astype(np.float32)
        self._nodes.append(helper.make_node("MatMul", [operands[0], weight], list(node.output)))


def _unpacked(pairs: np.ndarray) -> np.ndarray:
    """Return two numbers of four bits for each byte, the lower half first."""
    return np.stack([pairs & 15, pairs >> 4], -1).reshape(*pairs.shape[:-1], -1)
