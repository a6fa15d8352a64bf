"""Which channels of which layers can only go together, and how important they are.

The dependency graph is Torch-Pruning's (Fang et al., "DepGraph: Towards Any Structural Pruning", CVPR 2023); it is read, not
used to cut, so that the network under study stays as it is.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
import torch_pruning
from torch import nn

from ops.core.channels import HEADS, Side, can_cut, is_depthwise, width
from ops.core.errors import OperationError
from ops.core.forward import example_inputs, forward
from ops.core.operation import TorchModel
from ops.core.selector import head_of, layers_of
from ops.prune.weights.saliency import drop_graphs

if TYPE_CHECKING:
    from torch.nn.modules.conv import _ConvNd

Score = Callable[[str], "torch.Tensor | None"]
"""From a parameter's name to the importance of each of its weights (its shape), or None if it has no say."""
_PROJECTIONS = ({"query", "key", "value"}, {"q_proj", "k_proj", "v_proj"}, {"q_lin", "k_lin", "v_lin"}, {"q", "k", "v"})


@dataclass(frozen=True, slots=True)
class Member:
    """One side of one layer, and which of its channels go with which of the group's."""

    layer: str
    side: Side
    channels: list[int]
    roots: list[int]
    """For each of `channels` the group's channel it goes with."""


@dataclass(frozen=True, slots=True)
class ChannelGroup:
    """Channels that exist in several layers and go together."""

    root: str
    members: tuple[Member, ...]
    units: torch.Tensor
    """(units, width): the group's channels that go as one. Attention heads and grouped convolutions have units wider than 1."""
    attention: str | None = None
    """The module whose heads these are."""

    @property
    def shape(self) -> tuple[tuple[str, Side], ...]:
        """What kinds of layers it joins: equal for groups that are alike (Fang et al., "Isomorphic Pruning", ECCV 2024)."""
        return tuple((member.layer.rpartition(".")[2], member.side) for member in self.members)


def channel_groups(model: TorchModel, chosen: Collection[str]) -> tuple[list[ChannelGroup], dict[str, str]]:
    """Return the groups that may be cut, and why the others may not, by the name of their first layer.

    A group may be cut if all linear layers, convolutions and embeddings that make its channels are in `chosen`, none of
    them gives the network's outputs, and every layer in it is of a known type.

    Raises:
        OperationError: the graph cannot be built; names the architecture.
    """
    graph = _graph(model)
    anatomy = _Anatomy(model.module, chosen)
    groups, left = [], {}
    for raw in graph.get_all_groups(root_module_types=[nn.modules.conv._ConvNd, nn.Linear]):
        root = graph._module2name[raw[0].dep.target.module]
        members = tuple(_members(graph, raw))
        reason = anatomy.fixed(root, members)
        made = reason or anatomy.group(root, members)
        if isinstance(made, str):
            left[root] = made
        else:
            groups.append(made)
    if not groups and not left:
        raise _cannot_follow(model, "it finds no layer behind the outputs")
    return groups, left


def importance(module: nn.Module, group: ChannelGroup, score: Score) -> torch.Tensor | None:
    """Return the importance of each unit, relative to the mean, or None if no layer of the group has a score.

    A channel's importance is the mean over the group's layers of the summed scores of its weights, as Torch-Pruning's
    group importance; a unit's is the mean of its channels'.
    """
    total, count = torch.zeros(int(group.units.max()) + 1), 0
    for member in group.members:
        values = _per_channel(module, member, score)
        if values is None:
            continue
        total.scatter_add_(0, torch.tensor(member.roots), values[member.channels].float())
        count += 1
    if not count:
        return None
    units = (total / count)[group.units].mean(dim=1)
    return units / units.mean().clamp_min(torch.finfo(units.dtype).tiny)


