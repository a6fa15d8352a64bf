"""Prune a network, or change its weights otherwise, layer by layer from the inputs that its layers see on calibration data."""

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
Change = Callable[[TorchModel, Rows, "torch.nn.Module"], None]
"""Changes the rows of a layer of a model in place."""


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

    def change(result: TorchModel, rows: Rows, layer: torch.nn.Module) -> None:
        _prune_one(result, rows, layer, prune)

    result = change_layers(model, layers, ctx, change, samples=samples, full=full, unchanged=unchanged)
    result.masks = spread_masks(result.module, result.masks)
    return result


def change_layers(
    model: TorchModel,
    layers: Mapping[str, torch.nn.Module],
    ctx: Context,
    change: Change,
    *,
    samples: int,
    full: bool = False,
    unchanged: Mapping[str, str] | None = None,
    padding: bool = True,
) -> TorchModel:
    """Return a copy whose layers are changed in the order in which they run, each with inputs from those changed before.

    As `prune_layers`; the moments of one block of the network are held at a time.

    Args:
        model: stays as it is.
        layers: path -> layer.
        ctx: gives calibration instances, and takes the notes.
        change: what to do with a layer.
        samples: calibration instances; 0: none are asked for.
        full: whether all second moments are needed, or their diagonal.
        unchanged: layers that were left before, with the reason.
        padding: whether inputs at places that a text's `attention_mask` leaves out count.

    Raises:
        OperationError: no layer can be handled, or the calibration data is unfit.
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
        raise OperationError(f"None of the chosen layers can be changed this way: {reasons_in_line(remaining)}")
    done = 0
    for wave in waves(order, able, largest=WAVE_BYTES):
        inputs = {name: users[name] for name in wave}
        moments = second_moments(result, inputs, ctx, samples=samples, full=full, padding=padding) if samples else {}
        for name, layer in wave.items():
            change(result, _rows(result, name, layer, moments.pop(name, None)), layer)
        done += len(wave)
        ctx.progress(done, len(order), next(iter(wave)))
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


def second_moments(
    model: TorchModel, users: Mapping[str, Layers], ctx: Context, *, samples: int, full: bool, padding: bool = True
) -> dict[str, torch.Tensor]:
    """Return the second moments of what the users of each weight see, by the weight's layer: see `Rows.moments`.

    Args:
        model: stays as it is.
        users: path of a layer -> the layers that compute with its weight, by path.
        ctx: gives calibration instances.
        samples: how many.
        full: whether all are needed, or their diagonal.
        padding: whether inputs at places that a text's `attention_mask` leaves out count.
    """
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

    visit_inputs(model, layers, add, ctx, samples=samples, padding=padding)
    return sums


def _rows(model: TorchModel, name: str, layer: torch.nn.Module, moments: torch.Tensor | None) -> Rows:
    import torch

    weight = layer.get_parameter("weight")
    if weight.dim() > 2:  # noqa: PLR2004 - a kernel may lie channels last; a matrix may be another's transpose, and stays so
        weight.data = weight.data.contiguous()
    weights = as_rows(layer)
    if not bool(weights.isfinite().all()):
        raise OperationError(f"'{name}.weight' has NaN or infinity: the model was broken before this step")
    earlier = model.masks.get(f"{name}.weight")
    remaining = torch.ones_like(weights, dtype=torch.bool) if earlier is None else rows_of(layer, earlier)
    return Rows(name, weights, remaining, moments)


def _prune_one(model: TorchModel, rows: Rows, layer: torch.nn.Module, prune: Prune) -> None:
    keep = prune(rows) & rows.mask
    if not bool(keep.any()):
        largest = int((1 - 1 / rows.weights.numel()) * 10_000) / 10_000
        raise OperationError(
            f"The sparsity would remove every weight of '{rows.name}.weight'. "
            f"Largest possible: {largest:.4f}; or exclude that layer"
        )
    rows.weights[~keep] = 0
    model.masks[f"{rows.name}.weight"] = from_rows(layer, keep)
