"""Biases moved so that every channel has the mean that it has in a reference model."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn

from ops.calibration.batches import calibration_batches
from ops.calibration.layer_inputs import call_order
from ops.calibration.probe import Probe
from ops.core.errors import OperationError
from ops.core.operation import Context, TorchModel
from ops.core.selector import choose_layers

_BATCH = 32


def correct_biases(
    model: TorchModel,
    reference: TorchModel,
    ctx: Context,
    *,
    samples: int,
    include: Sequence[str],
    exclude: Sequence[str],
) -> TorchModel:
    """Return a copy in which the mean output of every chosen layer that has a bias is the reference's.

    Layers are corrected in the order in which they run, each after those before it, as in the empirical bias correction of
    Nagel et al. 2019 (arXiv:1906.04721). Normalisation counts: its bias does for a convolution that has none.

    Raises:
        OperationError: no chosen layer has a bias, or none has as many outputs as the reference's.
    """
    result = model.copy()
    chosen = choose_layers(result.module, include, exclude, default=("conv", "linear", "norm"))
    others = dict(reference.module.named_modules())
    left = {name: reason for name, layer in chosen.items() if (reason := _unsuitable(layer, others.get(name)))}
    layers = {name: layer for name, layer in chosen.items() if name not in left}
    if not layers:
        raise OperationError(f"calibrate: bias_correction finds no layer to correct: {left}")
    wanted = _means(reference, {name: others[name] for name in layers}, ctx, samples)
    moved: dict[str, float] = {}
    order = [name for name in call_order(result, layers, ctx) if name in wanted]
    for done, name in enumerate(order, 1):
        mean = _means(result, {name: layers[name]}, ctx, samples)[name]
        bias = layers[name].get_parameter("bias")
        shift = (wanted[name] - mean).to(bias.dtype)
        if (mask := result.masks.get(f"{name}.bias")) is not None:
            shift = shift * mask
        bias.data += shift
        moved[name] = float(shift.abs().mean())
        ctx.progress(done, len(order), name)
    ctx.note("mean_shift", moved)
    if left:
        ctx.note("unchanged", left)
    return result


def _unsuitable(layer: nn.Module, other: nn.Module | None) -> str | None:
    bias = getattr(layer, "bias", None)
    if not isinstance(bias, nn.Parameter):
        return "it has no bias"
    theirs = getattr(other, "bias", None)
    if not isinstance(theirs, nn.Parameter):
        return "the reference has no such layer"
    if theirs.shape != bias.shape:
        return f"the reference has {theirs.numel()} outputs here, this model {bias.numel()}"
    return None


def _means(model: TorchModel, layers: dict[str, nn.Module], ctx: Context, samples: int) -> dict[str, torch.Tensor]:
    """Return the mean output of each layer per channel, over instances and positions, in double precision."""
    probe = Probe(model, layers)
    sums: dict[str, torch.Tensor] = {}
    counts: dict[str, int] = {}

    def keep(name: str, _: torch.Tensor, output: torch.Tensor) -> tuple[torch.Tensor, int]:
        rows = _by_channel(layers[name], output)
        return rows.sum(0, dtype=torch.float64), len(rows)

    for batch in calibration_batches(ctx, samples=samples, batch_size=_BATCH):
        for name, calls in probe.reduce(batch, keep).items():
            for total, count in calls:
                sums[name] = sums.get(name, torch.zeros(len(total))) + total
                counts[name] = counts.get(name, 0) + count
    return {name: total / counts[name] for name, total in sums.items()}


def _by_channel(layer: nn.Module, output: torch.Tensor) -> torch.Tensor:
    """(positions, channels): channels are the last axis of linear layers and layer normalisation, else the second."""
    last = isinstance(layer, nn.Linear) or "LayerNorm" in type(layer).__name__
    return (output if last else output.movedim(1, -1)).reshape(-1, layer.get_parameter("bias").numel())
