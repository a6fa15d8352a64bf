"""Biases moved so that every channel has the mean that it has in a reference model."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn

from ops.calibration.batches import calibration_batches
from ops.calibration.layer_inputs import call_order
from ops.calibration.probe import Probe
from ops.core.errors import OperationError
from ops.core.network.channel_axes import added_axis, channel_rows
from ops.core.operation import Context, TorchModel
from ops.core.selector import choose_layers
from ops.core.text import reasons_in_line

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
    selection = choose_layers(result, include, exclude, default=("conv", "linear", "norm"))
    others = dict(reference.module.named_modules())
    remaining = {name: reason for name, layer in selection.items() if (reason := _unsuitable(layer, others.get(name)))}
    layers = {name: layer for name, layer in selection.items() if name not in remaining}
    axes = _axes(result, layers, ctx)
    remaining |= {name: why for name in layers if isinstance(why := axes.get(name, "the network never calls it"), str)}
    layers = {name: layer for name, layer in layers.items() if name not in remaining}
    if not layers:
        raise OperationError(f"calibrate: bias_correction finds no layer to correct: {reasons_in_line(remaining)}")
    places = {name: axis for name, axis in axes.items() if not isinstance(axis, str)}
    expected = _means(reference, {name: others[name] for name in layers}, places, ctx, samples)
    moved: dict[str, float] = {}
    order = [name for name in call_order(result, layers, ctx) if name in expected]
    for done, name in enumerate(order, 1):
        mean = _means(result, {name: layers[name]}, places, ctx, samples)[name]
        bias = layers[name].get_parameter("bias")
        shift = (expected[name] - mean).to(bias.dtype).view(bias.shape)
        if (mask := result.masks.get(f"{name}.bias")) is not None:
            shift = shift * mask
        bias.data += shift
        moved[name] = float(shift.abs().mean())
        ctx.progress(done, len(order), name)
    ctx.note("mean_shift", moved)
    if remaining:
        ctx.note("unchanged", remaining)
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


def _axes(model: TorchModel, layers: dict[str, nn.Module], ctx: Context) -> dict[str, int | str]:
    """Return the axis of every layer's output along which its bias is added (0: it has an entry per output), or why none."""
    axes: dict[str, int | str] = {}

    def ask(name: str, values: torch.Tensor, output: object) -> None:
        layer = layers[name]
        bias = layer.get_parameter("bias")
        if not isinstance(output, torch.Tensor):
            axes[name] = "it gives more than one tensor"
        elif isinstance(layer, nn.LayerNorm) and bias.ndim > 1 and type(layer).forward is nn.LayerNorm.forward:
            axes[name] = 0
        elif (axis := added_axis(layer, (values,), {}, output)) is None or output.shape[axis] != bias.numel():
            axes[name] = "its bias is not added along one axis of its output"
        else:
            axes[name] = axis

    for batch in calibration_batches(ctx, samples=2, batch_size=2):
        Probe(model, layers).reduce(batch, ask)
    return axes


def _means(
    model: TorchModel, layers: dict[str, nn.Module], axes: dict[str, int], ctx: Context, samples: int
) -> dict[str, torch.Tensor]:
    """Return the mean output of each layer per channel, over instances and positions, in double precision."""
    probe = Probe(model, layers)
    sums: dict[str, torch.Tensor] = {}
    counts: dict[str, int] = {}

    def keep(name: str, _: torch.Tensor, output: torch.Tensor) -> tuple[torch.Tensor, int]:
        rows = (
            channel_rows(output, axes[name])
            if axes[name]
            else output.reshape(-1, layers[name].get_parameter("bias").numel())
        )
        return rows.sum(0, dtype=torch.float64), len(rows)

    for batch in calibration_batches(ctx, samples=samples, batch_size=_BATCH):
        for name, calls in probe.reduce(batch, keep).items():
            for total, count in calls:
                sums[name] = sums.get(name, torch.zeros(len(total))) + total
                counts[name] = counts.get(name, 0) + count
    return {name: total / counts[name] for name, total in sums.items()}
