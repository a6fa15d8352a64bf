"""Cuts of channels by hand: the parent with zeros in place of the channels that a cut removes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import nn

from scripts.bench.matrix.by_hand import channels_first, computes_weight, dense, is_turned, require


def require_slices(parent: nn.Module, result: nn.Module, kept: Mapping[str, Mapping[str, Sequence[int]]]) -> None:
    """Require every tensor of the narrow network to be the part of the parent's that stays."""
    narrow = dict(result.named_modules())
    for name, layer in parent.named_modules():
        sides, other = kept.get(name, {}), narrow[name]
        for key, tensor in [*layer.named_parameters(recurse=False), *layer.named_buffers(recurse=False)]:
            ours = getattr(other, key)
            if isinstance(layer, nn.Embedding):
                expected = tensor[:, list(sides["out"])] if "out" in sides else tensor
            elif (
                key == "weight"
                and name in kept
                and (isinstance(layer, nn.Linear | nn.modules.conv._ConvNd) or is_turned(layer))
            ):
                whole, ours = dense(layer, tensor), dense(other, ours)
                depthwise = isinstance(layer, nn.modules.conv._ConvNd) and layer.groups == layer.in_channels > 1
                into = sides.get("out") if depthwise else sides.get("in")
                expected = whole if "out" not in sides else whole[list(sides["out"])]
                expected = expected if into is None else expected[:, list(into)]
            else:
                expected = tensor[list(sides["out"])] if "out" in sides and tensor.dim() else tensor
            require(torch.equal(ours, expected), f"'{name}.{key}' is not the part of the parent's that stays")


def without_channels(module: nn.Module, kept: Mapping[str, Mapping[str, Sequence[int]]]) -> nn.Module:
    """Let a network compute as if the channels that went were zero: those who read them have zero weights for them."""
    for name, sides in kept.items():
        layer = module.get_submodule(name)
        if isinstance(layer, nn.LayerNorm | nn.GroupNorm) and "out" in sides:
            parent, _, child = name.rpartition(".")
            setattr(module.get_submodule(parent), child, PartNorm(layer, list(sides["out"])))
        elif "in" in sides:
            _read_only(layer, sides["in"])
    return module


def _read_only(layer: Any, stay: Sequence[int]) -> None:
    """Let a layer read these channels alone."""
    convolution = isinstance(layer, nn.modules.conv._ConvNd)
    if convolution and layer.groups == layer.in_channels > 1:
        return
    if computes_weight(layer):
        gone = torch.tensor(sorted(set(range(layer.in_channels)) - set(stay)))
        layer.register_forward_pre_hook(lambda _, given: given[0].index_fill(1, gone, 0.0))
        return
    layer.weight = nn.Parameter(layer.weight.detach().clone())  # not in the layers that share it
    if not convolution:
        _zero_but(layer.weight, 0 if is_turned(layer) else 1, stay)
        return
    each, width = layer.in_channels // layer.groups, layer.out_channels // layer.groups
    for group in range(layer.groups):
        own = [index - group * each for index in stay if index // each == group]
        _zero_but(layer.weight[group * width : (group + 1) * width], 1, own)


def _zero_but(weight: torch.Tensor, axis: int, stay: Sequence[int]) -> None:
    gone = sorted(set(range(weight.shape[axis])) - set(stay))
    with torch.no_grad():
        weight.index_fill_(axis, torch.tensor(gone, dtype=torch.long), 0.0)


class PartNorm(nn.Module):
    """A normalisation over the channels that stay, each group over what is left of it; the others become zero."""

    def __init__(self, layer: Any, stay: list[int]) -> None:
        super().__init__()
        self.layer, self.stay = layer, stay
        self.axis = 1 if channels_first(layer) else -1

    def forward(self, values: torch.Tensor, *_: Any, **__: Any) -> torch.Tensor:
        """Return the normalised values."""
        layer, channels = self.layer, values.movedim(self.axis, 1)
        result = torch.zeros_like(channels)
        if isinstance(layer, nn.GroupNorm):
            each = layer.num_channels // layer.num_groups
            parts = [[index for index in self.stay if index // each == group] for group in range(layer.num_groups)]
            axes: tuple[int, ...] = tuple(range(1, channels.ndim))
        else:
            parts, axes = [self.stay], (1,)
        for part in filter(None, parts):
            own = channels[:, part]
            centred = own - own.mean(axes, keepdim=True)
            scale = torch.rsqrt(centred.square().mean(axes, keepdim=True) + layer.eps)
            shape = (1, -1, *[1] * (channels.ndim - 2))
            weight = 1.0 if layer.weight is None else layer.weight[part].view(shape)
            bias = 0.0 if layer.bias is None else layer.bias[part].view(shape)
            result[:, part] = centred * scale * weight + bias
        result = result.movedim(1, self.axis)
        activation = getattr(layer, "act", None)  # timm joins the two
        return result if activation is None else activation(result)


# factors, tables, steps of training, statistics
