"""Rounding during training (quantization-aware training): forward as int8 will be, backward as if nothing was rounded.

The layers' `forward` is replaced and put back; no module is inserted, so tensors keep their names and the trained
network exports like any other. After Jacob et al. 2018 (arXiv:1712.05877) and Bengio et al. 2013 (arXiv:1308.3432).
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from functools import partial
from typing import Any

import torch
from torch import nn
from torch.nn import functional

from ops.core.network.channel_axes import is_turned_linear

_AVERAGING = 0.01  # weight of a new batch in the moving range
_LARGEST_WEIGHT, _LEVELS = 127, 255


class Observer(nn.Module):
    """Moving average of the smallest and largest value of a layer's input, widened to contain 0."""

    low: torch.Tensor
    high: torch.Tensor
    seen: torch.Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("low", torch.zeros(()))
        self.register_buffer("high", torch.zeros(()))
        self.register_buffer("seen", torch.zeros((), dtype=torch.bool))

    def forward(self, values: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Follow the batch and return the range."""
        low, high = values.detach().aminmax()
        share = _AVERAGING if self.seen else 1.0
        self.low += share * (low.clamp_max(0) - self.low)
        self.high += share * (high.clamp_min(0) - self.high)
        self.seen.fill_(True)
        return self.low, self.high


@contextlib.contextmanager
def rounded(layers: Mapping[str, torch.nn.Module]) -> Iterator[torch.nn.Module]:
    """Let convolutions and linear layers round their weights (int8, per output channel) and inputs (uint8) meanwhile.

    Yields the observers of the input ranges as one module, whose state belongs into checkpoints.
    """
    observers = nn.ModuleList([Observer() for _ in layers])
    for layer, observer in zip(layers.values(), observers, strict=True):
        layer.forward = partial(_forward, layer, observer)  # put back below
    try:
        yield observers
    finally:
        for layer in layers.values():
            del layer.forward


def roundable(layers: Mapping[str, torch.nn.Module]) -> dict[str, torch.nn.Module]:
    """Return those that can be rounded: linear layers and convolutions of the plain kinds."""
    kinds = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d)
    return {name: layer for name, layer in layers.items() if type(layer) in kinds or is_turned_linear(layer)}


def round_weight(weight: torch.Tensor) -> torch.Tensor:
    """Round (outputs, ...) to int8, symmetric, with a scale per output channel; the gradient passes unchanged.

    Zeros stay zero, as symmetric quantization in the runtime keeps them.
    """
    largest = weight.detach().abs().flatten(1).amax(1).clamp_min(1e-12)
    scale = (largest / _LARGEST_WEIGHT).reshape(-1, *[1] * (weight.ndim - 1))
    return weight + ((weight.detach() / scale).round() * scale - weight.detach())


def round_input(values: torch.Tensor, low: torch.Tensor, high: torch.Tensor) -> torch.Tensor:
    """Round to uint8 over [low, high], which contains 0; beyond it values are cut and get no gradient.

    Args:
        values: a layer's input, of any shape.
        low: the smallest value of the range, a scalar, at most 0.
        high: the largest, a scalar, at least 0.
    """
    scale = ((high - low) / _LEVELS).clamp_min(1e-12)
    zero = (-low / scale).round()
    cut = values.clamp(-zero * scale, (_LEVELS - zero) * scale)
    return cut + ((cut.detach() / scale).round() * scale - cut.detach())


def _forward(layer: Any, observer: Any, values: torch.Tensor) -> torch.Tensor:
    weight = round_weight(layer.weight.T if is_turned_linear(layer) else layer.weight)
    values = round_input(values, *observer(values))
    if hasattr(layer, "_conv_forward"):
        return layer._conv_forward(values, weight, layer.bias)  # type: ignore[no-any-return]  # torch leaves it untyped
    return functional.linear(values, weight, layer.bias)
