"""One step of channel pruning: judge the groups, decide, cut."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

import torch
from torch import nn
from torch.nn.modules.batchnorm import _NormBase

from ops.core.channels import Kept, Side, cut_layers, set_heads, width
from ops.core.errors import OperationError
from ops.core.network.sharing import same_names
from ops.core.operation import Context, TorchModel
from ops.core.text import reasons_in_line
from ops.prune.channels.budget import ChannelLimits, kept_units
from ops.prune.channels.groups import ChannelGroup, Score, channel_groups, importance
from ops.prune.weights.saliency import saliencies

Criterion = Literal["magnitude", "taylor", "bn_scale", "hessian", "random"]
_LANES = 8
_NEAR = 0.01
"""How near to the asked ratio needs no explanation."""


@dataclass(slots=True)
class Judged:
    """The groups that may be cut with the importance of their units, and why others may not."""

    groups: list[ChannelGroup]
    scores: list[torch.Tensor]
    exclusions: dict[str, str]


@dataclass(slots=True)
class ChannelCut:
    """The channels that one step keeps."""

    channels: Kept = field(default_factory=dict)
    heads: dict[str, int] = field(default_factory=dict)
    """Attention module -> heads left."""
    units: dict[str, list[int]] = field(default_factory=dict)
    """Group -> the units that are left."""


def judge(
    model: TorchModel,
    selection: Collection[str],
    ctx: Context,
    *,
    criterion: Criterion,
    samples: int,
    step: int,
    misread: Mapping[str, str],
) -> Judged:
    """Find the groups and score their units.

    Args:
        model: the network as it is at this step.
        selection: names of layers.
        ctx: gives training instances to criteria that need them.
        criterion: what makes a unit important.
        samples: training instances.
        step: from 1; draws of `random` depend on it.
        misread: by the name of its first layer, why a group that was tried is left out.

    Raises:
        OperationError: the architecture cannot be followed, no group may be cut, or gradients are unfit.
    """
    result, remaining = channel_groups(model, selection, misread)
    remaining |= misread
    if not result:
        reasons = reasons_in_line(remaining)
        raise OperationError(f"'{model.architecture.name}' has no channels that could be cut: {reasons}")
    if criterion == "random":
        generator = torch.Generator().manual_seed(ctx.seed + step)
        return Judged(result, [torch.rand(len(group.units), generator=generator) for group in result], remaining)
    score = _score(model, ctx, criterion, samples)
    verdict = Judged([], [], remaining)
    for group in result:
        values = importance(model.module, group, score)
        if values is None:
            remaining[group.root] = "no layer of it has batch-normalisation scales"
            continue
        if not bool(values.isfinite().all()):
            raise OperationError(f"'{group.root}': its importance is not finite: the model was broken before this step")
        verdict.groups.append(group)
        verdict.scores.append(values)
    if not verdict.groups:
        raise OperationError(
            f"'{model.architecture.name}' has no batch normalisation: 'bn_scale' cannot rank its channels"
        )
    return verdict


def decide(model: TorchModel, verdict: Judged, initial: Mapping[str, int], limits: ChannelLimits) -> ChannelCut:
    """Choose the units that stay and find the channels of every layer that go with them.

    Args:
        model: the network at this step; it stays as it is.
        verdict: its groups and the importance of their units.
        initial: units of each group before the first step, by its root: ratios refer to them.
        limits: how much may go.

    Raises:
        OperationError: a layer would lose all its channels; names it and the largest possible ratio.
    """
    return cut_of(model, verdict.groups, kept_units(verdict.groups, verdict.scores, initial, limits))


def cut_of(model: TorchModel, groups: Sequence[ChannelGroup], units: Sequence[Sequence[int]]) -> ChannelCut:
    """Return the channels of every layer that go where of each group only these `units` stay.

    Args:
        model: gives the widths of the layers; it stays as it is.
        groups: those that may be cut.
        units: per group the numbers of the units that stay.
    """
    cut = ChannelCut()
    losses: dict[tuple[str, Side], set[int]] = {}
    for group, stay in zip(groups, units, strict=True):
        cut.units[group.root] = list(stay)
        if len(stay) == len(group.units):
            continue
        if group.attention:
            cut.heads[group.attention] = len(stay)
        roots = set(group.units.flatten().tolist()) - set(group.units[list(stay)].flatten().tolist())
        for member in group.members:
            channels = {channel for channel, root in zip(member.channels, member.roots, strict=True) if root in roots}
            losses.setdefault((member.layer, member.side), set()).update(channels)
    for (name, side), channels in losses.items():
        total = width(model.module.get_submodule(name), side)
        cut.channels.setdefault(name, {})[side] = [channel for channel in range(total) if channel not in channels]
    return cut


def apply(model: TorchModel, cut: ChannelCut, *, fresh: bool) -> TorchModel:
    """Cut `model`, or a copy of it if it is `fresh` from the caller."""
    result = model.copy() if fresh else model
    cut_layers(result.module, cut.channels)
    for name, heads in cut.heads.items():
        set_heads(result.module.get_submodule(name), heads)
    return result


def check_smaller(before: TorchModel, after: TorchModel, cut: ChannelCut) -> None:
    """See that a cut made a network smaller: a weight that layers share, and narrow in different ways, is one no more.

    Raises:
        OperationError: it has as many weights as before, or more; names layers that can be excluded.
    """
    had, has = (sum(p.numel() for p in model.module.parameters()) for model in (before, after))
    if not cut.channels or has < had:
        return
    shared = ", ".join(separated(before, after))
    roots = ", ".join(cut.units)
    raise OperationError(
        f"'{before.architecture.name}' would have {has:,} weights instead of {had:,}: a weight that layers share would be "
        f"taken apart ({shared}). Exclude some of the layers that lose channels: {roots}"
    )


def separated(before: TorchModel, after: TorchModel) -> list[str]:
    """Return the names of tensors that were one, and are several after a cut: `a.weight and b.weight`."""
    groups = [set(names) for names in same_names(after.module)]
    return [
        " and ".join(names) for names in same_names(before.module) if not any(set(names) <= group for group in groups)
    ]


def note_cut(
    ctx: Context,
    before: TorchModel,
    after: TorchModel,
    *,
    limits: ChannelLimits,
    verdict: Judged,
    cut: ChannelCut,
    initial: Mapping[str, int],
    more: Mapping[str, str],
) -> None:
    """Record how many channels and parameters went, and which layers were left alone and why.

    Args:
        ctx: takes the notes.
        before: the network before the first step.
        after: the network after the last.
        limits: what was asked for.
        verdict: groups of the last step, and why others stay.
        cut: the last step's.
        initial: units of each group before the first step, by its root.
        more: other layers that were left alone, and why.
    """
    widths = {group.root: group.units.shape[1] for group in verdict.groups}
    had = sum(initial[root] * each for root, each in widths.items())
    has = sum(len(cut.units[root]) * each for root, each in widths.items())
    achieved = {
        "ratio": 1 - has / had,
        "channels": [had, has],
        "parameters": [sum(p.numel() for p in model.module.parameters()) for model in (before, after)],
    }
    request = sum(initial[group.root] * widths[group.root] * limits.ratio(group) for group in verdict.groups) / had
    if abs(1 - has / had - request) > _NEAR:
        achieved["because"] = "channels stay in multiples of round_to, heads stay or go whole, and max_ratio holds"
    ctx.note("achieved", achieved)
    if apart := separated(before, after):
        ctx.note("taken apart", apart)
    uneven = [root for root in widths if width(after.module.get_submodule(root), "out") % _LANES]
    if uneven:
        groups = f"{len(uneven)} groups ({', '.join(uneven[:3])}, ...)" if uneven[3:] else ", ".join(uneven)
        ctx.note("may be slow", f"channels of {groups} are no multiple of {_LANES}, which SIMD kernels pad")
    whole = {
        root: "rounding and max_ratio leave all its channels"
        for root in widths
        if len(cut.units[root]) == initial[root]
    }
    if verdict.exclusions or whole or more:
        ctx.note("unchanged", {**verdict.exclusions, **whole, **more})
    several = {group.root: sorted(given) for group in verdict.groups if len(given := limits.asked(group)) > 1}
    if several:
        ctx.note("smallest ratio of several", several)


def _score(model: TorchModel, ctx: Context, criterion: Criterion, samples: int) -> Score:
    parameters = dict(model.module.named_parameters())
    norms = {name for name, part in model.module.named_modules() if isinstance(part, _NormBase)}
    if criterion == "magnitude":
        return lambda name: parameters[name].detach().square() if name in parameters else None
    if criterion == "bn_scale":
        scales = {name: p for name, p in parameters.items() if name.rpartition(".")[0] in norms}
        return lambda name: scales[name].detach().abs() if name in scales else None
    scored = {
        name: parameter
        for name, parameter in parameters.items()
        if name.endswith(".weight")
        and not isinstance(model.module.get_submodule(name.rpartition(".")[0]), nn.Embedding)
    }
    if criterion == "taylor":
        result = saliencies(model, scored, ctx, criterion="taylor", samples=samples)
    else:
        result = saliencies(model, scored, ctx, criterion="fisher", samples=samples, batch_size=1)
    return result.get
