"""Weights solved anew so that every layer gives what it gives in a reference model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import nn

from ops.calibration.batches import calibration_batches
from ops.calibration.layer_inputs import as_rows, call_order, columns_of, rows_of, unsuitable, waves
from ops.calibration.probe import Probe
from ops.core.errors import OperationError
from ops.core.network.sharing import sharing_layers
from ops.core.operation import Context, TorchModel
from ops.core.text import reasons_in_line
from ops.core.tied import choose_weighted
from ops.recover.methods.least_squares import masked_correction

_BATCH = 16
WAVE_BYTES = 64 << 20
"""Second moments held at a time, unless one layer alone needs more."""
_DAMPING = 0.01


@dataclass(slots=True)
class _Sums:
    """Over all positions, of a layer's inputs x (with a 1 appended where it has a bias) and the reference's outputs y."""

    xx: torch.Tensor
    """(groups, inputs, inputs)."""
    yx: torch.Tensor
    """(groups, outputs, inputs)."""
    yy: float


def reconstruct_layers(
    model: TorchModel,
    reference: TorchModel,
    ctx: Context,
    *,
    samples: int,
    include: Sequence[str],
    exclude: Sequence[str],
) -> TorchModel:
    """Return a copy whose weights make each layer's outputs as near to the reference's as masks allow.

    Blocks are solved in the order in which they run, from the inputs that they get after those before them were solved;
    the target is what the reference gives for the same instances. Layer-wise least squares as in He et al. 2017
    (arXiv:1707.06168) for channels and Hubara et al. 2021 (arXiv:2102.08124) for single weights.

    Raises:
        OperationError: no chosen layer can be compared with the reference.
    """
    result = model.copy()
    others = dict(reference.module.named_modules(remove_duplicate=False))
    selection, remaining = choose_weighted(result, include, exclude)
    remaining |= {name: reason for name, layer in selection.items() if (reason := _unsuitable(layer, others.get(name)))}
    for name, other in sharing_layers(result.module).items():
        if name in selection:  # each of them would undo what was solved for the other
            remaining.setdefault(name, f"its weight is also '{other}'")
    layers = {name: layer for name, layer in selection.items() if name not in remaining}
    if not layers:
        raise OperationError(f"calibrate: reconstruct finds no layer to solve for: {reasons_in_line(remaining)}")
    order = call_order(result, layers, ctx)
    errors: dict[str, list[float]] = {}
    for wave in waves(order, layers, largest=WAVE_BYTES):
        sums = _collect(result, reference, wave, others, ctx=ctx, samples=samples)
        for name, layer in wave.items():
            errors[name] = _solve(layer, sums.pop(name), _free(result, name, layer))
        ctx.progress(len(errors), len(order), next(iter(wave)))
    ctx.note("relative_error", errors)
    if remaining:
        ctx.note("unchanged", remaining)
    return result


def _unsuitable(layer: nn.Module, other: nn.Module | None) -> str | None:
    if reason := unsuitable(layer):
        return reason
    if other is None or unsuitable(other):
        return "the reference has no such layer"
    ours, theirs = (as_rows(part).shape[:2].numel() for part in (layer, other))
    if ours != theirs:
        return f"the reference has {theirs} outputs here, this model {ours}"
    return None


def _collect(
    model: TorchModel,
    reference: TorchModel,
    wave: Mapping[str, nn.Module],
    others: Mapping[str, nn.Module],
    *,
    ctx: Context,
    samples: int,
) -> dict[str, _Sums]:
    ours, theirs = Probe(model, wave), Probe(reference, {name: others[name] for name in wave})
    sums: dict[str, _Sums] = {}
    for batch in calibration_batches(ctx, samples=samples, batch_size=_BATCH):
        expected, supplied = theirs.run(batch), ours.run(batch)
        for name, calls in supplied.items():
            for (values, _), (_, target) in zip(calls, expected.get(name, []), strict=True):
                _add(sums, name, wave[name], values, target)
    return sums


def _add(sums: dict[str, _Sums], name: str, layer: nn.Module, values: torch.Tensor, target: torch.Tensor) -> None:
    groups, outputs, _ = as_rows(layer).shape
    y = _rows_of(layer, target).reshape(groups, outputs, -1)
    done = 0
    for piece in columns_of(layer, values):
        x = _with_ones(layer, piece)
        inputs, positions = x.shape[1:]
        if name not in sums:
            sums[name] = _Sums(x.new_zeros(groups, inputs, inputs), x.new_zeros(groups, outputs, inputs), 0.0)
        sums[name].xx.baddbmm_(x, x.mT)
        sums[name].yx.baddbmm_(y[..., done : done + positions], x.mT)
        done += positions
    sums[name].yy += float(y.square().sum(dtype=torch.float64))


def _rows_of(layer: nn.Module, output: torch.Tensor) -> torch.Tensor:
    """(outputs, positions), positions in the order of the columns."""
    if isinstance(layer, nn.Conv2d):
        return output.movedim(1, 0).flatten(1)
    return output.reshape(-1, output.shape[-1]).T


def _with_ones(layer: nn.Module, columns: torch.Tensor) -> torch.Tensor:
    if layer.bias is None:
        return columns
    return torch.cat([columns, columns.new_ones(len(columns), 1, columns.shape[-1])], dim=1)


def _coefficients(layer: nn.Module) -> torch.Tensor:
    """Weights and bias as (groups, outputs of a group, inputs of a group and 1)."""
    rows = as_rows(layer)
    if layer.bias is None:
        return rows.clone()
    return torch.cat([rows, layer.get_parameter("bias").detach().reshape(*rows.shape[:2], 1)], dim=-1)


def _free(model: TorchModel, name: str, layer: nn.Module) -> torch.Tensor:
    rows = as_rows(layer)
    mask = model.masks.get(f"{name}.weight")
    free = torch.ones_like(rows, dtype=torch.bool) if mask is None else rows_of(layer, mask)
    if layer.bias is None:
        return free
    bias = model.masks.get(f"{name}.bias")
    last = torch.ones_like(free[..., :1]) if bias is None else bias.reshape(*rows.shape[:2], 1)
    return torch.cat([free, last], dim=-1)


def _solve(layer: nn.Module, sums: _Sums, free: torch.Tensor) -> list[float]:
    """Change the layer's weights, and return the squared error of its outputs relative to their size, before and after."""
    old = _coefficients(layer)
    new = old + masked_correction(sums.xx, sums.yx - old @ sums.xx, free, damping=_DAMPING)
    before, after = _error(old, sums), _error(new, sums)
    if not after < before:  # solved already, to rounding
        return [before, before]
    rows = as_rows(layer)
    rows.copy_(new[..., : rows.shape[-1]])
    if layer.bias is not None:
        layer.get_parameter("bias").data.copy_(new[..., -1].flatten())
    return [before, after]


def _error(coefficients: torch.Tensor, sums: _Sums) -> float:
    w, xx, yx = coefficients.double(), sums.xx.double(), sums.yx.double()
    fitted = float(((w @ xx - 2 * yx) * w).sum()) + sums.yy
    return max(fitted, 0.0) / max(sums.yy, torch.finfo(torch.float32).tiny)
