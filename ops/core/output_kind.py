"""Whether a network's outputs are logits or probabilities already: a softmax that is there must not be taken twice.

The last operation says so, and the values must agree: a softmax over another axis than the classes gives no probabilities.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import torch

LOGITS = "logits"
PROBABILITIES = "probabilities"
"""Of one class out of all: they add up to 1 over the last axis."""
LOG_PROBABILITIES = "log_probabilities"
"""Their logarithms. They serve as logits: their softmax gives the probabilities again."""
SIGMOID = "sigmoid"
"""Each class by itself, from 0 to 1. A softmax over their logarithms divides them by their sum."""
INDEPENDENT = "independent"
"""Each label's probability by itself, where labels do not exclude each other: its logit is that of the probability."""
_POSITIVE = (PROBABILITIES, SIGMOID)
_TOLERANCE = 1e-3
_MOVES = {
    "Alias",
    "Clone",
    "Expand",
    "Permute",
    "Reshape",
    "ReshapeAlias",
    "Squeeze",
    "T",
    "ToCopy",
    "Transpose",
    "UnsafeView",
    "Unsqueeze",
    "View",
    "Cast",
    "Flatten",
    "Identity",
}
"""Operations that only move or convert values, by torch's or ONNX' names."""
_LAST = {"Softmax": PROBABILITIES, "LogSoftmax": LOG_PROBABILITIES, "Sigmoid": SIGMOID}


def torch_operations(output: torch.Tensor) -> list[str]:
    """Names of the operations that gave an output, the last one first, as far as they have one operand."""
    names, node = [], output.grad_fn
    while node is not None:
        names.append(type(node).__name__.partition("Backward")[0])
        before = [parent for parent, _ in node.next_functions if parent is not None]
        node = before[0] if len(before) == 1 else None
    return names


def graph_operations(graph: Any, output: str) -> list[str]:
    """Names of the operators that give an output of an onnx.GraphProto, the last one first, along their first inputs."""
    producers = {name: node for node in graph.node for name in node.output}
    names, node = [], producers.get(output)
    while node is not None:
        names.append(str(node.op_type))
        node = producers.get(node.input[0]) if node.input else None
    return names


def output_kind(operations: Iterable[str], values: np.ndarray) -> str:
    """Say what an output is.

    Args:
        operations: what gave it, the last one first (`torch_operations`, `graph_operations`).
        values: some of it, of inputs that differ; floats (N, ..., classes).
    """
    last = [name for name in operations if name not in _MOVES][:2]
    kind = _LAST.get(last[0], LOGITS) if last else LOGITS
    if last == ["Log", "Softmax"]:
        kind = LOG_PROBABILITIES
    if last == ["Exp", "LogSoftmax"]:
        kind = PROBABILITIES
    if not np.isfinite(values).all() or values.size == 0:
        return LOGITS if kind == LOGITS else kind
    if kind == SIGMOID:
        return PROBABILITIES if _sums_to_one(values) else SIGMOID
    if kind == LOG_PROBABILITIES:
        return LOG_PROBABILITIES if _sums_to_one(np.exp(values)) else LOGITS
    return PROBABILITIES if _sums_to_one(values) else LOGITS  # a softmax may be written out: exp, sum, division


def label_kind(operations: Iterable[str]) -> str:
    """Say what an output is whose labels do not exclude each other: probabilities if a sigmoid gave it, else logits.

    Args:
        operations: what gave it, the last one first.
    """
    last = [name for name in operations if name not in _MOVES][:1]
    return INDEPENDENT if last == ["Sigmoid"] else LOGITS


def _sums_to_one(values: np.ndarray) -> bool:
    """Whether every row is a distribution over the last axis, of two classes or more."""
    if values.shape[-1] < 2 or values.min() < 0:  # noqa: PLR2004 - one class is no choice
        return False
    return bool(np.abs(values.sum(axis=-1, dtype=np.float64) - 1).max() < _TOLERANCE)


def logits_of(values: np.ndarray, kind: str) -> np.ndarray:
    """Turn an output into logits: of probabilities their logarithms, whose softmax is the probabilities.

    Rounding may leave a probability slightly below zero: it counts as zero.
    """
    if kind == INDEPENDENT:
        with np.errstate(divide="ignore"):
            odds: np.ndarray = np.log(np.clip(values, 0, 1)) - np.log1p(-np.clip(values, 0, 1))
        return odds
    if kind not in _POSITIVE:
        return values
    with np.errstate(divide="ignore"):
        logarithms: np.ndarray = np.log(np.maximum(values, 0))
    return logarithms


def torch_logits(outputs: Mapping[str, torch.Tensor], kinds: Mapping[str, str]) -> dict[str, torch.Tensor]:
    """As `logits_of`, for a loss. Networks that give logits while they train are left alone: the values decide."""
    result = {}
    for name, values in outputs.items():
        if kinds.get(name) == INDEPENDENT:
            result[name] = values.logit(eps=_smallest_step(values)) if _are_shares(values) else values
            continue
        positive = kinds.get(name) in _POSITIVE and _are_shares(values)
        smallest = _smallest(values)
        result[name] = values.clamp_min(smallest).log() if positive else values
    return result


def _are_shares(values: torch.Tensor) -> bool:
    return bool((values.detach() >= 0).all() and (values.detach() <= 1).all())


def _smallest_step(values: torch.Tensor) -> float:
    import torch

    return torch.finfo(values.dtype).eps


def _smallest(values: torch.Tensor) -> float:
    import torch

    return torch.finfo(values.dtype).tiny
