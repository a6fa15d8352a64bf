"""Cut channels out of layers: the structure, the tensors and the masks, from lists of the channels to keep."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import torch
from torch import nn
from torch.nn.modules.batchnorm import _NormBase
from torch.nn.modules.conv import _ConvNd

from ops.core.network.channel_axes import is_linear, is_turned_linear, linear_widths, weight_axes
from ops.core.operation import TorchModel

HEADS = ("num_attention_heads", "num_heads", "n_heads")
"""What attention modules call the number of their heads."""
Side = Literal["out", "in"]
_WIDTHS: dict[type[nn.Module], str] = {
    nn.GroupNorm: "num_channels",
    nn.Embedding: "embedding_dim",
    nn.PReLU: "num_parameters",
}
"""What layers, and those derived from them, call the number of their channels; others say `num_features`."""
Kept = dict[str, dict[Side, list[int]]]
"""Layer -> the outputs and the inputs that stay, as indices before the cut; a side that loses nothing is absent."""


def can_cut(layer: object) -> bool:
    """Whether `cut_layers` knows this type of layer."""
    if isinstance(layer, _ConvNd):
        return not layer.transposed and (layer.groups < layer.out_channels or layer.groups in {1, layer.in_channels})
    if isinstance(layer, nn.LayerNorm):
        return len(layer.normalized_shape) == 1
    return is_turned_linear(layer) or isinstance(layer, nn.Linear | _NormBase | nn.GroupNorm | nn.Embedding | nn.PReLU)


def is_depthwise(layer: object) -> bool:
    """Whether a layer's outputs and inputs are the same channels."""
    return isinstance(layer, _ConvNd) and layer.groups == layer.in_channels == layer.out_channels > 1


def cut_layers(module: nn.Module, channels: Mapping[str, Mapping[Side, Sequence[int]]]) -> None:
    """Narrow the named layers of `module` in place. A tensor that layers share stays one where they narrow it alike."""
    narrow_tensors: dict[tuple[int, object], tuple[torch.Tensor, torch.Tensor]] = {}
    for name, sides in channels.items():
        layer = module.get_submodule(name)
        for key, tensor in _tensors(layer):
            place = id(tensor), tuple(_places(layer, key, sides).items())
            if place not in narrow_tensors:
                narrow = narrowed(layer, key, tensor.detach(), sides)
                if isinstance(tensor, nn.Parameter):
                    narrow = nn.Parameter(narrow, tensor.requires_grad)
                narrow_tensors[place] = tensor, narrow  # the first only so that its id is not given to another
            setattr(layer, key, narrow_tensors[place][1])
        _resize(layer, sides)


def cut_masks(model: TorchModel, channels: Mapping[str, Mapping[Side, Sequence[int]]]) -> dict[str, torch.Tensor]:
    """Return the masks of a model that is not yet cut, narrowed like the tensors."""
    masks = dict(model.masks)
    for name, sides in channels.items():
        layer = model.module.get_submodule(name)
        for key, _ in _tensors(layer):
            if (full := f"{name}.{key}") in masks:
                masks[full] = narrowed(layer, key, masks[full], sides)
    return masks


def narrowed(layer: nn.Module, key: str, tensor: torch.Tensor, sides: Mapping[Side, Sequence[int]]) -> torch.Tensor:
    """Return the part of a layer's tensor that stays.

    Args:
        layer: its kind says along which axes its channels lie.
        key: the tensor's name in the layer: `weight`, `bias`, `running_mean` and so on.
        tensor: of the shape that the layer had before the cut; it stays as it is.
        sides: per side the channels that stay, as indices before the cut; a side that is absent loses none.
    """
    for axis, places in _places(layer, key, sides).items():
        tensor = tensor.index_select(axis, torch.tensor(places))
    return tensor.clone()


def _places(layer: nn.Module, key: str, sides: Mapping[Side, Sequence[int]]) -> dict[int, tuple[int, ...]]:
    """Return the places that stay along each axis of a layer's tensor."""
    result: dict[int, tuple[int, ...]] = {}
    for axis, side in sorted(_axes(layer, key).items()):
        if side in sides:
            places = tuple(sides[side])
            if side == "in" and isinstance(layer, _ConvNd):
                places = places[: len(places) // layer.groups]  # every group keeps the same ones
            result[axis] = places
    return result


def width(layer: Any, side: Side) -> int:
    """Return the number of channels on one side of a layer that `can_cut`."""
    if is_linear(layer):
        return linear_widths(layer)[side == "in"]
    if isinstance(layer, _ConvNd):
        return layer.out_channels if side == "out" else layer.in_channels
    if isinstance(layer, nn.LayerNorm):
        return int(layer.normalized_shape[0])
    return int(getattr(layer, _width_name(layer)))  # normalisation may have no weight


def set_heads(attention: nn.Module, heads: int) -> None:
    """Tell an attention module of transformers how many heads it has left; their size stays.

    Where several heads share one key and value, `heads` counts the keys.
    """
    if hasattr(attention, "num_key_value_heads"):
        setattr(attention, "num_key_value_heads", heads)  # noqa: B010 - not an attribute of every module
    heads *= int(getattr(attention, "num_key_value_groups", 1))
    for name in HEADS:
        if hasattr(attention, name):
            if hasattr(attention, "all_head_size"):
                attention.all_head_size = attention.all_head_size // getattr(attention, name) * heads
            setattr(attention, name, heads)
            return


def compose_cuts(first: Kept, second: Kept) -> Kept:
    """Return one cut for two that follow each other."""
    result: Kept = {name: dict(sides) for name, sides in first.items()}
    for name, sides in second.items():
        for side, indices in sides.items():
            before = result.setdefault(name, {}).get(side)
            result[name][side] = indices if before is None else [before[index] for index in indices]
    return result


def _tensors(layer: nn.Module) -> list[tuple[str, torch.Tensor]]:
    own = [*layer.named_parameters(recurse=False), *layer.named_buffers(recurse=False)]
    return [(key, tensor) for key, tensor in own if tensor.dim()]  # not num_batches_tracked


def _axes(layer: nn.Module, key: str) -> dict[int, Side]:
    axes = weight_axes(layer)
    if key != "weight" or axes is None:
        return {0: "out"}
    return (
        {axes[0]: "out"} if isinstance(layer, nn.Embedding) or is_depthwise(layer) else {axes[0]: "out", axes[1]: "in"}
    )


def _resize(layer: Any, sides: Mapping[Side, Sequence[int]]) -> None:
    """Set the numbers that the layer keeps of its own shape."""
    out, into = (len(sides[side]) if side in sides else None for side in ("out", "in"))
    if isinstance(layer, _ConvNd):
        _resize_convolution(layer, out, into)
    elif isinstance(layer, nn.Linear):
        layer.out_features, layer.in_features = out or layer.out_features, into or layer.in_features
    elif is_turned_linear(layer):
        layer.nf, layer.nx = out or layer.nf, into or layer.nx
    elif isinstance(layer, nn.LayerNorm):
        layer.normalized_shape = (out or layer.normalized_shape[0],)
    else:
        setattr(layer, _width_name(layer), out)


def _width_name(layer: nn.Module) -> str:
    return next((name for kind, name in _WIDTHS.items() if isinstance(layer, kind)), "num_features")


def _resize_convolution(layer: _ConvNd, out: int | None, into: int | None) -> None:
    if is_depthwise(layer) and out:
        layer.groups = layer.in_channels = out
    layer.out_channels, layer.in_channels = out or layer.out_channels, into or layer.in_channels
