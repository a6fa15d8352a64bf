"""The layers that give a network's outputs, read off the graph of a run."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import nn

from ops.core.forward import example_inputs, forward
from ops.core.network.sharing import drop_graphs
from ops.core.operation import TorchModel


def output_layers(model: TorchModel, layers: Mapping[str, nn.Module]) -> set[str]:
    """Return the layers between which and the outputs no other of them stands; none if the network cannot be run.

    Args:
        model: stays as it is; it is run on two example instances.
        layers: the layers with weights, by name.
    """
    results: dict[Any, str] = {}
    owners = {
        id(parameter): name
        for name, layer in layers.items()
        for parameter in layer.parameters(recurse=False)
        if parameter.dim() > 1
    }
    was_training = [part for part in model.module.modules() if part.training]
    try:
        with _differentiable(model.module), _noted(layers, results):
            inputs = example_inputs(model.architecture, batch=2)
            outputs = forward(model.module.eval(), inputs, model.architecture.task)
            return _nearest([output.grad_fn for output in outputs.values()], results, owners)
    except Exception:  # noqa: BLE001 - boundary: a network of somebody's, on made-up inputs, may raise anything
        return set()
    finally:
        for part in was_training:
            part.training = True
        drop_graphs(model.module)


def _nearest(nodes: list[Any], results: Mapping[Any, str], owners: Mapping[int, str]) -> set[str]:
    """Walk from the outputs towards the inputs, and stop at the first layer on each way."""
    heads: set[str] = set()
    visited: set[Any] = set()
    waiting = [node for node in nodes if node is not None]
    while waiting:
        node = waiting.pop()
        if node in visited:
            continue
        visited.add(node)
        sources = [source for source, _ in node.next_functions if source is not None]
        direct = [owners[leaf] for source in sources if (leaf := _leaf(source)) in owners]
        if node in results:
            heads.add(results[node])
        elif direct:  # a weight that is used without calling its layer
            heads.update(direct)
        else:
            waiting += sources
    return heads


def _leaf(node: Any) -> int:
    """Return the id of the parameter that a node hands on, through views and casts of it; 0 if it is none."""
    while not hasattr(node, "variable"):
        sources = [source for source, _ in node.next_functions if source is not None]
        if len(sources) != 1 or len(node.next_functions) != 1:
            return 0
        node = sources[0]
    return id(node.variable)


@contextlib.contextmanager
def _noted(layers: Mapping[str, nn.Module], results: dict[Any, str]) -> Iterator[None]:
    """Take down which node of the graph is which layer's result."""

    def hook(name: str) -> Any:
        def run(_: Any, __: Any, output: Any) -> None:
            parts = output if isinstance(output, tuple | list) else [output]
            for part in parts:
                if isinstance(part, torch.Tensor) and part.grad_fn is not None:
                    results[part.grad_fn] = name

        return run

    with contextlib.ExitStack() as stack:
        for name, layer in layers.items():
            stack.callback(layer.register_forward_hook(hook(name)).remove)
        yield


@contextlib.contextmanager
def _differentiable(module: nn.Module) -> Iterator[None]:
    """Let every parameter of a floating type take part in the graph meanwhile."""
    frozen = [p for p in module.parameters() if p.is_floating_point() and not p.requires_grad]
    try:
        for parameter in frozen:
            parameter.requires_grad_(True)
        with torch.enable_grad():
            yield
    finally:
        for parameter in frozen:
            parameter.requires_grad_(False)
