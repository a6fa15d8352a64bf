"""Magnitude pruning: the smallest weights become zero."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from ops.core.operation import Ancestry, Context, Exclude, Fraction, Include, Kind, TorchModel, operation
from ops.core.params import PerLayer, refuse_one_threshold


def _refuse(_: Ancestry, params: Mapping[str, Any]) -> str | None:
    if params["scope"] == "global" and params["allocation"] != "uniform":
        return (
            "'allocation' divides a budget among layers and goes with 'scope: layer'; 'scope: global' has one threshold"
        )
    if params["allocation"] != "uniform" and isinstance(params["sparsity"], Mapping):
        return "a sparsity for each layer leaves nothing for 'allocation' to divide: leave one of them out"
    return refuse_one_threshold(params)


@operation(kind=Kind.PRUNE, version=3, refuse=_refuse)
def magnitude_prune(
    model: TorchModel,
    ctx: Context,
    *,
    sparsity: PerLayer[Fraction],
    scope: Literal["global", "layer"] = "global",
    allocation: Literal["uniform", "erk", "lamp"] = "uniform",
    include: Include = (),
    exclude: Exclude = (),
) -> TorchModel:
    """Zero the weights of smallest absolute value.

    The first thing to try, needing no data. `sparsity` is the share of zeros among all chosen weights afterwards, exact
    to one weight; those of earlier pruning count and stay zero. Equal magnitudes go in memory order.

    Args:
        model: stays as it is.
        ctx: not asked for data.
        sparsity: share of the chosen weights that are zero afterwards; with `scope: layer` also by layer.
        scope: `global` has one threshold over all chosen weights; `layer` prunes each tensor by itself.
        allocation: with `scope: layer`, `uniform` prunes every tensor alike, `erk` spares small tensors (Evci et al. 2020),
            `lamp` spares tensors whose weights are all needed (Lee et al. 2021).
        include: default: the weights of convolutions and linear layers.
        exclude: layers to leave alone.

    Raises:
        OperationError: a pattern matches nothing, a tensor would lose all its weights, or holds NaN.

    Han et al., "Learning both Weights and Connections for Efficient Neural Networks", NeurIPS 2015.
    """
    from ops.core.selector import choose_parameters
    from ops.core.strength import strengths
    from ops.core.tied import note_unchanged
    from ops.prune.weights.allocation import erk_groups, lamp_groups
    from ops.prune.weights.masks import flat, global_group, kept_before, layer_groups, remove_weights
    from ops.prune.weights.threshold import Magnitudes

    selection = choose_parameters(model, include, exclude)
    values, others = strengths(model, selection, sparsity)
    selection = {name: weight for name, weight in selection.items() if name in values}
    note_unchanged(ctx, model, include, exclude, others)
    parts = [Magnitudes(name, flat(weight), kept_before(model, name)) for name, weight in selection.items()]
    if isinstance(sparsity, Mapping):
        groups = layer_groups(parts, values)
    elif scope == "global":
        groups = global_group(parts, sparsity)
    elif allocation == "erk":
        groups = erk_groups(parts, {name: weight.shape for name, weight in selection.items()}, sparsity)
    elif allocation == "lamp":
        groups = lamp_groups(parts, sparsity)
    else:
        groups = layer_groups(parts, values)
    return remove_weights(model, groups, ctx)
