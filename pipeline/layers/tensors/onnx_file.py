"""An ONNX file without its weights: the graph in memory, the weights where they are on disk.

`onnx.load` reads all of a file. Here its outer layers (ModelProto.graph, GraphProto.initializer, TensorProto.raw_data)
are walked by protobuf's wire format, so that a model of any size costs no more memory than its graph.
"""

from __future__ import annotations

import mmap
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.core.errors import reason
from pipeline.layers.tensors.tensor import LayerError
from pipeline.layers.tensors.torch_file import read_raw, widened

_GRAPH, _INITIALIZER, _RAW_DATA = 7, 5, 9  # field numbers of ModelProto, GraphProto, TensorProto
_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5  # wire types
_SMALL = 1 << 12
"""Tensors of so many bytes are kept in the graph: shapes, scalars, scales."""


@dataclass(frozen=True, slots=True)
class Skeleton:
    """A graph (onnx.ModelProto) whose large initialisers have no data, and how to get it."""

    model: Any
    read: Callable[[str], np.ndarray]
    """Initialiser name -> its values as stored: a view of the file's pages where possible."""
    path: Path


def open_skeleton(path: Path) -> Skeleton:
    """Read an ONNX file's graph and where its weights are.

    Raises:
        LayerError: if it is none, or damaged; `Skeleton.read` raises it where the weights cannot be read.
    """
    from google.protobuf.message import DecodeError  # type: ignore[import-untyped]  # comes with onnx, without types

    try:
        model, places = _parse(path)
    except (DecodeError, IndexError, OSError, ValueError) as error:
        raise LayerError(f"{path}: the tensors cannot be read, the file is damaged: {reason(error)}") from error
    tensors = {tensor.name: tensor for tensor in model.graph.initializer}

    return Skeleton(model, lambda name: _read(path, tensors, name, places.get(name)), path)


def _read(path: Path, tensors: Mapping[str, Any], name: str, place: tuple[int, int] | None) -> np.ndarray:
    try:
        return _values(path, tensors[name], place)
    except (KeyError, OSError, ValueError) as error:
        raise LayerError(f"{path}: the values of '{name}' cannot be read: {reason(error)}") from error


def body_skeleton(body: Any, around: Skeleton) -> Skeleton:
    """Return a body (onnx.GraphProto) as a graph of its own, with what it takes from the constants around it.

    The weights of a body are in its node, and so in memory already.
    """
    import onnx

    from ops.onnx_graph.control_flow import uses
    from pipeline.models.onnx_files.graph import weights_apart

    model = onnx.ModelProto()
    model.graph.CopyFrom(body)
    weights_apart(model)
    own = {tensor.name: tensor for tensor in model.graph.initializer}
    counts = uses(model.graph)
    model.graph.initializer.extend(
        tensor for tensor in around.model.graph.initializer if tensor.name not in own and counts[tensor.name]
    )

    def read(name: str) -> np.ndarray:
        return _read(around.path, own, name, None) if name in own else around.read(name)

    return Skeleton(model, read, around.path)


def _parse(path: Path) -> tuple[Any, dict[str, tuple[int, int]]]:
    """Return the graph, and name of a large initialiser -> where its data begin in the file, and their length."""
    import onnx

    content = bytearray()
    places: dict[str, tuple[int, int]] = {}
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as pages:
        for field, start, first, last in _fields(pages, 0, len(pages)):
            if field != _GRAPH:
                content += pages[start:last]
                continue
            graph = bytearray()
            for inner, inner_start, inner_first, inner_last in _fields(pages, first, last):
                if inner == _INITIALIZER:
                    tensor = _tensor(pages, inner_first, inner_last, places)
                    graph += bytes([_INITIALIZER << 3 | _BYTES]) + _varint(len(tensor)) + tensor
                else:
                    graph += pages[inner_start:inner_last]
            content += bytes([_GRAPH << 3 | _BYTES]) + _varint(len(graph)) + graph
    return onnx.ModelProto.FromString(bytes(content)), places


