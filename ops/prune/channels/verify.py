"""See that a narrowed network computes what the whole one does without the channels that went.

The tracer infers from shapes which channels belong together. Where it errs, the network still runs, on the wrong channels:
so its outputs are compared with those of the whole network whose layers do not see the channels that went, and whose
normalisation takes its statistics over the channels that stay, each group over what is left of it.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from typing import Any

import torch
from torch import nn
from torch.nn import functional
from torch.nn.modules.conv import _ConvNd

from ops.core.channels import Kept, cut_layers, is_depthwise, width
from ops.core.errors import OperationError
from ops.core.forward import forward
from ops.core.network.channel_axes import output_axis
from ops.core.operation import TorchModel

_TOLERANCE = 1e-3
"""Of the largest output: sums over fewer channels are rounded differently."""
_KNOWN_FORWARDS = (nn.LayerNorm.forward, nn.GroupNorm.forward)
_FAILURES = (RuntimeError, ValueError, TypeError, LookupError, AttributeError)


def difference(before: TorchModel, after: TorchModel, channels: Kept, inputs: Mapping[str, torch.Tensor]) -> str | None:
    """Return how the narrow network differs from the whole one without the channels that went, or None if it does not.

    Args:
        before: the whole network.
        after: the narrow one.
        channels: what is left of every layer of `before`.
        inputs: instances, by forward argument.
    """
    task = before.architecture.task
    with torch.no_grad():
        try:
            narrow = forward(after.module, inputs, task)
        except _FAILURES as error:
            return f"the narrower network does not run ({type(error).__name__}: {error})"
        with masked(before.module, channels):
            whole = forward(before.module, inputs, task)
    for name, expected in whole.items():
        values = narrow[name]
        if values.shape != expected.shape:
            return f"'{name}' changed its shape from {tuple(expected.shape)} to {tuple(values.shape)}"
        distance = (values - expected).abs()
        if not bool((distance <= _TOLERANCE * max(float(expected.abs().max()), 1e-6)).all()):
            return f"'{name}' differs by {float(distance.max()):.3g} from what the remaining channels give"
    return None


def masked(module: nn.Module, channels: Kept) -> ExitStack:
    """Let a network compute without the channels that are not kept, though it has them, until the result is closed."""
    with ExitStack() as stack:
        for name, sides in channels.items():
            layer = module.get_submodule(name)
            if isinstance(layer, nn.LayerNorm | nn.GroupNorm) and "out" in sides:
                stack.callback(layer.register_forward_hook(_normalising(sides["out"]), with_kwargs=True).remove)
            elif "in" in sides and not is_depthwise(layer):
                losses = sorted(set(range(width(layer, "in"))) - set(sides["in"]))
                stack.callback(layer.register_forward_pre_hook(_silencing(layer, losses), with_kwargs=True).remove)
        return stack.pop_all()


def _silencing(layer: nn.Module, channels: Sequence[int]) -> Any:
    # of layers derived from them too: one that takes its channels elsewhere does not come out as the narrow network
    axis = -1 - len(layer.kernel_size) if isinstance(layer, _ConvNd) else -1
    places = torch.tensor(channels)

    def silence(_: nn.Module, args: tuple[Any, ...], by_name: dict[str, Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
        if args:
            return (args[0].index_fill(axis, places, 0), *args[1:]), by_name
        first = next(iter(by_name))
        return args, {**by_name, first: by_name[first].index_fill(axis, places, 0)}

    return silence


def _normalising(stay: Sequence[int]) -> Any:
    places = torch.tensor(stay)

    def normalise(layer: Any, args: tuple[Any, ...], by_name: dict[str, Any], output: torch.Tensor) -> torch.Tensor:
        axis = output_axis(layer, args, by_name, output)
        assert axis is not None, "normalisation that can be cut has channels along one axis"
        values = args[0] if args else next(iter(by_name.values()))
        if type(layer).forward not in _KNOWN_FORWARDS:
            normal = _narrow_layer(layer, stay).forward(values.index_select(axis, places))
            return torch.zeros_like(output).index_copy(axis, places, normal)
        values = values.movedim(axis, 1).index_select(1, places)  # (instances, channels that stay, ...)
        weight, bias = (None if own is None else own[places] for own in (layer.weight, layer.bias))
        if isinstance(layer, nn.GroupNorm):
            each = layer.num_channels // layer.num_groups
            parts = [(places // each == group).nonzero().flatten() for group in range(layer.num_groups)]
            # one group at a time: what is left of each may differ in size
            normal = torch.empty_like(values)
            for part in parts:
                if len(part):
                    normal[:, part] = functional.group_norm(values[:, part], 1, eps=layer.eps)
        else:
            normal = functional.layer_norm(values.movedim(1, -1), (len(places),), eps=layer.eps).movedim(-1, 1)
        spread = [1, -1, *[1] * (normal.ndim - 2)]
        normal = normal if weight is None else normal * weight.view(spread)
        normal = normal if bias is None else normal + bias.view(spread)
        moved = output.movedim(axis, 1)
        return torch.zeros_like(moved).index_copy(1, places, normal.to(moved.dtype)).movedim(1, axis)

    return normalise


def _narrow_layer(layer: nn.Module, stay: Sequence[int]) -> Any:
    """Return a normalisation that computes more than that (timm's have an activation) for the channels that stay."""
    holder = nn.Sequential(copy.deepcopy(layer))
    cut_layers(holder, {"0": {"out": stay}})
    return holder[0]


def wrong(model: TorchModel, what: str, roots: Sequence[str]) -> OperationError:
    """Return the error for a network whose channels are not what they seem: it names layers that can be excluded."""
    patterns = ", ".join(roots)
    return OperationError(
        f"'{model.architecture.name}': the tracer misread how this architecture uses its channels: {what}. "
        f"Try `exclude: [{patterns}]`, or unstructured pruning (op: magnitude_prune) or factorization (op: factorize)"
    )
