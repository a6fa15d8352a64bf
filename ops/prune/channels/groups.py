"""Groups of channels that can only go together, and their importance."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import nn
from torch.nn.modules.conv import _ConvNd

from ops.core.channels import HEADS, Side, can_cut, is_depthwise, width
from ops.core.network.channel_axes import is_linear, weight_axes
from ops.core.operation import TorchModel
from ops.core.selector import head_of, layers_of
from ops.prune.channels.graph import GroupMember, cannot_follow, traced_groups

Score = Callable[[str], "torch.Tensor | None"]
"""From a parameter's name to the importance of each of its weights (its shape), or None if it has no say."""
_PROJECTIONS = ({"query", "key", "value"}, {"q_proj", "k_proj", "v_proj"}, {"q_lin", "k_lin", "v_lin"}, {"q", "k", "v"})
_REPEATED = ("q_proj", "k_proj", "v_proj", "o_proj")
"""The layers of an attention whose keys and values serve several heads each, as transformers names them."""


@dataclass(frozen=True, slots=True)
class ChannelGroup:
    """Channels that exist in several layers and go together."""

    root: str
    members: tuple[GroupMember, ...]
    units: torch.Tensor
    """(units, width): the group's channels that go as one. Attention heads and grouped convolutions have units wider than 1."""
    attention: str | None = None
    """The module whose heads these are."""

    @property
    def shape(self) -> tuple[tuple[str, Side], ...]:
        """What kinds of layers it joins: equal for groups that are alike (Fang et al., "Isomorphic Pruning", ECCV 2024)."""
        return tuple((member.layer.rpartition(".")[2], member.side) for member in self.members)


def channel_groups(
    model: TorchModel, selection: Collection[str], unfit: Collection[str] = ()
) -> tuple[list[ChannelGroup], dict[str, str]]:
    """Return the groups that may be cut, and why the others may not, by the name of their first layer.

    A group may be cut if all linear layers, convolutions and embeddings that make its channels are in `selection`, none of
    them gives the network's outputs, and every layer in it is of a known type. Channels that a layer takes in parts of equal
    size (normalisation over groups, grouped convolutions) are one group, wherever they come from, so that every part loses
    as many.

    Args:
        model: stays as it is.
        selection: names of layers.
        unfit: first layers of groups that were tried and are to be left out.

    Raises:
        OperationError: the graph cannot be built; names the architecture.
    """
    anatomy = _Anatomy(model, selection)
    repeated = [name for name, part in model.module.named_modules() if _repeats_keys(part)]
    skip = {f"{name}.{part}" for name in repeated for part in _REPEATED[:3]}
    traced, remaining = _traced(model, anatomy, skip)
    output: list[ChannelGroup | str] = []
    for joint in _joined(model.module, traced):
        fixed = {root: remaining[root] for root in joint if root in remaining}
        whole = "" if fixed else anatomy.group(next(iter(joint)), joint)
        output.append(whole)
        if isinstance(whole, str):
            remaining |= {
                root: whole or _joint_reason(model.module, joint[root], fixed)
                for root in joint
                if root not in remaining
            }
    for name in repeated:
        heads = anatomy.repeated(name)
        output.append(heads)
        if isinstance(heads, str):
            remaining[f"{name}.{_REPEATED[0]}"] = heads
    return [group for group in output if not isinstance(group, str) and group.root not in unfit], remaining


def _traced(
    model: TorchModel, anatomy: _Anatomy, skip: Collection[str]
) -> tuple[dict[str, tuple[GroupMember, ...]], dict[str, str]]:
    """Return the members of every group that could be traced, and why some groups stay."""
    remaining: dict[str, str] = {}
    traced: dict[str, tuple[GroupMember, ...]] = {}
    for root, members in traced_groups(model, skip):
        reason = members if isinstance(members, str) else anatomy.fixed(root, members)
        if reason:
            remaining[root] = reason
        if not isinstance(members, str):
            traced[root] = members
    if not traced and not remaining:
        raise cannot_follow(model, "it finds no layer behind the outputs")
    return traced, remaining


def importance(module: nn.Module, group: ChannelGroup, score: Score) -> torch.Tensor | None:
    """Return the importance of each unit, relative to the mean, or None if no layer of the group has a score.

    A channel's importance is the mean over the group's layers of the summed scores of its weights, as Torch-Pruning's
    group importance; a unit's is the mean of its channels'.

    Args:
        module: the network.
        group: channels that go together.
        score: from a parameter's name to the importance of each of its weights.

    Returns:
        float32 (units,) with mean 1.
    """
    total = torch.zeros(int(group.units.max()) + 1)
    count = torch.zeros_like(total)
    for member in group.members:
        values = _per_channel(module, member, score)
        if values is None:
            continue
        total.scatter_add_(0, torch.tensor(member.roots), values[member.channels].float())
        count[list(set(member.roots))] += 1
    if not bool(count.any()):
        return None
    units = (total / count.clamp_min(1))[group.units].mean(dim=1)
    return units / units.mean().clamp_min(torch.finfo(units.dtype).tiny)