class _Anatomy:
    """What each layer is in the network, and hence which groups may be cut and in what units."""

    def __init__(self, module: nn.Module, chosen: Collection[str]) -> None:
        layers = layers_of(module)
        self._module, self._chosen = module, chosen
        self._heads = head_of(module)
        self._makers = {layer.name for layer in layers if layer.groups & {"conv", "linear", "embedding"}}
        self._attention = {_base(layer.name) for layer in layers if "attention" in layer.groups}

    def fixed(self, root: str, members: tuple[Member, ...]) -> str | None:
        """Return why the group of these members keeps its channels, or None."""
        if root not in self._chosen:
            return "it is not among the chosen layers"
        return next((reason for member in members if (reason := self._reason(member))), None)

    def _reason(self, member: Member) -> str | None:
        if not member.layer:
            return "it shares its channels with a parameter outside any known layer"
        layer = self._module.get_submodule(member.layer)
        if not can_cut(layer):
            return f"it shares its channels with '{member.layer}', and a {type(layer).__name__} cannot be narrowed"
        if None in member.roots or max(member.channels) >= width(layer, member.side):
            return f"the tracer cannot tell which channels of '{member.layer}' go with it"
        return self._kept_output(member.layer) if member.side == "out" else None

    def _kept_output(self, name: str) -> str | None:
        if name in self._heads:
            return "it gives the network's outputs"
        if name in self._makers and name not in self._chosen:
            return f"it shares its channels with '{name}', which is not among the chosen layers"
        return None

    def group(self, root: str, members: tuple[Member, ...]) -> ChannelGroup | str:
        """Return the group with its units, or why it has none."""
        size = width(self._module.get_submodule(root), "out")
        makers = {_base(member.layer) for member in members if member.side == "out" and member.layer in self._makers}
        users = {_base(member.layer) for member in members if member.side == "in"}
        if makers <= self._attention and not makers & users:  # both: between the low-rank factors of one projection
            return self._head_group(root, members, size, makers)
        parts = max(_parts(self._module.get_submodule(member.layer)) for member in members)
        if size == parts:
            return f"its {size} channels in {parts} groups leave nothing to choose"
        # a grouped convolution keeps the same channels in each of its groups
        return ChannelGroup(root, members, torch.arange(size).view(parts, size // parts).T)

    def _head_group(self, root: str, members: tuple[Member, ...], size: int, makers: set[str]) -> ChannelGroup | str:
        parents = {name.rpartition(".")[0] for name in makers}
        parent = parents.pop()
        attention = self._module.get_submodule(parent)
        heads = next((int(getattr(attention, name)) for name in HEADS if hasattr(attention, name)), 0)
        if parents or not heads or size % heads or {name.rpartition(".")[2] for name in makers} not in _PROJECTIONS:
            return "its attention is not made of one query, key and value with a known number of heads"
        if hasattr(attention, "has_relative_attention_bias"):
            return "its attention heads share position biases with other layers"
        return ChannelGroup(root, members, torch.arange(size).view(heads, size // heads), parent)


def _base(name: str) -> str:
    """Name of a layer without the numbers of its low-rank factors."""
    while name.rpartition(".")[2].isdigit():
        name = name.rpartition(".")[0]
    return name


def _graph(model: TorchModel) -> Any:
    architecture = model.architecture
    required = {name: p.requires_grad for name, p in model.module.named_parameters()}
    try:
        with torch.enable_grad(), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of parameters outside layers: such groups are left alone, with the reason
            model.module.requires_grad_(True)
            return torch_pruning.DependencyGraph().build_dependency(
                model.module,
                example_inputs=example_inputs(architecture, batch=1),
                forward_fn=lambda module, inputs: list(forward(module, inputs, architecture.task).values()),
                verbose=False,
            )
    except (RuntimeError, ValueError, TypeError, LookupError, AttributeError, ArithmeticError, AssertionError) as error:
        raise _cannot_follow(model, f"{type(error).__name__}: {error}") from None
    finally:
        for name, p in model.module.named_parameters():
            p.requires_grad_(required[name])
        drop_graphs(model.module)


def _cannot_follow(model: TorchModel, why: str) -> OperationError:
    return OperationError(
        f"'{model.architecture.name}': Torch-Pruning cannot follow how this architecture uses its channels ({why}). "
        "Unstructured pruning and factorization do not need to"
    )


def _members(graph: Any, raw: Any) -> Iterator[Member]:
    for item in raw:
        target = item.dep.target.module
        if not isinstance(target, nn.Parameter) and target not in graph._module2name:
            continue  # an operation without weights
        side: Side = "out" if graph.is_out_channel_pruning_fn(item.dep.handler) else "in"
        name = "" if isinstance(target, nn.Parameter) else graph._module2name[target]
        if isinstance(target, nn.PReLU) and target.num_parameters == 1:
            continue  # one slope for all channels
        yield Member(name, side, list(item.idxs), list(item.root_idxs))


def _parts(layer: nn.Module) -> int:
    """Number of parts that must stay alike: groups of a convolution or of a normalisation."""
    if isinstance(layer, nn.GroupNorm):
        return layer.num_groups
    return 1 if is_depthwise(layer) else int(getattr(layer, "groups", 1))


def _per_channel(module: nn.Module, member: Member, score: Score) -> torch.Tensor | None:
    layer: Any = module.get_submodule(member.layer)
    weight = score(f"{member.layer}.weight")
    if weight is None or isinstance(layer, nn.Embedding | nn.PReLU | nn.GroupNorm):
        return None
    if weight.dim() == 1:
        return weight
    if member.side == "out":
        return weight.flatten(1).sum(1)
    inputs = weight.transpose(0, 1).flatten(1).sum(1)
    return inputs.repeat(layer.groups) if _grouped(layer) else inputs


def _grouped(layer: _ConvNd | nn.Linear) -> bool:
    return getattr(layer, "groups", 1) > 1 and not is_depthwise(layer)
