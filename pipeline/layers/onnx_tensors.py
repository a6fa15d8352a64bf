"""Tensors of an ONNX file under the names that the network's code gives them, dequantized and turned back."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from ops.onnx_layers import CONVOLUTIONS, MatrixNode, attribute, matrix_nodes
from pipeline.layers.onnx_file import Skeleton, open_skeleton
from pipeline.layers.stored import StoredTensor

_STORED_AS = re.compile(r"(_quantized|_Q\d+|_DequantizeLinear_Output|_float16|_bfloat16|_transposed)+$")
_CONSTANTS = ("_scale", "_zero_point", "_scales", "_zero_points", "_QuantizeLinear_Input")
_WIDENS = {"Cast", "Identity"}
_ZERO_POINT = 2


def onnx_tensors(path: Path) -> Sequence[StoredTensor]:
    """List the parameters of an ONNX file, in the order of its graph."""
    return _Reader(open_skeleton(path)).tensors()


class _Reader:
    def __init__(self, skeleton: Skeleton) -> None:
        self.skeleton, self.graph = skeleton, skeleton.model.graph
        self.initializers = {tensor.name: tensor for tensor in self.graph.initializer}
        self.producers = {output: node for node in self.graph.node for output in node.output}
        self.users: dict[str, str] = {}
        for node in self.graph.node:
            for name in node.input:
                self.users.setdefault(name, node.op_type)
        self.found: dict[str, StoredTensor] = {}
        self.used: set[str] = set()

    def tensors(self) -> list[StoredTensor]:
        """Weights and biases by the layer that uses them, then everything else that has a name of the code's."""
        for matrix in matrix_nodes(self.skeleton.model):
            if matrix.weight:
                self._weight(matrix)
                self._bias(matrix)
        for name in self.initializers:
            if name not in self.used and not name.endswith(_CONSTANTS) and "." in name:
                self._other(name)
        return list(self.found.values())

    def _weight(self, matrix: MatrixNode) -> None:
        node, name = matrix.node, str(matrix.weight)
        self.used.add(name)
        if node.op_type == "MatMulNBits":
            self._add(_blockwise(self.skeleton, node, f"{matrix.layer.name}.weight"))
            return
        read, how, kind, bits = self._decoder(name)
        shape = tuple(self.initializers[name].dims)
        # the exporter folds the transposition of a linear layer's weight into it: (in, out) in the file
        turned = len(shape) == 2 and node.op_type not in CONVOLUTIONS and not attribute(node, "transB", 0)  # noqa: PLR2004
        tensor = self.initializers[name]
        self._add(
            StoredTensor(
                name=f"{matrix.layer.name}.weight",
                module_type=node.op_type,
                role="parameter",
                shape=shape[::-1] if turned else shape,
                dtype=kind,
                bits=bits,
                bytes=_bytes(tensor, bits),
                read=partial(_turned, read) if turned else read,
                how=how,
            )
        )

    def _bias(self, matrix: MatrixNode) -> None:
        node = matrix.node
        if node.op_type not in (*CONVOLUTIONS, "Gemm") or len(node.input) < 3 or not node.input[2]:  # noqa: PLR2004
            return
        name = self._source(node.input[2])
        if name is not None and name not in self.used:
            self._other(name, f"{matrix.layer.name}.bias")

    def _other(self, name: str, called: str | None = None) -> None:
        import onnx

        tensor = self.initializers[name]
        self.used.add(name)
        dequantized = self._dequantizer(name) is not None
        floats = onnx.TensorProto.FLOAT, onnx.TensorProto.FLOAT16, onnx.TensorProto.BFLOAT16, onnx.TensorProto.DOUBLE
        if not (dequantized or tensor.data_type in floats):
            return
        read, how, kind, bits = self._decoder(name)
        self._add(
            StoredTensor(
                name=called or _STORED_AS.sub("", name),
                module_type=self.users.get(name, ""),
                role="parameter",
                shape=tuple(tensor.dims),
                dtype=kind,
                bits=bits,
                bytes=_bytes(tensor, bits),
                read=read,
                how=how,
            )
        )

    def _add(self, tensor: StoredTensor) -> None:
        self.found.setdefault(tensor.name, tensor)

    def _source(self, name: str) -> str | None:
        """Follow dequantization and casts back to an initialiser."""
        while name not in self.initializers:
            node = self.producers.get(name)
            if node is None or node.op_type not in {"DequantizeLinear", *_WIDENS}:
                return None
            name = node.input[0]
        return name

    def _dequantizer(self, name: str) -> Any:
        return next((n for n in self.graph.node if n.op_type == "DequantizeLinear" and n.input[0] == name), None)

    def _decoder(self, name: str) -> tuple[Callable[[], np.ndarray], tuple[str, ...], str, float]:
        """Return how to read an initialiser in float32, that in words, its type and its bits per value."""
        import onnx

        tensor = self.initializers[name]
        kind = onnx.TensorProto.DataType.Name(tensor.data_type).lower()
        kind = "float32" if kind == "float" else kind
        bits = float(_BITS.get(kind, 32))
        node = self._dequantizer(name)
        base = _STORED_AS.sub("", name)
        if node is not None:
            scale, zero = node.input[1], node.input[2] if len(node.input) > _ZERO_POINT else ""
            axis, block = int(attribute(node, "axis", 1)), int(attribute(node, "block_size", 0))
        elif kind in ("int8", "uint8") and f"{base}_scale" in self.initializers:  # dynamic quantization
            scale, zero, axis, block = f"{base}_scale", f"{base}_zero_point", len(tensor.dims) - 1, 0
        else:
            how = (f"{kind} widened",) if kind in ("float16", "bfloat16") else ()
            return partial(_plain, self.skeleton.read, name), how, kind, bits
        constants = scale, zero if zero in self.initializers else ""
        read = partial(_dequantized, self.skeleton.read, name, constants, axis=axis, block=block)
        return read, (f"{kind} dequantized",), kind, bits


