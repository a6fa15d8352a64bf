"""Torch-Pruning's dependency graph of a network, read group by group (Fang et al., "DepGraph", CVPR 2023).

It is read, not used to cut, so that the network under study stays as it is.
"""

from __future__ import annotations

import contextlib
import copy
import warnings
from collections import Counter
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import Any

import torch
import torch_pruning
from torch import nn
from torch_pruning.dependency import graph as _library

from ops.core.channels import Side
from ops.core.errors import OperationError
from ops.core.forward import example_inputs, forward
from ops.core.network.channel_axes import is_turned_linear, linear_widths
from ops.core.network.sharing import drop_graphs
from ops.core.operation import TorchModel

_FAILURES = (RuntimeError, ValueError, TypeError, LookupError, AttributeError, ArithmeticError, AssertionError)
"""How the library fails on operations that it misreads."""
_MOST_VISITS = 64
"""How often one side of one layer may come up in a group. With repeated keys and values (grouped-query attention) the
tracer turns in a circle for ever, while a network whose parts go through concatenations and splits needs a few."""
_RECURRENT = (nn.RNNBase, nn.RNNCellBase)
_OUTLINE = "_outline"


@dataclass(frozen=True, slots=True)
class GroupMember:
    """One side of one layer, and which of its channels go with which of the group's."""

    layer: str
    side: Side
    channels: list[int]
    roots: list[int]
    """For each of `channels` the group's channel it goes with."""


def traced_groups(model: TorchModel, skip: Collection[str]) -> Iterator[tuple[str, tuple[GroupMember, ...] | str]]:
    """Yield by the name of its first layer every group of channels that can only go together, or why it cannot be traced.

    Args:
        model: stays as it is.
        skip: layers whose outputs begin no group.

    Raises:
        OperationError: the graph cannot be built; names the architecture.
    """
    graph = _graph(model)
    recurrent = {
        name: type(part).__name__ for name, part in model.module.named_modules() if isinstance(part, _RECURRENT)
    }
    visited: set[str] = set()
    for layer in list(graph.module2node):
        if not isinstance(layer, nn.modules.conv._ConvNd | nn.Linear):
            continue
        root = _layer_name(graph, layer)
        if root in visited or root in skip:
            continue
        if root in recurrent:
            yield root, f"it is a recurrent layer ({recurrent[root]}), which keeps its width"
            continue
        pruner = graph.get_pruner_of_module(layer)
        channels = pruner and pruner.get_out_channels(layer)
        if not channels:
            continue
        try:
            with _bounded():
                raw = graph.get_pruning_group(layer, pruner.prune_out_channels, list(range(channels)))
        except _EndlessError:
            visited.add(root)
            yield root, "the tracer finds no end to what its channels go with"
            continue
        except _FAILURES as error:
            visited.add(root)
            yield root, f"the tracer cannot follow what its channels go with ({type(error).__name__}: {error})"
            continue
        members = tuple(_members(graph, raw))
        visited |= {member.layer for member in members if member.side == "out"}
        yield root, members


def cannot_follow(model: TorchModel, why: str) -> OperationError:
    """Return the error for an architecture that the tracer cannot follow."""
    return OperationError(
        f"'{model.architecture.name}': Torch-Pruning cannot follow how this architecture uses its channels ({why}). "
        "Unstructured pruning (op: magnitude_prune) and factorization (op: factorize) do not need to"
    )


class _EndlessError(Exception):
    """A group does not close."""


class _BoundedGroup(torch_pruning.dependency.group.Group):
    def __init__(self) -> None:
        super().__init__()
        self._visits: Counter[tuple[int, int]] = Counter()

    def add_dep(self, dep: Any, idxs: Any) -> None:
        place = id(dep.target), id(getattr(dep.handler, "__func__", dep.handler))
        self._visits[place] += 1
        if self._visits[place] > _MOST_VISITS:
            raise _EndlessError
        super().add_dep(dep, idxs)


@contextlib.contextmanager
def _bounded() -> Iterator[None]:
    """Let the library build groups that are given up when they do not close."""
    usual = _library.Group
    _library.Group = _BoundedGroup
    try:
        yield
    finally:
        _library.Group = usual


