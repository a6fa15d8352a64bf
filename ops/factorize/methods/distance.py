"""A factorized network beside its parent: every layer computes with the product of its factors, and how near that is."""

from __future__ import annotations

from collections.abc import Collection

import torch
from torch import nn
from torch.nn import functional

from ops.calibration.fidelity import INSTANCES, Distances, note_fidelity, sampled
from ops.calibration.probe import Probe
from ops.calibration.sample_inputs import sample_batch
from ops.core.errors import OperationError
from ops.core.forward import forward, tensors
from ops.core.operation import Batch, Context, TorchModel
from ops.factorize.methods.low_rank import Factors, product

_PLAUSIBLE = 0.0
"""Decibels: below, the outputs have less in common with the parent's than zeros would."""
_TOLERANCE = 1e-3
"""Of the largest value: the factors' sums are rounded otherwise than their product's."""


def note_distance(before: TorchModel, after: TorchModel, replaced: Collection[str], ctx: Context) -> None:
    """Record how near outputs and layers are to the parent's on calibration instances.

    Raises:
        OperationError: a layer does not give what the product of its factors does.
    """
    inputs = sample_batch(before.architecture, ctx, count=INSTANCES)
    count = len(next(iter(inputs.values())))
    batch = Batch(tuple(map(str, range(count))), inputs, {})
    expected = Probe(before, {name: before.module.get_submodule(name) for name in replaced}).reduce(batch, _output)
    parts = {name: after.module.get_submodule(name) for name in replaced}
    errors: dict[str, float] = {}

    def keep(name: str, values: torch.Tensor, output: torch.Tensor) -> object:
        errors[name] = max(
            errors.get(name, 0.0), _error(before.module.get_submodule(name), parts[name], values, output)
        )
        return sampled(output)

    supplied = Probe(after, parts).reduce(batch, keep)
    odd = next((name for name, error in errors.items() if not error <= _TOLERANCE), None)
    if odd is not None:
        raise OperationError(
            f"factorize: the factors of '{odd}' do not give what their product does ({errors[odd]:.2g} of the largest value): "
            f'the network uses the layer in another way. Try `exclude: ["{odd}"]`'
        )
    layers, outputs = Distances(), Distances()
    for name, calls in supplied.items():
        for mine, theirs in zip(calls, expected.get(name, []), strict=False):
            layers.add(name, mine, theirs)  # type: ignore[arg-type]  # what `keep` returned
    task, data = before.architecture.task, tensors(inputs)
    with torch.no_grad():
        whole, small = (forward(model.module, data, task) for model in (before, after))
    for name, reference in whole.items():
        outputs.add(name, small[name].numpy(), reference.numpy())
    note_fidelity(ctx, outputs, layers.decibels(), plausible=_PLAUSIBLE, instances=count)


def _output(_: str, __: torch.Tensor, output: torch.Tensor) -> object:
    return sampled(output)


def _error(layer: nn.Module, parts: nn.Module, values: torch.Tensor, output: torch.Tensor) -> float:
    """Return the largest difference of the factors' output from their product's, relative to its largest value."""
    assert isinstance(parts, Factors), "only factors are compared"
    weight = product(parts)
    compute = layer._conv_forward if isinstance(layer, nn.Conv2d) else functional.linear
    expected = compute(values, weight, parts.bias)
    largest = float(expected.abs().max())
    return float((output - expected).abs().max()) / max(largest, 1e-30)