_BITS = {"float32": 32, "float16": 16, "bfloat16": 16, "double": 64, "int8": 8, "uint8": 8, "int4": 4, "uint4": 4}


def _bytes(tensor: Any, bits: float) -> int:
    size = 1
    for length in tensor.dims:
        size *= length
    return -(-int(size * bits) // 8)


def _plain(read: Callable[[str], np.ndarray], name: str) -> np.ndarray:
    return read(name).astype(np.float32, copy=False)


def _turned(read: Callable[[], np.ndarray]) -> np.ndarray:
    return np.ascontiguousarray(read().T)


def _dequantized(
    read: Callable[[str], np.ndarray], name: str, constants: tuple[str, str], *, axis: int, block: int
) -> np.ndarray:
    """(q - zero) x scale, with one scale for all, one for each slice along `axis`, or one for each block along it."""
    values = read(name).astype(np.float32)
    scale = read(constants[0]).astype(np.float32)
    zero = read(constants[1]).astype(np.float32) if constants[1] else np.zeros_like(scale)

    def spread(part: np.ndarray) -> np.ndarray:
        if block:
            return np.repeat(part, block, axis=axis).take(range(values.shape[axis]), axis=axis)
        if part.size == 1:
            return part.reshape(())
        return part.reshape([-1 if index == axis % values.ndim else 1 for index in range(values.ndim)])

    values -= spread(zero)
    values *= spread(scale)
    return values


def _blockwise(skeleton: Skeleton, node: Any, name: str) -> StoredTensor:
    """A MatMulNBits weight: (N, blocks, bytes) with a scale for each block of inputs, maybe a zero point too."""
    outputs, inputs = int(attribute(node, "N", 0)), int(attribute(node, "K", 0))
    bits, block = int(attribute(node, "bits", 4)), int(attribute(node, "block_size", 32))
    packed = node.input[1:4]
    tensors = {tensor.name: tensor for tensor in skeleton.model.graph.initializer}
    size = sum(_bytes(tensors[part], _BITS.get(_kind(tensors[part]), 8)) for part in packed if part)
    return StoredTensor(
        name=name,
        module_type="MatMulNBits",
        role="parameter",
        shape=(outputs, inputs),
        dtype=f"int{bits}",
        bits=8 * size / (outputs * inputs),
        bytes=size,
        read=partial(_unpacked, skeleton, tuple(packed), (outputs, inputs), bits=bits, block=block),
        how=(f"int{bits} dequantized",),
    )


def _kind(tensor: Any) -> str:
    import onnx

    kind = str(onnx.TensorProto.DataType.Name(tensor.data_type)).lower()
    return "float32" if kind == "float" else kind


def _unpacked(skeleton: Skeleton, names: Sequence[str], shape: tuple[int, int], *, bits: int, block: int) -> np.ndarray:
    outputs, inputs = shape
    raw = skeleton.read(names[0]).reshape(outputs, -1)
    values = _split(raw, bits).reshape(outputs, -1, block).astype(np.float32)
    count = values.shape[1]
    scales = skeleton.read(names[1]).astype(np.float32).reshape(outputs, count, 1)
    zeros: np.ndarray | float = float(1 << (bits - 1))
    if len(names) > _ZERO_POINT and names[2]:
        stored = skeleton.read(names[2])
        whole = stored.dtype.kind == "f"  # float zero points are not packed
        zeros = (stored if whole else _split(stored.reshape(outputs, -1), bits)[:, :count]).astype(np.float32)
        zeros = zeros.reshape(outputs, count, 1)
    dense: np.ndarray = ((values - zeros) * scales).reshape(outputs, -1)[:, :inputs]
    return np.ascontiguousarray(dense)


def _split(raw: np.ndarray, bits: int) -> np.ndarray:
    """Unpack values of 2, 4 or 8 bits, the lowest bits first."""
    raw = raw.view(np.uint8)
    if bits == 8:  # noqa: PLR2004 - a byte
        return raw
    parts = [(raw >> shift) & ((1 << bits) - 1) for shift in range(0, 8, bits)]
    return np.stack(parts, axis=-1).reshape(len(raw), -1)
