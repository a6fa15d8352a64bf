"""Batch-normalisation statistics estimated anew."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch.nn.modules.batchnorm import _BatchNorm

from ops.calibration.batches import calibration_batches
from ops.core.errors import OperationError
from ops.core.forward import forward, tensors
from ops.core.operation import Context, TorchModel
from ops.core.selector import choose_layers

_BATCH = 64


def estimate_statistics(
    model: TorchModel, ctx: Context, *, samples: int, include: Sequence[str], exclude: Sequence[str]
) -> TorchModel:
    """Return a copy whose batch normalisations have the mean and variance of the calibration samples.

    The statistics are the average over batches (momentum None); layers see their inputs normalised by the batch, as in
    training. A last batch that is smaller is left out.

    Raises:
        OperationError: the network has no batch normalisation, or there are fewer than two samples.
    """
    result = model.copy()
    norms = _norms(result, include, exclude)
    momenta = {name: norm.momentum for name, norm in norms.items()}
    for norm in norms.values():
        norm.reset_running_stats()
        norm.momentum = None
        norm.train()
    used = 0
    for batch in calibration_batches(ctx, samples=samples, batch_size=_BATCH):
        if used and len(batch) < _BATCH:
            break
        if len(batch) < 2:  # noqa: PLR2004 - a single instance has no variance
            raise OperationError("calibrate: batch_norm needs at least 2 calibration instances to take a variance of")
        with torch.no_grad():
            forward(result.module, tensors(batch.inputs), result.architecture.task)
        used += len(batch)
        ctx.progress(used, samples, "batch-norm statistics")
    for name, norm in norms.items():
        norm.momentum = momenta[name]
        norm.eval()
    ctx.note("samples", used)
    ctx.note("layers", list(norms))
    return result


def _norms(model: TorchModel, include: Sequence[str], exclude: Sequence[str]) -> dict[str, _BatchNorm]:
    every = [name for name, part in model.module.named_modules() if _estimated(part)]
    if not every:
        raise OperationError(
            "calibrate: the model has no batch normalisation to estimate (layer normalisation keeps no statistics). "
            "Use method: bias_correction or method: reconstruct"
        )
    selection = choose_layers(model, include, exclude, default=("norm",))
    norms = {name: part for name, part in selection.items() if isinstance(part, _BatchNorm) and name in every}
    if not norms:
        raise OperationError(
            f"calibrate: none of the chosen layers is a batch normalisation; the model's are named as '{every[0]}'"
        )
    return norms


def _estimated(part: torch.nn.Module) -> bool:
    return isinstance(part, _BatchNorm) and part.track_running_stats
