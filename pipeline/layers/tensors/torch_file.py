"""Tensors of a torch model: straight from the pages of its safetensors file, without building the network."""

from __future__ import annotations

import math
import mmap
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.core.json_text import parse_json
from pipeline.layers.tensors.tensor import StoredTensor
from pipeline.models import storage

_NUMPY = {
    "F64": np.float64,
    "F32": np.float32,
    "F16": np.float16,
    "BF16": np.uint16,
    "I64": np.int64,
    "I32": np.int32,
    "I16": np.int16,
    "I8": np.int8,
    "U8": np.uint8,
    "BOOL": np.bool_,
}
_FLOATING = ("F64", "F32", "F16", "BF16")
_INPUTS_FIRST = ("Conv1D", "ConvTranspose1d", "ConvTranspose2d", "ConvTranspose3d")
"""Classes whose weight is (inputs, outputs, ...). `Conv1D` is GPT-2's linear layer; torch's convolution is `Conv1d`."""
_BUFFERS = ("running_mean", "running_var")
"""Buffers that say something of a network; counters, position ids and the like do not."""


def torch_tensors(folder: Path) -> Sequence[StoredTensor]:
    """List parameters, and the running statistics of normalisation layers."""
    file = folder / storage.TENSORS_FILE
    start, header = _header(file)
    structure = storage.load_structure(folder)
    parameters = set(structure["parameters"])
    tensors = []
    for name, entry in header.items():
        role = "parameter" if name in parameters else "buffer"
        if entry["dtype"] not in _NUMPY or (role == "buffer" and not _is_buffer(name)):
            continue
        tensors.append(_stored(file, start, name, entry, role=role, modules=structure["modules"]))
    modules = {name: place for place, name in enumerate(structure["modules"])}
    order = {name: place for place, name in enumerate(structure["parameters"])}
    # as in the code: modules in order, in each the parameters before the buffers
    return sorted(tensors, key=lambda t: (modules.get(t.module, len(modules)), order.get(t.name, len(order)), t.name))


def bare_tensors(file: Path) -> Sequence[StoredTensor]:
    """List the tensors of a safetensors file that nothing else is known of, in its order: by their names alone.

    Args:
        file: as any program may write it.

    Raises:
        ValueError: if it is damaged, or no such file.
    """
    start, header = _header(file)
    return [
        _stored(file, start, name, entry, role="buffer" if _is_buffer(name) else "parameter", modules={})
        for name, entry in sorted(header.items(), key=lambda item: item[1]["data_offsets"])
        if entry["dtype"] in _FLOATING
    ]


def _is_buffer(name: str) -> bool:
    return name.rpartition(".")[2] in _BUFFERS


def read_raw(file: Path, offset: int, length: int) -> np.ndarray:
    """Return bytes of a file as an array over its pages: nothing is read until used, nothing stays when dropped.

    Args:
        file: any file.
        offset: the first byte.
        length: the number of bytes.

    Returns:
        uint8 (length,), read-only.
    """
    if length == 0:
        return np.empty(0, np.uint8)
    page = offset // mmap.ALLOCATIONGRANULARITY * mmap.ALLOCATIONGRANULARITY
    with file.open("rb") as stream:
        pages = mmap.mmap(stream.fileno(), offset - page + length, offset=page, access=mmap.ACCESS_READ)
    return np.frombuffer(pages, np.uint8)[offset - page :]


def widened(raw: np.ndarray) -> np.ndarray:
    """Return bfloat16 values, given as uint16, in float32."""
    return (raw.astype(np.uint32) << 16).view(np.float32)


def _header(file: Path) -> tuple[int, dict[str, Any]]:
    with file.open("rb") as stream:
        length = int.from_bytes(stream.read(8), "little")
        if length > file.stat().st_size:
            raise ValueError(f"{file.name} is damaged: its header is longer than the file")
        header = parse_json(stream.read(length))
    if not isinstance(header, dict):
        raise ValueError(  # noqa: TRY004 - of the file, as above
            f"{file.name} is damaged: its header is no mapping"
        )
    header.pop("__metadata__", None)
    return 8 + length, header


def _stored(
    file: Path, start: int, name: str, entry: Mapping[str, Any], *, role: Any, modules: Mapping[str, str]
) -> StoredTensor:
    kind = np.dtype(_NUMPY[entry["dtype"]])
    first, last = entry["data_offsets"]
    shape = tuple(entry["shape"])
    module, _, parameter = name.rpartition(".")
    module_type = modules.get(module, "")
    if last - first != kind.itemsize * math.prod(shape) or start + last > file.stat().st_size:
        raise ValueError(f"{file.name} is damaged: it ends before '{name}'")
    return StoredTensor(
        name=name,
        module_type=module_type,
        role=role,
        shape=shape,
        dtype="bfloat16" if entry["dtype"] == "BF16" else kind.name,
        bits=8 * kind.itemsize,
        bytes=last - first,
        read=partial(_read, file, start + first, last - first, kind, shape=shape, wide=entry["dtype"] == "BF16"),
        output_axis=int(parameter == "weight" and module_type.endswith(_INPUTS_FIRST)),
    )


def _read(
    file: Path, offset: int, length: int, kind: np.dtype[Any], *, shape: tuple[int, ...], wide: bool
) -> np.ndarray:
    raw = read_raw(file, offset, length)
    values = raw.view(kind) if offset % kind.itemsize == 0 else np.frombuffer(raw.tobytes(), kind)
    return (widened(values) if wide else values.astype(np.float32, copy=False)).reshape(shape)
