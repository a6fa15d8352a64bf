"""The reach of a pattern: its layers, and weights of theirs that other layers have too."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING

from ops.core.network.sharing import identities

if TYPE_CHECKING:
    import torch

    from ops.core.selector import Layer

GROUPS = ("norm", "conv", "linear", "recurrent", "embedding", "attention", "head", "depthwise")
WEIGHTS = ("conv", "linear", "recurrent")
"""The default of operations that change weights: normalisation, biases and embeddings are asked for by name."""


def reached(layers: Collection[Layer], pattern: str, default: Sequence[str]) -> list[Layer]:
    """Return the layers that one pattern of `include` chooses: if any is of the default groups, only such.

    Args:
        layers: all layers of a network.
        pattern: one entry of `include`: a name, a pattern or a group.
        default: the groups that the operation changes when nothing is included.
    """
    hit = [layer for layer in layers if layer.matches(pattern)]
    usual = [] if pattern in GROUPS else [layer for layer in hit if layer.groups & set(default)]
    return usual or hit


def tied_weights(
    module: torch.nn.Module, layers: Collection[Layer], include: Sequence[str], default: Sequence[str]
) -> dict[str, str]:
    """Return the weights that are also those of a layer outside of the default groups, with that layer's name.

    An output layer that is tied to the embedding is of this kind. Those that a pattern asks for are left out: one that
    reaches the other layer, or one that reaches nothing but such layers.

    Args:
        module: the network.
        layers: all of its layers.
        include: patterns of the operation's parameter; empty for the default groups.
        default: the groups that the operation changes when nothing is included.
    """
    same = identities(module)
    outside = {
        same[name]: layer.name for layer in layers if not layer.groups & set(default) for name in layer.parameters
    }
    common = {
        layer.name: [name for name in layer.weights if same[name] in outside]
        for layer in layers
        if layer.groups & set(default)
    }
    requested: set[int] = set()
    for pattern in include:
        hit = reached(layers, pattern, default)
        if pattern not in default and not any(layer.groups & set(default) and not common[layer.name] for layer in hit):
            requested |= {same[name] for layer in hit for name in layer.weights}
        requested |= {same[name] for layer in layers for name in layer.matching_parameters(pattern)}
    return {name: outside[same[name]] for names in common.values() for name in names if same[name] not in requested}


def unfit(parameter: torch.Tensor) -> str | None:
    """Return why a parameter's values cannot be changed one by one, or None."""
    import torch
    from torch.nn.parameter import is_lazy

    if is_lazy(parameter):
        return "it has no values yet"
    if parameter.layout is not torch.strided:
        return f"it is stored as {parameter.layout}, not densely"
    if not parameter.is_floating_point():
        return f"its values are {str(parameter.dtype).removeprefix('torch.')}"
    return None if parameter.numel() else "it is empty"
