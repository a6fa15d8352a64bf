"""Layers that round their weights and inputs while they run, as an 8-bit file will; gradients pass as if nothing was rounded.

A layer changes its class and nothing else: tensors keep their names, and all that asks for a linear layer or a convolution finds one.
After Jacob et al. 2018 (arXiv:1712.05877) and Bengio et al. 2013 (arXiv:1308.3432).
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import TYPE_CHECKING, Any

import torch
from torch import nn
from torch.nn import functional

from ops.core.edits import edit
from ops.core.network.channel_axes import is_turned_linear

if TYPE_CHECKING:
    from ops.core.model import Architecture, TorchModel

__all__ = [
    "EDIT",
    "FakeQuantized",
    "fake_quantized",
    "is_roundable",
    "round_input",
    "round_weight",
    "with_rounded_weights",
]

EDIT = "fake quantization"
_LEVELS = 255
_KINDS = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d)


class FakeQuantized(nn.Module):
    """What is added to a layer: it rounds its weights per output channel, and its inputs where their range is known."""

    weight_bits: int
    rounds_weight: bool
    input_low: torch.Tensor
    input_high: torch.Tensor

    def forward(self, values: torch.Tensor) -> torch.Tensor:
        """Run the layer on what is left after rounding."""
        layer: Any = self
        weight = layer.weight.T if is_turned_linear(layer) else layer.weight
        if self.rounds_weight:
            weight = round_weight(weight, self.weight_bits)
        if "input_low" in self._buffers:
            values = round_input(values, self.input_low, self.input_high)
        if hasattr(layer, "_conv_forward"):
            return layer._conv_forward(values, weight, layer.bias)  # type: ignore[no-any-return]  # torch leaves it untyped
        return functional.linear(values, weight, layer.bias)


def is_roundable(layer: nn.Module) -> bool:
    """Whether a layer can be changed so: linear layers and convolutions of the plain kinds, changed already or not."""
    return type(layer) in _KINDS or isinstance(layer, FakeQuantized) or is_turned_linear(layer)


def fake_quantized(layer: nn.Module, bits: int, limits: tuple[float, float] | None) -> None:
    """Let a layer round from now on, in place.

    Args:
        layer: one that `is_roundable`.
        bits: of its weights, 2 to 8.
        limits: smallest and largest input, rounded to 8 bits between; None: inputs stay as they are.
    """
    if not isinstance(layer, FakeQuantized):
        layer.__class__ = _class(type(layer))
    changed: Any = layer
    changed.weight_bits, changed.rounds_weight = bits, True
    for name, value in zip(("input_low", "input_high"), limits or (), strict=False):
        changed.register_buffer(name, torch.tensor(float(value)))


@cache
def _class(kind: type[nn.Module]) -> type[nn.Module]:
    return type(f"FakeQuantized{kind.__name__}", (FakeQuantized, kind), {"__module__": kind.__module__})


def with_rounded_weights(model: TorchModel) -> TorchModel:
    """Return the model with its weights as they are after rounding, for a file: the model itself where none are rounded."""
    if not any(isinstance(part, FakeQuantized) for part in model.module.modules()):
        return model
    result = model.copy()
    for part in result.module.modules():
        if isinstance(part, FakeQuantized):
            layer: Any = part
            weight = layer.weight.detach()
            turned = is_turned_linear(layer)
            rounded = round_weight(weight.T if turned else weight, part.weight_bits)
            with torch.no_grad():
                layer.weight.copy_(rounded.T if turned else rounded)
            part.rounds_weight = False
    return result


@edit(EDIT)
def _replay(module: nn.Module, _: Architecture, entry: Mapping[str, Any]) -> nn.Module:
    for name, (bits, has_limits) in entry["layers"].items():
        fake_quantized(module.get_submodule(name), bits, (0.0, 0.0) if has_limits else None)
    return module


def round_weight(weight: torch.Tensor, bits: int = 8) -> torch.Tensor:
    """Round (outputs, ...) to integers of so many bits, symmetric, with a scale per output channel; the gradient passes.

    Zeros stay zero, as symmetric quantization in the runtime keeps them. What is rounded already stays what it is.
    """
    largest = weight.detach().abs().flatten(1).amax(1).clamp_min(1e-12)
    scale = (largest / (2 ** (bits - 1) - 1)).reshape(-1, *[1] * (weight.ndim - 1))
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
