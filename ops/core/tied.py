"""Weights that an operation leaves alone although their layers are of the kind that it changes, and the reason."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING

from ops.core.errors import OperationError
from ops.core.network.reach import WEIGHTS, tied_weights, unfit
from ops.core.network.sharing import identities
from ops.core.operation import Context
from ops.core.selector import Layer, Network, choose, layers_of, network_of
from ops.core.text import reasons_in_line

if TYPE_CHECKING:
    import torch


def choose_weighted(
    model: Network, include: Sequence[str], exclude: Sequence[str], *, able: Sequence[str] = ("conv", "linear")
) -> tuple[dict[str, torch.nn.Module], dict[str, str]]:
    """Return the chosen layers whose weights may change, and the others of the default groups with the reason.

    Args:
        model: the network.
        include: patterns; empty means the groups that change by default.
        exclude: patterns of layers to leave alone; a weight that one of them has too stays.
        able: the groups that the operation can change.

    Raises:
        OperationError: as `choose`, or no layer is left.
    """
    module = network_of(model)
    layers = layers_of(model, (*include, *exclude))
    targets = choose(layers, include, exclude, able=able)
    same = identities(module)
    exclusions = {
        same[name]: layer.name
        for layer in layers
        for name in layer.weights
        if any(layer.matches(pattern) for pattern in exclude)
    }
    common = tied_weights(module, layers, include, WEIGHTS)
    reasons = {} if include else _others(layers, able, targets, exclude)
    for layer in targets:
        for name in layer.weights:
            if same[name] in exclusions:
                reasons[layer.name] = f"it shares its weight with '{exclusions[same[name]]}', which is excluded"
            elif name in common:
                reasons[layer.name] = _tied_reason(common[name])
            elif reason := unfit(module.get_parameter(name)):
                reasons[layer.name] = reason
    result = {layer.name: module.get_submodule(layer.name) for layer in targets if layer.name not in reasons}
    if not result:
        raise OperationError(f"No layer is left to change: {reasons_in_line(reasons)}")
    return result, reasons


def unchanged_reasons(model: Network, include: Sequence[str], exclude: Sequence[str]) -> dict[str, str]:
    """Return what `choose_parameters` leaves alone that a person might expect to change, with the reason.

    Args:
        model: the network in any form that has layers.
        include: patterns of the operation's parameter; empty for the default groups.
        exclude: patterns of what stays.
    """
    module = network_of(model)
    layers = layers_of(model, (*include, *exclude))
    parameters = dict(module.named_parameters(remove_duplicate=False))
    reasons = {name: _tied_reason(other) for name, other in tied_weights(module, layers, include, WEIGHTS).items()}
    for layer in layers if not include else ():
        for name in layer.weights:
            reason = unfit(parameters[name])
            if layer.groups & set(WEIGHTS) and reason:
                reasons[name] = reason
            elif not layer.groups and parameters[name].dim() > 1:
                reasons[name] = f"{layer.types[0]} is of no group that changes by default; name it with `include`"
    return reasons


def note_unchanged(
    ctx: Context, model: Network, include: Sequence[str], exclude: Sequence[str], more: Mapping[str, str]
) -> None:
    """Record what is left alone, and `more` with its reasons, if anything is."""
    reasons = {**unchanged_reasons(model, include, exclude), **more}
    if reasons:
        ctx.note("unchanged", reasons)


def _others(
    layers: Collection[Layer], able: Sequence[str], targets: Collection[Layer], exclude: Sequence[str]
) -> dict[str, str]:
    """Return the layers with weights that the operation does not change, unless a person excluded them."""
    names = {layer.name for layer in targets}
    return {
        layer.name: f"{layer.types[0]} is none of the layers that this operation can change ({', '.join(able)})"
        for layer in layers
        if layer.name not in names
        and (layer.groups & set(WEIGHTS) or not layer.groups)
        and not layer.groups & set(able)
        and layer.weights
        and not any(layer.matches(pattern) for pattern in exclude)
    }


def _tied_reason(other: str) -> str:
    return f"its values are also those of '{other}', which changes only if it is named with `include`"
