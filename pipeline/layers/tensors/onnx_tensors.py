"""Tensors of an ONNX file under the names that the network's code gives them, dequantized and turned back."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np

from ops.onnx_graph.control_flow import bodies_of
from ops.onnx_graph.layers import CONVOLUTIONS, MatrixNode, attribute, matrix_nodes
from ops.onnx_graph.recurrent import GATES, RecurrentNode, recurrent_nodes
from pipeline.layers.tensors.dequantize import Rounding, Roundings, base_name, dequantized, kind_of, split
from pipeline.layers.tensors.graph_values import WIDENING, GraphValues
from pipeline.layers.tensors.onnx_file import Skeleton, body_skeleton, open_skeleton
from pipeline.layers.tensors.tensor import StoredTensor

_CONSTANTS = ("_scale", "_zero_point", "_scales", "_zero_points", "_QuantizeLinear_Input")
_LOOKED_UP = re.compile(r"embedding(_\d+)?$")
"""What the exporter calls the result of a lookup: as a constant, it is what folding left of a table of positions."""
_INPUTS_FIRST = "Conv1D"
"""Class of GPT-2's linear layer, whose weight is (inputs, outputs) in the code."""
_FLOATS = {"float32", "float16", "bfloat16", "double"}
_BIAS = {**dict.fromkeys((*CONVOLUTIONS, "Gemm"), 2), "QGemm": 6, "QLinearConv": 8}
"""Operators that take a bias -> which input it is."""
_RECURRENT_SCALES = {"DynamicQuantizeLSTM": ((8, 9), (10, 11))}
"""Recurrent operators on integers, whose weights are (directions, inputs, rows) -> of the weights of the inputs and of the
state, which inputs are the scale and the zero point."""
_BITS = {"float32": 32, "float16": 16, "bfloat16": 16, "double": 64, "int8": 8, "uint8": 8, "int4": 4, "uint4": 4}


def onnx_tensors(path: Path) -> Sequence[StoredTensor]:
    """List the parameters of an ONNX file, in the order of its graph."""
    return _Reader(open_skeleton(path)).tensors()


