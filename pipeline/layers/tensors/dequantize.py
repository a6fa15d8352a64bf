"""Real numbers behind the integers of an ONNX graph, by their scales and zero points."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from ops.onnx_graph.layers import CONVOLUTIONS, WEIGHT_INPUT, attribute

__all__ = ["Rounding", "Roundings", "base_name", "dequantized", "kind_of", "split"]

_STORED_AS = re.compile(r"(_quantized|_Q\d+|_DequantizeLinear_Output|_float16|_bfloat16|_[tT]ransposed(_\d+)?)+$")
_ROUNDED = re.compile(r"(_quantized|_Q\d+)$")
_BESIDE = {
    "DynamicQuantizeMatMul": (2, 3),
    "MatMulIntegerToFloat": (3, 5),
    "QGemm": (4, 5),
    "QLinearConv": (4, 5),
    "QLinearMatMul": (4, 5),
}
"""Operators that take an integer weight with its scale and zero point -> which inputs these are."""
_BIASES = {"QGemm": (6, 1, 4), "QLinearConv": (8, 1, 4)}
"""Operators with an integer bias -> which input it is, and the two whose product is its scale."""


@dataclass(frozen=True, slots=True)
class Rounding:
    """A constant q stands for (q - zero) x scale."""

    scales: tuple[str, ...]
    """Names of constants, to be multiplied."""
    zero: str = ""
    """Name of a constant; empty: `middle`."""
    axis: int = 0
    """Of the constant: along it lie the scales, where there are several."""
    block: int = 0
    """So many values along the axis share a scale; 0: whole slices do."""
    packed: int = 0
    """So many bits of a byte are a value; 0: the constant has one element per value."""
    middle: float = 0


class Roundings:
    """Finds the rounding of a graph's constants: in the operators that use them, else by their names."""

    def __init__(self, graph: Any) -> None:
        self._initializers = {tensor.name: tensor for tensor in graph.initializer}
        self._users: dict[str, list[tuple[Any, int]]] = {}
        for node in graph.node:
            for place, name in enumerate(node.input):
                self._users.setdefault(name, []).append((node, place))

    def of(self, name: str) -> Rounding | None:
        """Return how a constant is rounded; None if it is stored as it is, or nobody says."""
        dims = tuple(self._initializers[name].dims)
        rounding = self._behind(name, dims, set(range(len(dims))))
        return rounding or self._by_name(name, dims)

    def _behind(self, name: str, dims: tuple[int, ...], axes: set[int]) -> Rounding | None:
        """Look at who uses a value that holds integers of a constant, of which the given axes are whole."""
        for node, place in self._users.get(name, []):
            rounding = self._by_operator(node, place, dims, axes)
            if rounding is not None and all(scale in self._initializers for scale in rounding.scales):
                return rounding
        return None

    def _by_operator(self, node: Any, place: int, dims: tuple[int, ...], axes: set[int]) -> Rounding | None:
        if place != 0:
            return self._beside(node, place, len(dims))
        match node.op_type:
            case "DequantizeLinear":
                whole = len(axes) == len(dims)
                axis = int(attribute(node, "axis", 1)) if whole else self._axis_of(node.input[1], dims, axes)
                block = int(attribute(node, "block_size", 0)) if whole else 0
                return Rounding((node.input[1],), self._input(node, 2), axis, block)
            case "GatherBlockQuantized":
                return self._blocks(node, len(dims))
            case "Gather":
                return self._behind(node.output[0], dims, axes - {int(attribute(node, "axis", 0)) % len(dims)})
            case "Identity":
                return self._behind(node.output[0], dims, axes)
        return None

    def _beside(self, node: Any, place: int, rank: int) -> Rounding | None:
        """Look for the scale among the other inputs of an operator that takes integers."""
        kind = node.op_type
        if kind in _BIASES and place == _BIASES[kind][0]:
            return Rounding(tuple(node.input[at] for at in _BIASES[kind][1:]))
        if kind in _BESIDE and place == WEIGHT_INPUT[kind]:
            scale, zero = _BESIDE[kind]
            outputs = 0 if kind in CONVOLUTIONS or attribute(node, "transB", 0) else rank - 1
            return Rounding((node.input[scale],), self._input(node, zero), outputs)
        return None

    def _axis_of(self, scale: str, dims: tuple[int, ...], axes: set[int]) -> int:
        """Return the axis of the table that scales of looked-up rows lie along: the row's number says nothing of it."""
        tensor = self._initializers.get(scale)
        count = int(np.prod(tensor.dims)) if tensor is not None else 1
        return max((axis for axis in axes if dims[axis] == count), default=len(dims) - 1)

    def _blocks(self, node: Any, rank: int) -> Rounding:
        table, bits = self._initializers.get(node.input[0]), int(attribute(node, "bits", 4))
        bytes_ = table is not None and kind_of(table) == "uint8"
        return Rounding(
            (node.input[2],),
            self._input(node, 3),
            int(attribute(node, "quantize_axis", 1)) % rank,
            int(attribute(node, "block_size", 128)),
            packed=bits if bytes_ else 0,
            middle=float(1 << (bits - 1)) if bytes_ else 0.0,
        )

    def _by_name(self, name: str, dims: tuple[int, ...]) -> Rounding | None:
        """Return the rounding that ONNX Runtime's dynamic quantization leaves: the scale is applied far behind the product."""
        source = _ROUNDED.sub("", name)  # a transposed copy has scales of its own
        scale, zero = f"{source}_scale", f"{source}_zero_point"
        if kind_of(self._initializers[name]) not in ("int8", "uint8") or scale not in self._initializers:
            return None
        convolved = any(node.op_type in CONVOLUTIONS for node, _ in self._users.get(name, []))
        return Rounding((scale,), zero if zero in self._initializers else "", 0 if convolved else len(dims) - 1)

    def _input(self, node: Any, place: int) -> str:
        """Return the name of an input that may be left out, if it is a constant."""
        name = node.input[place] if len(node.input) > place else ""
        return name if name in self._initializers else ""


