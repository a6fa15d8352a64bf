"""Along which axis of its weights and of its output a layer has its channels.

Layers of torch declare it by their kind. Any other layer is asked: one entry of a parameter is changed, and where the output
changes along one axis only at that place, that axis is the channels'. Names of classes say nothing: a `LayerNorm` may have
its channels first, and a `Conv1D` may be a linear layer with its weight turned.
"""

from __future__ import annotations

import copy
import sys
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.conv import _ConvNd, _ConvTransposeNd
from torch.nn.modules.instancenorm import _InstanceNorm

_LAST: tuple[type[nn.Module], ...] = (nn.Linear, nn.Bilinear, nn.Embedding, nn.EmbeddingBag, nn.RMSNorm)
_SECOND: tuple[type[nn.Module], ...] = (_BatchNorm, nn.GroupNorm, nn.PReLU)
_ROUNDING = 1e-4
_HOOKS = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")


def is_turned_linear(layer: object) -> bool:
    """Whether a layer is the linear layer of GPT-2 (`Conv1D` of transformers): its weight is (inputs, outputs)."""
    library = sys.modules.get("transformers.pytorch_utils")
    return library is not None and isinstance(layer, library.Conv1D)


def weight_axes(layer: object) -> tuple[int, int] | None:
    """Return the axes of the outputs and of the inputs in a layer's `weight`, or None where it has no such axes.

    The inputs of a convolution, and the outputs of a transposed one, are those of one group.
    """
    if isinstance(layer, _ConvTransposeNd | nn.Embedding) or is_turned_linear(layer):
        return 1, 0
    if isinstance(layer, nn.Linear | _ConvNd):
        return 0, 1
    return None


def is_linear(layer: object) -> bool:
    """Whether a layer multiplies the last axis of its input with one matrix."""
    return isinstance(layer, nn.Linear) or is_turned_linear(layer)


def linear_widths(layer: Any) -> tuple[int, int]:
    """Return the number of outputs and of inputs of a layer that `is_linear`."""
    axes = weight_axes(layer)
    assert axes is not None, "linear layers have both"
    return layer.weight.shape[axes[0]], layer.weight.shape[axes[1]]


def declared_axis(layer: nn.Module) -> int | None:
    """Return the axis of the channels in the output of a layer that computes as torch's own kinds do, else None."""
    for kinds, axis in ((_LAST, -1), (_SECOND, 1)):
        if any(_computes_as(layer, kind) for kind in kinds):
            return axis
    if isinstance(layer, _ConvNd) and type(layer).__module__.startswith("torch."):
        return -1 - len(layer.kernel_size)
    if _computes_as(layer, _InstanceNorm):
        return -1 - next(n for n, kind in enumerate(_INSTANCE_NORMS, 1) if isinstance(layer, kind))
    if _computes_as(layer, nn.LayerNorm):
        return -1 if len(layer.normalized_shape) == 1 else None  # type: ignore[arg-type]  # a tuple, which torch does not say
    return -1 if is_turned_linear(layer) else None


_INSTANCE_NORMS = (nn.InstanceNorm1d, nn.InstanceNorm2d, nn.InstanceNorm3d)


def output_axis(
    layer: nn.Module, inputs: Sequence[Any], by_name: Mapping[str, Any], output: torch.Tensor
) -> int | None:
    """Return the axis of the channels in a layer's output, or None if the layer has none.

    Args:
        layer: in evaluation mode; it stays as it is, and its hooks are not called.
        inputs: what it was called with, by position.
        by_name: what it was called with, by name.
        output: what it gave.
    """
    axis = declared_axis(layer)
    if axis is not None:
        return axis
    own = dict(layer.named_parameters(recurse=False))
    # a bias first: it shows in every position of its channel
    for name in sorted(own, key=lambda name: (own[name].ndim, name != "bias")):
        result = _axis_that_follows(layer, name, inputs, by_name, output)
        if result is not None:
            return result
    return None


def added_axis(layer: nn.Module, inputs: Sequence[Any], by_name: Mapping[str, Any], output: torch.Tensor) -> int | None:
    """Return the axis of the output along which a layer's `bias` is added, or None if it is not added along one.

    A bias before an activation in the layer (timm's normalisations) moves the output by something else than itself.

    Args:
        layer: any layer with a `bias`.
        inputs: the positional arguments of a call of it.
        by_name: the keyword arguments of that call.
        output: what that call returned.
    """
    axis = declared_axis(layer)
    if axis is not None or not isinstance(layer.bias, nn.Parameter) or layer.bias.ndim != 1:
        return axis
    axis = _axis_that_follows(layer, "bias", inputs, by_name, output)
    return axis if axis is not None and _is_added(layer, inputs, by_name, output) else None


def channel_rows(output: torch.Tensor, axis: int) -> torch.Tensor:
    """Return an output as (positions of all instances, channels)."""
    moved = output.movedim(axis, -1)
    return moved.reshape(-1, moved.shape[-1])


def _computes_as(layer: nn.Module, kind: type[nn.Module]) -> bool:
    return isinstance(layer, kind) and type(layer).forward is kind.forward


def _is_added(layer: nn.Module, inputs: Sequence[Any], by_name: Mapping[str, Any], output: torch.Tensor) -> bool:
    """Whether the output moves by what the bias does, far enough for any activation to show."""
    bias = layer.get_parameter("bias").detach()
    far = 10 * (1 + float(output.detach().abs().max()))
    for shift in (far, -far):
        other = _output_with(layer, "bias", bias + shift, inputs, by_name)
        if other is None or not bool(((other - output - shift).abs() <= _ROUNDING * far).all()):
            return False
    return True


def _axis_that_follows(
    layer: nn.Module, name: str, inputs: Sequence[Any], by_name: Mapping[str, Any], output: torch.Tensor
) -> int | None:
    """Return the output's axis that changes at place 0 alone when a parameter does at its place 0, along any of its axes."""
    parameter = layer.get_parameter(name).detach()
    if not parameter.is_floating_point():
        return None
    for along in range(parameter.ndim):
        size = parameter.shape[along]
        if size < 2:  # noqa: PLR2004 - one place alone tells nothing
            continue
        changed = parameter.clone()
        changed.select(along, 0).add_(1.0)
        other = _output_with(layer, name, changed, inputs, by_name)
        if other is None or other.shape != output.shape:
            return None
        moved = (other != output) & ~(other.isnan() & output.isnan())
        for axis in range(1, output.ndim):
            places = moved.movedim(axis, 0)
            if len(places) == size and bool(places[0].any()) and not bool(places[1:].any()):
                return axis
    return None


def _output_with(
    layer: nn.Module, name: str, value: torch.Tensor, inputs: Sequence[Any], by_name: Mapping[str, Any]
) -> torch.Tensor | None:
    """Return what a layer gives with another value of a parameter, or None if it cannot be run alone."""
    bare = _bare(layer)
    bare._parameters[name] = value  # type: ignore[assignment]  # a plain tensor computes as well
    try:
        with torch.no_grad():
            other = bare.forward(*inputs, **by_name)
    except (RuntimeError, TypeError, ValueError, AttributeError, LookupError):
        return None
    other = other[0] if isinstance(other, tuple | list) else other
    return other if isinstance(other, torch.Tensor) else None


def _bare(layer: nn.Module) -> nn.Module:
    """Return a layer that shares all tensors with `layer` and has no hooks."""
    clone = copy.copy(layer)
    clone._parameters = dict(layer._parameters)
    clone._modules = {name: part and _bare(part) for name, part in layer._modules.items()}
    for hooks in _HOOKS:
        setattr(clone, hooks, OrderedDict())
    return clone
