"""Prune a network layer by layer from the inputs that its layers see on the calibration split."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ops.calibration.layer_inputs import (
    Layers,
    as_rows,
    call_order,
    from_rows,
    rows_of,
    unsuitable,
    visit_inputs,
    waves,
    weight_users,
)
from ops.core.errors import OperationError
from ops.core.network.sharing import identities, spread_masks
from ops.core.operation import Context, TorchModel
from ops.core.text import reasons_in_line
from ops.prune.weights.masks import note_sparsity

if TYPE_CHECKING:
    import torch

WAVE_BYTES = 64 << 20
"""Second moments held at a time, unless one layer alone needs more."""


@dataclass(frozen=True, slots=True)
class Rows:
    """A layer's weights and what is known of them, groups first."""

    name: str
    weights: torch.Tensor
    """(groups, outputs, inputs), a view of the copy's parameter."""
    mask: torch.Tensor
    """bool, of the same shape: what earlier masks keep."""
    moments: torch.Tensor | None
    """Sum over positions of x x^T, (groups, inputs, inputs), or of x^2, (groups, inputs)."""


Prune = Callable[[Rows], "torch.Tensor"]
"""Changes `weights` in place where it corrects the remaining ones, and returns which stay (bool, of the same shape)."""


def prune_layers(
    model: TorchModel,
    layers: Mapping[str, torch.nn.Module],
    ctx: Context,
    prune: Prune,
    *,
    samples: int,
    full: bool = False,
    unchanged: Mapping[str, str] | None = None,
) -> TorchModel:
    """Return a copy whose layers are pruned in the order in which they run, each with inputs from the pruned ones before.

    Layers that share a weight are one: it is pruned when the first of them runs, with the inputs of all.
    `samples` 0 asks for no data at all. Layers that cannot be handled are noted with the reason, beside those that are
    `unchanged` already; none is silently left.

    Raises:
        OperationError: no layer can be handled, a layer would lose all its weights, or the calibration data is unfit.
    """
    result = model.copy()
    remaining = {name: reason for name, layer in layers.items() if (reason := unsuitable(layer))}
    able = {name: result.module.get_submodule(name) for name in layers if name not in remaining}
    users = weight_users(result.module, able)
    every = {user: layer for group in users.values() for user, layer in group.items()}
    called = call_order(result, every, ctx) if samples else list(every)
    remaining |= {name: "the network never calls it" for name, group in users.items() if not group.keys() & set(called)}
    owner = {user: name for name, group in users.items() for user in group}
    order = list(dict.fromkeys(owner[user] for user in called))
    if not order:
        raise OperationError(f"None of the chosen layers can be pruned this way: {reasons_in_line(remaining)}")
    done = 0
    for wave in waves(order, able, largest=WAVE_BYTES):
        inputs = {name: users[name] for name in wave}
        moments = _moments(result, inputs, ctx, samples=samples, full=full) if samples else {}
        for name, layer in wave.items():
            _prune_one(result, name, layer, moments.pop(name, None), prune)
        done += len(wave)
        ctx.progress(done, len(order), next(iter(wave)))
    result.masks = spread_masks(result.module, result.masks)
    if remaining or unchanged:
        ctx.note("unchanged", {**(unchanged or {}), **remaining})
    return result


def note_achieved(ctx: Context, model: TorchModel, sparsities: Mapping[str, float]) -> None:
    """Record the zeros of the pruned layers, those of a shared weight once.

    Args:
        ctx: takes the note.
        model: the pruned network with its masks.
        sparsities: path of a pruned layer -> the share of its weights that was asked for, 0 to 1.
    """
    same = identities(model.module)
    requested = {f"{layer}.weight": share for layer, share in sparsities.items()}
    names = {same[name]: name for name in requested if name in model.masks}
    masks = [model.masks[name] for name in names.values()]
    request = sum(round(requested[name] * model.masks[name].numel()) for name in names.values())
    total = sum(mask.numel() for mask in masks)
    removed = total - sum(int(mask.count_nonzero()) for mask in masks)
    note_sparsity(ctx, removed=removed, total=total, target=request)


def _moments(
    model: TorchModel, users: Mapping[str, Layers], ctx: Context, *, samples: int, full: bool
) -> dict[str, torch.Tensor]:
    """Return the second moments of what the users of each weight see, by the weight's layer."""
    import torch

    sums: dict[str, torch.Tensor] = {}
    owner = {user: name for name, group in users.items() for user in group}
    layers = {user: layer for group in users.values() for user, layer in group.items()}
    for name, group in users.items():
        groups, _, inputs = as_rows(next(iter(group.values()))).shape
        sums[name] = torch.zeros(groups, inputs, inputs) if full else torch.zeros(groups, inputs, dtype=torch.float64)

    def add(user: str, columns: torch.Tensor) -> None:
        name, values = owner[user], columns.float()
        if full:
            sums[name].baddbmm_(values, values.mT)
        else:
            sums[name] += values.square().sum(dim=-1, dtype=torch.float64)

    visit_inputs(model, layers, add, ctx, samples=samples)
    return sums


def _prune_one(
    model: TorchModel, name: str, layer: torch.nn.Module, moments: torch.Tensor | None, prune: Prune
) -> None:
    import torch

    weight = layer.get_parameter("weight")
    if weight.dim() > 2:  # noqa: PLR2004 - a kernel may lie channels last; a matrix may be another's transpose, and stays so
        weight.data = weight.data.contiguous()
    weights = as_rows(layer)
    if not bool(weights.isfinite().all()):
        raise OperationError(f"'{name}.weight' has NaN or infinity: the model was broken before this step")
    earlier = model.masks.get(f"{name}.weight")
    remaining = torch.ones_like(weights, dtype=torch.bool) if earlier is None else rows_of(layer, earlier)
    keep = prune(Rows(name, weights, remaining, moments)) & remaining
    if not bool(keep.any()):
        largest = int((1 - 1 / weights.numel()) * 10_000) / 10_000
        raise OperationError(
            f"The sparsity would remove every weight of '{name}.weight'. "
            f"Largest possible: {largest:.4f}; or exclude that layer"
        )
    weights[~keep] = 0
    model.masks[f"{name}.weight"] = from_rows(layer, keep)