def base_name(name: str) -> str:
    """Return the name of the tensor that a constant was made from: without what quantizers append."""
    return _STORED_AS.sub("", name)


def kind_of(tensor: Any) -> str:
    """Return the type of an onnx.TensorProto as NumPy would call it: `float32`, `int8`, `uint4`, ..."""
    import onnx

    kind = str(onnx.TensorProto.DataType.Name(tensor.data_type)).lower()
    return "float32" if kind == "float" else kind


def dequantized(read: Callable[[str], np.ndarray], name: str, rounding: Rounding) -> np.ndarray:
    """Return the float32 values that a constant stands for; packed ones have their own number along the last axis.

    Args:
        read: gives a constant of the graph by name.
        name: the constant that holds integers.
        rounding: its scales, zero point, axis and packing.
    """
    raw = read(name)
    values = (split(raw, rounding.packed) if rounding.packed else raw).astype(np.float32)
    first, *others = (read(scale).astype(np.float32) for scale in rounding.scales)
    scale = first
    for other in others:
        scale = scale * other
    zero = np.full_like(scale, rounding.middle)
    if rounding.zero:
        stored = read(rounding.zero)
        zero = split(stored, rounding.packed)[..., : scale.shape[-1]] if rounding.packed else stored
    values -= _spread(zero.astype(np.float32), values.shape, rounding)
    values *= _spread(scale, values.shape, rounding)
    return values


def _spread(part: np.ndarray, shape: tuple[int, ...], rounding: Rounding) -> np.ndarray:
    """Bring scales or zero points into a shape that broadcasts over the values."""
    if rounding.block:
        return np.repeat(part, rounding.block, axis=rounding.axis).take(range(shape[rounding.axis]), axis=rounding.axis)
    if part.size == 1:
        return part.reshape(())
    return part.reshape([-1 if axis == rounding.axis % len(shape) else 1 for axis in range(len(shape))])


def split(raw: np.ndarray, bits: int) -> np.ndarray:
    """Unpack bytes (..., n) into values of 2, 4 or 8 bits (..., n x 8 / bits), the lowest bits first."""
    raw = raw.view(np.uint8)
    if bits == 8:  # noqa: PLR2004 - a byte
        return raw
    parts = [(raw >> shift) & ((1 << bits) - 1) for shift in range(0, 8, bits)]
    return np.stack(parts, axis=-1).reshape(*raw.shape[:-1], -1)