def _graph(model: TorchModel) -> Any:
    architecture = model.architecture
    network = _with_usual_layers(model.module)
    required = {name: p.requires_grad for name, p in network.named_parameters()}
    try:
        with torch.enable_grad(), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of parameters outside layers: such groups are left alone, with the reason
            network.requires_grad_(True)
            return torch_pruning.DependencyGraph().build_dependency(
                network,
                example_inputs=example_inputs(architecture, batch=1),
                forward_fn=lambda module, inputs: list(forward(module, inputs, architecture.task).values()),
                verbose=False,
            )
    except _FAILURES as error:
        raise cannot_follow(model, f"{type(error).__name__}: {error}") from None
    finally:
        for name, p in network.named_parameters():
            p.requires_grad_(required[name])
        drop_graphs(network)


def _with_usual_layers(module: nn.Module) -> nn.Module:
    """Return the network, or a copy in which layers of a kind that the tracer does not know are those it does."""
    replaced = [name for name, part in module.named_modules() if is_turned_linear(part) or isinstance(part, _RECURRENT)]
    if not replaced or "" in replaced:
        return module
    result = copy.deepcopy(module)
    for name in replaced:
        layer: Any = result.get_submodule(name)
        parent, _, child = name.rpartition(".")
        setattr(result.get_submodule(parent), child, _usual(layer))
    return result.eval()


def _usual(layer: Any) -> nn.Module:
    if isinstance(layer, _RECURRENT):
        return _RecurrentOutline(layer)
    outputs, inputs = linear_widths(layer)
    usual = nn.Linear(inputs, outputs, bias=layer.bias is not None)
    usual.weight = nn.Parameter(layer.weight.detach().T.contiguous())
    usual.bias = layer.bias
    return usual


class _RecurrentOutline(nn.Module):
    """Stands for a recurrent layer in the tracer's eyes: one linear layer between the channels that go in and come out.

    The library takes a recurrent layer for a sum over its inputs, or breaks off. Its gates are not cut, so that nothing needs
    to be known of them.
    """

    def __init__(self, layer: Any) -> None:
        super().__init__()
        self.directions = 2 if getattr(layer, "bidirectional", False) else 1
        self.layers, self.batch_first = getattr(layer, "num_layers", 1), getattr(layer, "batch_first", False)
        self.has_memory = isinstance(layer, nn.LSTM | nn.LSTMCell)
        self.is_cell = isinstance(layer, nn.RNNCellBase)
        self.hidden = layer.hidden_size
        width = getattr(layer, "proj_size", 0) or self.hidden
        self.add_module(_OUTLINE, nn.Linear(layer.input_size, self.directions * width))

    def forward(self, inputs: Any, state: Any = None) -> Any:
        """As the layer's own: outputs and last states, of the right shapes."""
        packed = isinstance(inputs, nn.utils.rnn.PackedSequence)
        values = self.get_submodule(_OUTLINE)(inputs.data if packed else inputs)
        first = state[0] if isinstance(state, tuple) else state
        if first is not None and self.is_cell:
            values = values + first  # what begins the state has its channels
        if self.is_cell:
            return (values, values) if self.has_memory else values
        time = 0 if not self.batch_first or values.dim() == 2 else 1  # noqa: PLR2004 - time and channels, of one instance
        if first is not None and not packed:
            values = values + torch.cat(first.unbind(0)[-self.directions :], -1).unsqueeze(time)
        last = values[: int(inputs.batch_sizes[0])] if packed else values.select(time, -1)
        ends = torch.stack(self.layers * last.chunk(self.directions, -1))
        memory = (ends, ends.new_zeros(*ends.shape[:-1], self.hidden)) if self.has_memory else ends
        return (inputs._replace(data=values) if packed else values), memory


def _layer_name(graph: Any, layer: nn.Module) -> str:
    """Name of a layer in the network, also of one that something stands for."""
    name = str(graph._module2name[layer])
    return name.removesuffix(f".{_OUTLINE}")


def _members(graph: Any, raw: Any) -> Iterator[GroupMember]:
    for item in raw:
        target = item.dep.target.module
        if not isinstance(target, nn.Parameter) and target not in graph._module2name:
            continue  # an operation without weights
        side: Side = "out" if graph.is_out_channel_pruning_fn(item.dep.handler) else "in"
        name = "" if isinstance(target, nn.Parameter) else _layer_name(graph, target)
        if isinstance(target, nn.PReLU) and target.num_parameters == 1:
            continue  # one slope for all channels
        yield GroupMember(name, side, list(item.idxs), list(item.root_idxs))