def _tensor(pages: mmap.mmap, first: int, last: int, places: dict[str, tuple[int, int]]) -> bytes:
    """Return a TensorProto without large raw data, whose place is noted."""
    import onnx

    content, large = bytearray(), None
    for field, start, inner_first, inner_last in _fields(pages, first, last):
        if field == _RAW_DATA and inner_last - inner_first > _SMALL:
            large = inner_first, inner_last - inner_first
        else:
            content += pages[start:inner_last]
    if large:
        places[onnx.TensorProto.FromString(bytes(content)).name] = large
    return bytes(content)


def _fields(pages: mmap.mmap, at: int, end: int) -> Iterator[tuple[int, int, int, int]]:
    """Yield (field number, start of its tag, start and end of its content)."""
    while at < end:
        start = at
        tag, at = _read_varint(pages, at)
        kind = tag & 7
        if kind == _BYTES:
            length, at = _read_varint(pages, at)
            first, at = at, at + length
        elif kind == _VARINT:
            first = at
            _, at = _read_varint(pages, at)
        elif kind in (_FIXED64, _FIXED32):
            first, at = at, at + (8 if kind == _FIXED64 else 4)
        else:
            raise ValueError(f"not an ONNX file: wire type {kind} at byte {start}")
        if at > end:
            raise ValueError("the ONNX file is damaged: it ends early")
        yield tag >> 3, start, first, at


def _read_varint(pages: mmap.mmap, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = pages[at]
        value |= (byte & 0x7F) << shift
        at, shift = at + 1, shift + 7
        if byte < 0x80:  # noqa: PLR2004 - the last byte of a varint
            return value, at


def _varint(value: int) -> bytes:
    digits = bytearray()
    while value > 0x7F:  # noqa: PLR2004 - seven bits to a byte
        digits.append(value & 0x7F | 0x80)
        value >>= 7
    digits.append(value)
    return bytes(digits)


def _values(path: Path, tensor: Any, place: tuple[int, int] | None) -> np.ndarray:
    import onnx

    if tensor.data_location == onnx.TensorProto.EXTERNAL:
        where = {entry.key: entry.value for entry in tensor.external_data}
        file = path.parent / where["location"]
        if not file.resolve().is_relative_to(path.parent.resolve()):
            raise ValueError(f"'{tensor.name}' names data outside the model's folder")
        offset = int(where.get("offset", 0))
        raw = read_raw(file, offset, int(where.get("length", file.stat().st_size - offset)))
    elif place:
        raw = read_raw(path, *place)
    else:
        array: np.ndarray = onnx.numpy_helper.to_array(tensor)
        return array.astype(np.float32) if tensor.data_type == onnx.TensorProto.BFLOAT16 else array
    return _decoded(raw, tensor)


def _decoded(raw: np.ndarray, tensor: Any) -> np.ndarray:
    import onnx

    shape = tuple(tensor.dims)
    if tensor.data_type in (onnx.TensorProto.INT4, onnx.TensorProto.UINT4):
        return _nibbles(raw, signed=tensor.data_type == onnx.TensorProto.INT4)[: int(np.prod(shape))].reshape(shape)
    bfloat = tensor.data_type == onnx.TensorProto.BFLOAT16
    kind = np.dtype(np.uint16) if bfloat else np.dtype(onnx.helper.tensor_dtype_to_np_dtype(tensor.data_type))
    aligned = raw.ctypes.data % kind.itemsize == 0
    values = raw.view(kind) if aligned else np.frombuffer(raw.tobytes(), kind)
    return (widened(values) if bfloat else values).reshape(shape)


def _nibbles(raw: np.ndarray, *, signed: bool) -> np.ndarray:
    pairs = np.stack([raw & 0xF, raw >> 4], axis=-1).reshape(-1).astype(np.int8)
    return np.where(pairs > 7, pairs - 16, pairs).astype(np.int8) if signed else pairs.astype(np.uint8)  # noqa: PLR2004 - four bits