class _Anatomy:
    """What each layer is in the network, and hence which groups may be cut and in what units."""

    def __init__(self, model: TorchModel, selection: Collection[str]) -> None:
        layers = layers_of(model, ())
        self._module, self._selection = model.module, selection
        self._heads = head_of(model)
        self._makers = {layer.name for layer in layers if layer.groups & {"conv", "linear", "embedding"}}
        self._attention = {_base(layer.name) for layer in layers if "attention" in layer.groups}

    def fixed(self, root: str, members: tuple[GroupMember, ...]) -> str | None:
        """Return why the group of these members keeps its channels, or None."""
        if root not in self._selection:
            return "it is not among the chosen layers"
        return next((reason for member in members if (reason := self._reason(member))), None)

    def _reason(self, member: GroupMember) -> str | None:
        if not member.layer:
            return "it shares its channels with a parameter outside any known layer"
        layer = self._module.get_submodule(member.layer)
        if not can_cut(layer):
            return f"it shares its channels with '{member.layer}', which cannot be narrowed ({type(layer).__name__})"
        if None in member.roots or max(member.channels) >= width(layer, member.side):
            return f"the tracer cannot tell which channels of '{member.layer}' go with it"
        return self._kept_output(member.layer) if member.side == "out" else None

    def _kept_output(self, name: str) -> str | None:
        if name in self._heads:
            return "it gives the network's outputs"
        if name in self._makers and name not in self._selection:
            return f"it shares its channels with '{name}', which is not among the chosen layers"
        return None

    def group(self, root: str, joint: dict[str, tuple[GroupMember, ...]]) -> ChannelGroup | str:
        """Return one group of those that go together, with its units, or why it has none."""
        members, size = _as_one(self._module, joint)
        makers = {_base(member.layer) for member in members if member.side == "out" and member.layer in self._makers}
        users = {_base(member.layer) for member in members if member.side == "in"}
        if makers <= self._attention and not makers & users:  # both: between the low-rank factors of one projection
            return self._head_group(root, members, size, makers)
        units = _units(self._module, members, size)
        if not isinstance(units, str) and len(units) == 1 == size:
            return "it has one channel, and a layer keeps one at least"
        return units if isinstance(units, str) else ChannelGroup(root, members, units)

    def repeated(self, name: str) -> ChannelGroup | str:
        """Return the heads of an attention whose keys and values serve several each: they go by key and value."""
        attention: Any = self._module.get_submodule(name)
        query, key, value, output = (f"{name}.{part}" for part in _REPEATED)
        missing = [part for part in (query, key, value) if part not in self._selection]
        if missing:
            return f"it shares its heads with '{missing[0]}', which is not among the chosen layers"
        size, repeats = attention.q_proj.weight.shape[0], int(attention.num_key_value_groups)
        heads, each = size // (attention.head_dim * repeats), int(attention.head_dim)
        if heads == 1:
            return "its heads share one key and value, which leaves nothing to choose"
        channels = torch.arange(size)
        owners = torch.arange(heads * each) // each * (each * repeats) + torch.arange(heads * each) % each
        members = [GroupMember(query, "out", channels.tolist(), channels.tolist())]
        members += [GroupMember(part, "out", list(range(heads * each)), owners.tolist()) for part in (key, value)]
        members.append(GroupMember(output, "in", channels.tolist(), channels.tolist()))
        return ChannelGroup(query, tuple(members), channels.view(heads, -1), name)

    def _head_group(
        self, root: str, members: tuple[GroupMember, ...], size: int, makers: set[str]
    ) -> ChannelGroup | str:
        parents = {name.rpartition(".")[0] for name in makers}
        parent = parents.pop()
        heads = _heads(self._module.get_submodule(parent), size)
        if parents or not heads or size % heads or {name.rpartition(".")[2] for name in makers} not in _PROJECTIONS:
            return "its attention is not made of one query, key and value with a known number of heads"
        if heads == 1:
            return "its one head leaves nothing to choose"
        if hasattr(self._module.get_submodule(parent), "has_relative_attention_bias"):
            return "its attention heads share position biases with other layers"
        return ChannelGroup(root, members, torch.arange(size).view(heads, size // heads), parent)


def _heads(attention: nn.Module, size: int) -> int:
    """Return the number of heads, or 0 if it is not known."""
    present = next((int(getattr(attention, name)) for name in HEADS if hasattr(attention, name)), 0)
    each = getattr(attention, "head_dim", None)
    return present or (size // each if isinstance(each, int) and each > 0 else 0)


def _repeats_keys(part: nn.Module) -> bool:
    """Whether an attention has fewer keys and values than heads (grouped-query attention)."""
    repeats = getattr(part, "num_key_value_groups", 1)
    present = all(is_linear(getattr(part, name, None)) for name in _REPEATED)
    return isinstance(repeats, int) and repeats > 1 and present and isinstance(getattr(part, "head_dim", None), int)


def _joined(module: nn.Module, groups: dict[str, tuple[GroupMember, ...]]) -> list[dict[str, tuple[GroupMember, ...]]]:
    """Put the groups together whose channels one layer takes in parts of equal size."""
    joint: list[dict[str, tuple[GroupMember, ...]]] = []
    for root, members in groups.items():
        sides = _parted(module, members)
        near = [other for other in joint if any(_parted(module, part) & sides for part in other.values())]
        merged: dict[str, tuple[GroupMember, ...]] = {}
        for other in near:
            joint.remove(other)
            merged |= other
        joint.append({**merged, root: members})
    return joint


def _parted(module: nn.Module, members: Sequence[GroupMember]) -> set[tuple[str, Side]]:
    """Return the sides of layers that take these channels in more than one part."""
    layers = {(member.layer, member.side) for member in members if member.layer}
    return {(name, side) for name, side in layers if _parts(module.get_submodule(name)) > 1}


def _joint_reason(module: nn.Module, members: Sequence[GroupMember], fixed: dict[str, str]) -> str:
    """Say why a group stays because another does with which it shares parts."""
    other, why = next(iter(fixed.items()))
    layer = min(name for name, _ in _parted(module, members))
    return f"'{layer}' takes its channels in groups together with those of '{other}', which stay: {why}"


def _as_one(module: nn.Module, joint: dict[str, tuple[GroupMember, ...]]) -> tuple[tuple[GroupMember, ...], int]:
    """Return the members of groups that go together, their channels numbered one after the other, and how many there are."""
    members: list[GroupMember] = []
    size = 0
    for root, own in joint.items():
        members += [replace(member, roots=[size + index for index in member.roots]) for member in own]
        size += width(module.get_submodule(root), "out")
    return tuple(members), size


def _units(module: nn.Module, members: Sequence[GroupMember], size: int) -> torch.Tensor | str:
    """Divide a group's channels into units with as many channels of every part of every layer, or say why it cannot be.

    Channels that lie in the same parts form a cell. Every unit takes the same share of every cell, and hence of every part.
    """
    cells: list[list[tuple[str, Side, int]]] = [[] for _ in range(size)]
    for name, side in sorted(_parted(module, members)):
        layer = module.get_submodule(name)
        own = [member for member in members if (member.layer, member.side) == (name, side)]
        each = width(layer, side) // _parts(layer)
        if {channel for member in own for channel in member.channels} != set(range(width(layer, side))):
            return f"'{name}' takes its channels in groups together with others that stay"
        for member in own:
            for channel, root in zip(member.channels, member.roots, strict=True):
                cells[root].append((name, side, channel // each))
    places: dict[tuple[tuple[str, Side, int], ...], list[int]] = {}
    for root, cell in enumerate(cells):
        places.setdefault(tuple(cell), []).append(root)
    count = math.gcd(*(len(cell) for cell in places.values()))
    if count == 1 < size:
        return f"its {size} channels in {len(places)} groups leave nothing to choose"
    units = torch.tensor([[root for cell in places.values() for root in cell[first::count]] for first in range(count)])
    uneven = _uneven(module, members, units)
    return f"the groups of '{uneven}' do not fit into those of the other layers" if uneven else units


def _uneven(module: nn.Module, members: Sequence[GroupMember], units: torch.Tensor) -> str | None:
    """Return a grouped convolution of whose groups a unit would not take the same inputs of each, or None."""
    for name, side in sorted(_parted(module, members)):
        layer = module.get_submodule(name)
        if side == "out" or not isinstance(layer, _ConvNd):
            continue
        each = width(layer, side) // _parts(layer)
        own = {
            root: channel
            for member in members
            if (member.layer, member.side) == (name, side)
            for channel, root in zip(member.channels, member.roots, strict=True)
        }
        for unit in units.tolist():
            inside = [{own[root] % each for root in unit if own[root] // each == part} for part in range(_parts(layer))]
            if any(places != inside[0] for places in inside):
                return name
    return None


def _base(name: str) -> str:
    """Name of a layer without the numbers of its low-rank factors."""
    while name.rpartition(".")[2].isdigit():
        name = name.rpartition(".")[0]
    return name


def _parts(layer: nn.Module) -> int:
    """Number of parts that must stay alike: groups of a convolution or of a normalisation."""
    if isinstance(layer, nn.GroupNorm):
        return layer.num_groups
    return 1 if is_depthwise(layer) else int(getattr(layer, "groups", 1))


def _per_channel(module: nn.Module, member: GroupMember, score: Score) -> torch.Tensor | None:
    layer: Any = module.get_submodule(member.layer)
    weight = score(f"{member.layer}.weight")
    if weight is None or isinstance(layer, nn.Embedding | nn.PReLU | nn.GroupNorm):
        return None
    if weight.dim() == 1:
        return weight
    axes = weight_axes(layer)
    assert axes is not None, "other layers with matrices cannot be cut"
    along = axes[member.side == "in"]
    inputs = weight.transpose(0, along).flatten(1).sum(1)
    return inputs.repeat(layer.groups) if member.side == "in" and _grouped(layer) else inputs


def _grouped(layer: nn.Module) -> bool:
    return int(getattr(layer, "groups", 1)) > 1 and not is_depthwise(layer)
