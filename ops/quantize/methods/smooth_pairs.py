"""Finds where a scale per channel can move from a tensor's producer into the linear layers that consume it."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from ops.core.forward import forward, tensors
from ops.core.network.channel_axes import is_turned_linear
from ops.core.operation import Batch, TorchModel
from ops.core.selector import layers_of

_VALUE = ("value", "v_proj", "v_lin", "v")
_OUTPUT = ("o_proj", "out_proj", "out_lin", "o", "dense", "output.dense")


@dataclass(frozen=True, slots=True)
class SmoothPair:
    """Dividing the producer's outputs and multiplying the consumers' inputs by the same scales changes nothing."""

    producer: str
    consumers: tuple[str, ...]


def smooth_pairs(model: TorchModel, batch: Batch) -> list[SmoothPair]:
    """Return normalisations whose output goes into linear layers alone, and values that go through attention into one.

    The first kind is read off a forward pass and its gradient graph: a normalisation whose output is also added to something
    (BERT's residual sums) cannot be scaled and is left out. The second goes by the names that attention modules have.
    """
    return [*_norm_pairs(model, batch), *_value_pairs(model.module)]


def _norm_pairs(model: TorchModel, batch: Batch) -> Iterator[SmoothPair]:
    modules = dict(model.module.named_modules())
    norms = {layer.name: modules[layer.name] for layer in layers_of(model.module) if "norm" in layer.groups}
    norms = {name: norm for name, norm in norms.items() if not isinstance(norm, nn.modules.batchnorm._BatchNorm)}
    linears = {name: part for name, part in modules.items() if type(part) is nn.Linear or is_turned_linear(part)}
    outputs_of: dict[str, list[torch.Tensor]] = {name: [] for name in norms}
    inputs_of: dict[str, list[torch.Tensor]] = {name: [] for name in linears}
    with _recorded(norms, outputs_of, output=True), _recorded(linears, inputs_of, output=False), torch.enable_grad():
        outputs = forward(model.module.eval(), tensors(batch.inputs), model.architecture.task)
    uses = _consumer_counts(outputs)
    for name, values in outputs_of.items():
        if len(values) != 1:  # never called, or shared between places
            continue
        consumers = tuple(linear for linear, reads in inputs_of.items() if len(reads) == 1 and reads[0] is values[0])
        if consumers and uses.get(values[0].grad_fn) == len(consumers):
            yield SmoothPair(name, consumers)


@contextlib.contextmanager
def _recorded(layers: Mapping[str, nn.Module], into: dict[str, list[torch.Tensor]], *, output: bool) -> Iterator[None]:
    def hook(name: str) -> Any:
        def run(_: Any, arguments: tuple[Any, ...], product: torch.Tensor) -> None:
            into[name].append(product if output else arguments[0])

        return run

    with contextlib.ExitStack() as stack:
        for name, layer in layers.items():
            stack.callback(layer.register_forward_hook(hook(name)).remove)
        yield


def _consumer_counts(outputs: Mapping[str, torch.Tensor]) -> dict[Any, int]:
    """Count the edges into each node of the gradient graph: how many operations use its result."""
    counts: dict[Any, int] = {}
    waiting = [tensor.grad_fn for tensor in outputs.values()]
    visited = set(waiting)
    while waiting:
        for source, _ in waiting.pop().next_functions:  # type: ignore[union-attr]  # outputs depend on parameters
            if source is None:
                continue
            counts[source] = counts.get(source, 0) + 1
            if source not in visited:
                visited.add(source)
                waiting.append(source)
    return counts


def _value_pairs(module: nn.Module) -> Iterator[SmoothPair]:
    """Attention mixes positions within a channel, so a channel's scale passes from the values to the output layer."""
    for name, part in module.named_modules():
        value = _child(part, _VALUE)
        if "Attention" not in type(part).__name__ or value is None:
            continue
        prefix = f"{name}." if name else ""
        pairs = [(prefix + value, f"{prefix}{out}") for out in [_child(part, _OUTPUT)] if out]
        # BERT keeps the output layer beside the attention, in the module around both
        outer = name.rpartition(".")[0]
        around = module.get_submodule(outer)
        if not pairs and "Attention" in type(around).__name__ and (out := _child(around, _OUTPUT)):
            pairs = [(prefix + value, f"{outer}.{out}" if outer else out)]
        for producer, consumer in pairs:
            if module.get_submodule(producer).out_features == module.get_submodule(consumer).in_features:
                yield SmoothPair(producer, (consumer,))


def _child(part: nn.Module, names: tuple[str, ...]) -> str | None:
    """Return the first of `names` that is a plain linear layer inside `part`."""
    for name in names:
        with contextlib.suppress(AttributeError):
            if type(part.get_submodule(name)) is nn.Linear:
                return name
    return None