class _Reader:
    def __init__(self, skeleton: Skeleton) -> None:
        self.skeleton, self.graph = skeleton, skeleton.model.graph
        self.values = GraphValues(self.graph)
        self.initializers = self.values.initializers
        self.roundings = Roundings(self.graph)
        self.stored_tensors: dict[str, StoredTensor] = {}
        self.used: set[str] = set()

    def tensors(self) -> list[StoredTensor]:
        """Weights and biases by the layer that uses them, then everything else that has a name of the code's."""
        for matrix in matrix_nodes(self.skeleton.model):
            if matrix.weight:
                self._weight(matrix)
                self._bias(matrix)
        for unit in recurrent_nodes(self.skeleton.model):
            self._recurrent(unit)
        for name in self.initializers:
            by_name = "." in name or _LOOKED_UP.match(name)
            if name not in self.used and not name.endswith(_CONSTANTS) and by_name:
                self._other(name)
        self._bodies()
        return list(self.stored_tensors.values())

    def _bodies(self) -> None:
        """List what the bodies of `If`, `Loop` and `Scan` hold, each read as a graph with the constants around it."""
        for body in [body for node in self.graph.node for body in bodies_of(node)]:
            inner = _Reader(body_skeleton(body, self.skeleton))
            own = {tensor.name for tensor in body.initializer}
            inner.used |= self.used - own
            for tensor in inner.tensors():
                name = next(each for each in _numbered(tensor.name) if each not in self.stored_tensors)
                self.stored_tensors[name] = replace(tensor, name=name)
            self.used |= inner.used & self.initializers.keys() - own

    def _weight(self, matrix: MatrixNode) -> None:
        node, name = matrix.node, str(matrix.weight)
        if name in self.used:
            return  # several products with one weight: it is in the file once
        called = f"{matrix.layer.name}.weight"
        self.used.add(name)
        inputs_first = matrix.layer.types[0] == _INPUTS_FIRST
        if node.op_type == "MatMulNBits":
            blocks = _blockwise(self.skeleton, node, called)
            self.stored_tensors.setdefault(called, _transposed(blocks) if inputs_first else blocks)
            return
        rank = len(self.initializers[name].dims)
        if node.op_type in CONVOLUTIONS:
            self._add(name, called, node.op_type, output_axis=int(node.op_type == "ConvTranspose"))
        elif rank != 2:  # noqa: PLR2004 - a stack of matrices, which are not turned
            outputs = rank - 2 if attribute(node, "transB", 0) else rank - 1
            self._add(name, called, node.op_type, output_axis=max(outputs, 0), stacked_axes=max(rank - 2, 0))
        else:
            # the exporter folds the transposition of a linear layer's weight into it: (in, out) in the file, as GPT-2's is
            turned = inputs_first == bool(attribute(node, "transB", 0))
            self._add(name, called, node.op_type, turned=turned, output_axis=int(inputs_first))

    def _bias(self, matrix: MatrixNode) -> None:
        node, called = matrix.node, f"{matrix.layer.name}.bias"
        place = _BIAS.get(node.op_type)
        if place is None:
            return
        if len(node.input) > place and node.input[place]:
            name = self.values.constant(node.input[place])
            if name is not None and name not in self.used:
                self._other(name, called)
            return
        # of a convolution, it is spread over the axes of a picture where it is added by a node of its own
        behind = self.values.added_bias(str(node.output[0]), matrix.layer.name)
        if behind is not None and node.op_type in CONVOLUTIONS and behind[1] not in self.used:
            self._other(behind[1], called)
            if called in self.stored_tensors:
                self.stored_tensors[called] = _flattened(self.stored_tensors[called])

    def _recurrent(self, unit: RecurrentNode) -> None:
        """List a recurrent operator's weights as torch has them: by direction, with the gates in torch's order."""
        node, order = unit.node, GATES[unit.node.op_type]
        inputs_first = node.op_type in _RECURRENT_SCALES
        for place, (name, kind) in enumerate(((unit.weight, "weight_ih"), (unit.recurrence, "weight_hh"))):
            if name in self.used:
                continue
            self.used.add(name)
            directions, first, second = self.initializers[name].dims
            rows, inputs = (second, first) if inputs_first else (first, second)
            values = self._recurrent_values(node, name, place)
            for direction in range(directions):
                suffix = f"l{unit.level}{'_reverse' if direction else ''}"
                if values is not None:
                    read = partial(_gates, values, direction, slice(0, rows), order)
                    self._part(name, f"{unit.layer}.{kind}_{suffix}", node.op_type, (rows, inputs), read)
                if unit.bias is None:
                    continue
                both = slice(place * rows, (place + 1) * rows)
                read = partial(_gates, partial(self.skeleton.read, unit.bias), direction, both, order)
                self._part(
                    unit.bias, f"{unit.layer}.{kind.replace('weight', 'bias')}_{suffix}", node.op_type, (rows,), read
                )
        self.used |= {unit.bias} if unit.bias else set()

    def _recurrent_values(self, node: Any, name: str, place: int) -> Callable[[], np.ndarray] | None:
        """Return how to read (directions, gates x hidden, inputs) in float; None of integers whose scale is no constant."""
        if node.op_type not in _RECURRENT_SCALES:
            return partial(self.skeleton.read, name) if kind_of(self.initializers[name]) in _FLOATS else None
        scale, zero = (node.input[at] for at in _RECURRENT_SCALES[node.op_type][place])
        if not {scale, zero} <= self.initializers.keys():
            return None
        return partial(_recurrent_dequantized, self.skeleton.read, name, scale, zero)

    def _part(
        self, name: str, called: str, module_type: str, shape: tuple[int, ...], read: Callable[[], np.ndarray]
    ) -> None:
        """List a part of an initialiser as a tensor of its own."""
        kind = kind_of(self.initializers[name])
        bits = float(_BITS.get(kind, 32))
        size = int(np.prod(shape) * bits // 8)
        self.stored_tensors.setdefault(
            called,
            StoredTensor(
                called, module_type, "parameter", tuple(map(int, shape)), kind, bits, size, read, how=_how_read(kind)
            ),
        )

    def _other(self, name: str, called: str | None = None) -> None:
        self.used.add(name)
        if kind_of(self.initializers[name]) in _FLOATS or self.roundings.of(name) is not None:
            self._add(name, called or base_name(name), self._user(name))

    def _add(
        self,
        name: str,
        called: str,
        module_type: str,
        *,
        turned: bool = False,
        output_axis: int = 0,
        stacked_axes: int = 0,
    ) -> None:
        """List an initialiser, unless one of that name is listed already.

        Args:
            name: the initialiser.
            called: the name that it is listed under.
            module_type: operator that it is for.
            turned: whether the file has the axes of a matrix the other way round than the code.
            output_axis: as `StoredTensor.output_axis`.
            stacked_axes: as `StoredTensor.stacked_axes`.
        """
        tensor, rounding = self.initializers[name], self.roundings.of(name)
        kind, shape = kind_of(tensor), tuple(tensor.dims)
        size, bits = _bytes(tensor), float(_BITS.get(kind, 32))
        how = _how_read(kind)
        read: Callable[[], np.ndarray] = partial(_plain, self.skeleton.read, name)
        if rounding is not None:
            if rounding.packed:
                kind, bits = f"uint{rounding.packed}", float(rounding.packed)
                shape = (*shape[:-1], shape[-1] * 8 // rounding.packed)
            how, read = _how_read(kind), partial(dequantized, self.skeleton.read, name, rounding)
            if rounding.block:
                size += self._blocks_bytes(rounding)
                bits = 8 * size / max(1, int(np.prod(shape)))
        listed = StoredTensor(
            name=called,
            module_type=module_type,
            role="parameter",
            shape=shape,
            dtype=kind,
            bits=bits,
            bytes=size,
            read=read,
            how=how,
        )
        listed = _transposed(listed) if turned else listed
        self.stored_tensors.setdefault(called, replace(listed, output_axis=output_axis, stacked_axes=stacked_axes))

    def _blocks_bytes(self, rounding: Rounding) -> int:
        """Bytes of what belongs to blocks of values: their scales and zero points."""
        return sum(_bytes(self.initializers[part]) for part in (*rounding.scales, rounding.zero) if part)

    def _user(self, name: str) -> str:
        """Return the operator that a constant is for: behind what widens it."""
        while users := self.values.users.get(name):
            if users[0].op_type not in WIDENING:
                return str(users[0].op_type)
            name = users[0].output[0]
        return ""


def _numbered(name: str) -> Iterator[str]:
    """Yield a name, then it with numbers: branches beside each other may use one name for two things."""
    yield name
    yield from (f"{name}#{number}" for number in count(2))


def _how_read(kind: str) -> tuple[str, ...]:
    """Return what is done to values of a type, besides being read; nothing to those of float32."""
    if kind in ("float16", "bfloat16"):
        return (f"{kind} widened",)
    return () if kind in _FLOATS else (f"{kind} dequantized",)


def _bytes(tensor: Any) -> int:
    return -(-int(np.prod(tensor.dims, dtype=np.int64)) * _BITS.get(kind_of(tensor), 32) // 8)


def _plain(read: Callable[[str], np.ndarray], name: str) -> np.ndarray:
    return read(name).astype(np.float32, copy=False)


def _gates(read: Callable[[], np.ndarray], direction: int, rows: slice, order: Sequence[int]) -> np.ndarray:
    """Return the rows of one direction, the blocks of its gates in the given order."""
    blocks = np.split(read()[direction][rows].astype(np.float32), len(order))
    return np.concatenate([blocks[block] for block in order])


def _recurrent_dequantized(read: Callable[[str], np.ndarray], name: str, scale: str, zero: str) -> np.ndarray:
    """Return (directions, rows, inputs) of integers (directions, inputs, rows), whose scales are by direction, or by row."""
    values = read(name).astype(np.float32)
    scales, zeros = (read(part).astype(np.float32).reshape(len(values), 1, -1) for part in (scale, zero))
    dense: np.ndarray = ((values - zeros) * scales).transpose(0, 2, 1)
    return dense


def _transposed(matrix: StoredTensor) -> StoredTensor:
    """Return a matrix with its axes, and so its inputs and outputs, the other way round."""
    read = partial(_read_transposed, matrix.read)
    return replace(matrix, shape=matrix.shape[::-1], output_axis=1 - matrix.output_axis, read=read)


def _flattened(tensor: StoredTensor) -> StoredTensor:
    """Return a tensor with one axis."""
    return replace(tensor, shape=(tensor.size,), read=partial(_read_flat, tensor.read))


def _read_flat(read: Callable[[], np.ndarray]) -> np.ndarray:
    return read().reshape(-1)


def _read_transposed(read: Callable[[], np.ndarray]) -> np.ndarray:
    return np.ascontiguousarray(read().T)


def _blockwise(skeleton: Skeleton, node: Any, name: str) -> StoredTensor:
    """A MatMulNBits weight: (N, blocks, bytes) with a scale for each block of inputs, maybe a zero point too."""
    outputs, inputs = int(attribute(node, "N", 0)), int(attribute(node, "K", 0))
    bits, block = int(attribute(node, "bits", 4)), int(attribute(node, "block_size", 32))
    packed = node.input[1:4]
    tensors = {tensor.name: tensor for tensor in skeleton.model.graph.initializer}
    size = sum(_bytes(tensors[part]) for part in packed if part)
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


def _unpacked(skeleton: Skeleton, names: Sequence[str], shape: tuple[int, int], *, bits: int, block: int) -> np.ndarray:
    outputs, inputs = shape
    raw = skeleton.read(names[0]).reshape(outputs, -1)
    values = split(raw, bits).reshape(outputs, -1, block).astype(np.float32)
    count = values.shape[1]
    scales = skeleton.read(names[1]).astype(np.float32).reshape(outputs, count, 1)
    zeros: np.ndarray | float = float(1 << (bits - 1))
    if len(names) > 2 and names[2]:  # noqa: PLR2004 - a zero point
        stored = skeleton.read(names[2])
        whole = stored.dtype.kind == "f"  # float zero points are not packed
        zeros = (stored if whole else split(stored.reshape(outputs, -1), bits)[:, :count]).astype(np.float32)
        zeros = zeros.reshape(outputs, count, 1)
    dense: np.ndarray = ((values - zeros) * scales).reshape(outputs, -1)[:, :inputs]
    return np.ascontiguousarray(dense)
