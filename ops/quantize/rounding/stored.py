"""Weights that lie on grids of 4 bits already: as `MatMulNBits` stores them, without rounding them a second time."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

LEVELS = 15
"""Of 4 bits."""
_OFF = 1e-3
"""Of a step: float32 keeps levels to a millionth of it."""
_SAMPLE = 256
"""Blocks that are looked at first: of weights off any grid nearly all fail."""


def grids_of(weights: np.ndarray, block_size: int) -> tuple[np.ndarray, np.ndarray, np.ndarray] | None:
    """Return levels, scales and zero points of weights all of whose blocks lie on grids of 4 bits; None if any does not.

    A grid is found that holds zero, and of several the one with the largest step.

    Args:
        weights: float32 (inputs, outputs).
        block_size: inputs that share a scale; missing ones of the last block count as zero.

    Returns:
        uint8 (outputs, blocks, block_size); float32 (outputs, blocks); uint8 (outputs, blocks).
    """
    inputs, outputs = weights.shape
    blocks = -(-inputs // block_size)
    padded = np.zeros((outputs, blocks * block_size), np.float32)
    padded[:, :inputs] = weights.T
    values = padded.reshape(-1, block_size)
    if not np.isfinite(values).all():
        return None
    sample = values[:: max(1, len(values) // _SAMPLE)]
    if np.isnan(_steps(sample)).any():
        return None
    scales = _steps(values)
    if np.isnan(scales).any():
        return None
    numbers = np.rint(values / scales[:, None])
    zeros = -np.minimum(numbers.min(axis=1), 0)
    levels = (numbers + zeros[:, None]).astype(np.uint8)
    return (
        levels.reshape(outputs, blocks, block_size),
        scales.astype(np.float32).reshape(outputs, blocks),
        zeros.astype(np.uint8).reshape(outputs, blocks),
    )


def _steps(values: np.ndarray) -> np.ndarray:
    """float32 (blocks,): the largest step of which all values of (blocks, n) are multiples on one grid; NaN if there is none."""
    magnitude = np.abs(values)
    least = np.where(magnitude > 0, magnitude, np.inf).min(axis=1)
    result = np.full(len(values), np.nan, np.float32)
    result[np.isinf(least)] = 1.0
    for part in range(1, LEVELS + 1):
        waiting = np.flatnonzero(np.isnan(result))
        if not len(waiting):
            break
        step = (least[waiting] / np.float32(part)).astype(np.float32)
        numbers = values[waiting] / step[:, None]
        whole = np.rint(numbers)
        reach = np.maximum(whole.max(axis=1), 0) - np.minimum(whole.min(axis=1), 0)
        fits = (np.abs(numbers - whole).max(axis=1) < _OFF) & (reach <= LEVELS)
        result[waiting[fits]] = step[fits]
    return result


def keep_grids(model: Any, weights: Mapping[str, np.ndarray], block_size: int) -> list[str]:
    """Write weights that lie on grids into the `MatMulNBits` nodes of a model as they are; return the nodes' names.

    Args:
        model: onnx.ModelProto with such nodes of 4 bits, changed in place.
        weights: name of a node -> its float32 weights (inputs, outputs).
        block_size: that of the nodes.
    """
    from onnx import numpy_helper

    tensors = {tensor.name: tensor for tensor in model.graph.initializer}
    written = []
    for node in model.graph.node:
        grids = (
            grids_of(weights[node.name], block_size) if node.name in weights and node.op_type == "MatMulNBits" else None
        )
        if grids is None:
            continue
        levels, scales, zeros = grids
        pairs = levels.reshape(*levels.shape[:2], -1, 2)
        packed = {1: pairs[..., 0] | pairs[..., 1] << 4, 2: scales, 3: _packed(zeros)}
        for place, array in packed.items():
            tensor = tensors[node.input[place]]
            shape = tuple(tensor.dims)
            tensor.CopyFrom(numpy_helper.from_array(np.ascontiguousarray(array).reshape(shape), tensor.name))
        written.append(node.name)
    return written


def _packed(zeros: np.ndarray) -> np.ndarray:
    """Two zero points in a byte, the first in its lower half: uint8 (outputs, bytes)."""
    if zeros.shape[1] % 2:
        zeros = np.pad(zeros, ((0, 0), (0, 1)))
    packed: np.ndarray = zeros[:, 0::2] | zeros[:, 1::2] << 4
    return packed
