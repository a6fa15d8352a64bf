"""Channel pruning: whole channels and attention heads are cut out, and the network becomes narrower."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field

from ops.core.edits import edit
from ops.core.operation import (
    Ancestry,
    ChannelMultiple,
    Context,
    Exclude,
    Fraction,
    Include,
    Kind,
    Requirement,
    TorchModel,
    Uses,
    operation,
)
from ops.core.params import PerLayer, largest

if TYPE_CHECKING:
    import torch

    from ops.core.model import Architecture

_UNPLANNED_MULTIPLE = 8
"""For those who call the function without a plan: what suits CPUs (`pipeline.targets.api.CPU_CHANNELS`)."""


def _refuse(_: Ancestry, params: Mapping[str, Any]) -> str | None:
    if isinstance(params["ratio"], Mapping) and params["scope"] != "layer":
        return f"a ratio for each layer goes with 'scope: layer'; 'scope: {params['scope']}' ranks channels of several"
    ratio = largest(params["ratio"])
    if ratio > params["max_ratio"]:
        return f"ratio {ratio} is above max_ratio {params['max_ratio']}: raise max_ratio, or lower ratio"
    return None


def _joint(model: TorchModel, params: Mapping[str, Any]) -> list[tuple[str, ...]]:
    """Return the layers that make the channels of each group which may be cut."""
    from ops.core.selector import choose_layers
    from ops.prune.channels.groups import channel_groups

    selection = choose_layers(model, params["include"], params["exclude"])
    groups, _ = channel_groups(model, selection)
    makers = [[each.layer for each in group.members if each.side == "out"] for group in groups]
    return [tuple(dict.fromkeys(name for name in names if name in selection)) for names in makers]


@operation(
    kind=Kind.PRUNE,
    version=3,
    uses={Uses.DATA, Uses.SEED},
    refuse=_refuse,
    libraries=("torch-pruning",),
    joint=_joint,
    needs=lambda params: Requirement.LABELS if params["importance"] in ("taylor", "hessian") else None,
)
def channel_prune(
    model: TorchModel,
    ctx: Context,
    *,
    ratio: PerLayer[Fraction],
    importance: Literal["magnitude", "taylor", "bn_scale", "hessian", "random"] = "magnitude",
    scope: Literal["layer", "global", "isomorphic"] = "layer",
    round_to: ChannelMultiple = None,
    iterations: Annotated[int, Field(ge=1, le=100)] = 1,
    max_ratio: Fraction = 0.9,
    samples: Annotated[int, Field(ge=1)] = 256,
    include: Include = (),
    exclude: Exclude = (),
) -> TorchModel:
    """Cut out the least important channels, and the heads of attention: the network is really smaller and faster.

    The one kind of pruning that every runtime rewards; fine-tune afterwards. Layers that share channels (residual sums,
    depthwise convolutions) lose the same ones. The network's outputs are never cut; nor, unless `include` names `embedding`
    too, is the width that a transformer shares with its embeddings: there, the inner width of the feed-forward layers and
    whole attention heads go. What was left alone is noted with the reason.

    Args:
        model: stays as it is.
        ctx: gives training instances, for `taylor` and `hessian` only.
        ratio: share of the channels that go, of each group of layers (`scope: layer`) or of all together. The number of
            weights falls faster: both sides of a layer get narrower. Also by layer: of layers that share channels the
            smallest ratio holds, and it is noted where others were given.
        importance: `magnitude` of the weights; `taylor` |w * dL/dw| (Molchanov et al. 2017); `bn_scale` |gamma| of batch
            normalisation (Liu et al., "Network Slimming", ICCV 2017); `hessian` w^2 times the mean squared gradient of single
            instances (LeCun et al., "Optimal Brain Damage", 1989); `random`. Summed over each channel's weights, averaged
            over the layers that share it.
        scope: `layer`: every group loses the same share; `global`: one ranking for all; `isomorphic`: one ranking for
            groups of the same form (Fang et al., "Isomorphic Pruning", ECCV 2024).
        round_to: keep multiples of this many channels, rounding down: other widths run slower on SIMD units (on x86, a
            MobileNetV2 with half the operations but odd widths takes longer than the whole). None: what the recipe's
            targets take at a time, 8 on CPUs and 16 on tensor cores; the number is recorded, and part of the model's
            identity. 1: no rounding.
        iterations: reach the ratio in this many steps, judging importance anew after each.
        max_ratio: no group loses more than this share, whatever its importance.
        samples: training instances for `taylor` and `hessian`.
        include: default: convolutions and linear layers. A group goes only if all layers that make its channels are chosen.
        exclude: layers whose outputs are to stay.

    Every cut is compared, on calibration instances, with the whole network whose layers do not see the channels that went.
    A weight that layers share stays one where they narrow it alike, and is noted where they do not. Normalisation over groups
    loses as many channels of each; where several heads share one key and value
    (grouped-query attention), they go together.

    Raises:
        OperationError: the tracer cannot follow the architecture, nothing can be cut, a layer would lose all its channels,
            the network would have no fewer weights, or it does not compute what the wide one does without those channels.

    Fang et al., "DepGraph: Towards Any Structural Pruning", CVPR 2023.
    """
    from ops.core.channels import cut_masks
    from ops.core.network.channel_axes import is_turned_linear
    from ops.core.selector import choose_layers
    from ops.core.strength import strengths
    from ops.prune.channels.budget import ChannelLimits
    from ops.prune.channels.cut import check_smaller, note_cut
    from ops.prune.channels.steps import cut_in_steps

    ratios, others = strengths(model, choose_layers(model, include, exclude), ratio)
    limits = ChannelLimits(scope, ratios, max_ratio, round_to or _UNPLANNED_MULTIPLE)
    result = cut_in_steps(
        model,
        ctx,
        limits,
        criterion=importance,
        iterations=iterations,
        samples=samples,
    )
    current, remaining = result.model, result.channels
    check_smaller(model, current, result.cut)
    note_cut(
        ctx, model, current, limits=limits, verdict=result.verdict, cut=result.cut, initial=result.initial, more=others
    )
    if remaining:
        turned = [name for name in remaining if is_turned_linear(model.module.get_submodule(name))]
        entry: dict[str, Any] = {"edit": "channels", "layers": remaining, "heads": result.heads}
        current.edits.append({**entry, "turned": turned} if turned else entry)
        current.masks = cut_masks(model, remaining)
    return current


@edit("channels")
def _replay(module: torch.nn.Module, _: Architecture, entry: Mapping[str, Any]) -> torch.nn.Module:
    from ops.core.channels import cut_layers, set_heads

    cut_layers(module, entry["layers"])
    for name, heads in entry["heads"].items():
        set_heads(module.get_submodule(name), heads)
    return module
