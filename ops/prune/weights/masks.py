"""Remove single weights: shared by the operations that score weights and zero the lowest."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ops.core.errors import OperationError
from ops.core.operation import Context, TorchModel
from ops.prune.weights.threshold import Keeper, Scores, blocks, empties, largest_count, smallest

if TYPE_CHECKING:
    import torch
    from numpy.typing import NDArray


@dataclass(slots=True)
class WeightGroup:
    """Tensors that share one threshold, and how many of their weights go."""

    scores: list[Scores]
    count: int


def flat(tensor: torch.Tensor) -> NDArray[np.float32]:
    """Return a parameter's values row by row in float32; a view wherever it is contiguous float32."""
    values: NDArray[np.float32] = tensor.detach().float().contiguous().numpy().reshape(-1)
    return values


def kept_before(model: TorchModel, name: str) -> NDArray[np.bool_] | None:
    """Return which weights an earlier mask keeps, flat, or None."""
    mask = model.masks.get(name)
    return None if mask is None else mask.contiguous().numpy().reshape(-1)


def layer_groups(scores: Sequence[Scores], sparsities: Mapping[str, float]) -> list[WeightGroup]:
    """One group per tensor, each with its own sparsity, by name."""
    return [WeightGroup([part], round(sparsities[part.name] * part.size)) for part in scores]


def global_group(scores: Sequence[Scores], sparsity: float) -> list[WeightGroup]:
    """All tensors under one threshold."""
    return [WeightGroup(list(scores), round(sparsity * sum(part.size for part in scores)))]


def remove_weights(model: TorchModel, groups: list[WeightGroup], ctx: Context) -> TorchModel:
    """Return a copy in which each group has lost its lowest-scored weights; ties go in memory order.

    Weights that earlier masks removed stay removed and count. The groups' scores are dropped as they are used, so that
    scores and result never exist whole at the same time.

    Raises:
        OperationError: a tensor would lose all its weights; names it and the largest possible sparsity.
    """
    total = sum(part.size for group in groups for part in group.scores)
    parameters = dict(model.module.named_parameters(remove_duplicate=False))
    tensors: dict[str, torch.Tensor] = {}
    masks: dict[str, torch.Tensor] = {}
    for group in groups:
        cut = smallest(group.scores, group.count)
        if empties(group.scores, cut):
            raise _too_much(group)
        keeper = Keeper(cut)
        while group.scores:
            part = group.scores.pop(0)
            tensors[part.name], masks[part.name] = _zeroed(parameters[part.name], part, keeper)
    removed = total - sum(int(np.count_nonzero(mask.numpy())) for mask in masks.values())
    note_sparsity(ctx, removed=removed, total=total, target=sum(group.count for group in groups))
    return with_tensors(model, tensors, masks)


def note_sparsity(ctx: Context, *, removed: int, total: int, target: int) -> None:
    """Record what was achieved, and why it is more than asked where earlier masks remove more.

    Args:
        ctx: takes the note.
        removed: weights that are zero now.
        total: weights of the layers that were chosen.
        target: weights that the operation was to remove.
    """
    achieved = {"sparsity": removed / total, "zeros": removed, "weights": total}
    if removed > target + 1:
        ctx.note("achieved", {**achieved, "because": "earlier operations had already pruned more than was asked for"})
    else:
        ctx.note("achieved", achieved)


def with_tensors(
    model: TorchModel, tensors: Mapping[str, torch.Tensor], masks: Mapping[str, torch.Tensor]
) -> TorchModel:
    """Copy a model with these parameters (moved in, not copied) and these masks in place of its own.

    Args:
        model: stays as it is; what is not replaced is copied.
        tensors: path of a parameter -> its new values, of the same shape; the type is that of the old ones.
        masks: path of a parameter -> bool of its shape, False where the weight is pruned.
    """
    from torch import nn

    from ops.core.network.sharing import copy_network, names_of

    old = dict(model.module.named_parameters(remove_duplicate=False))
    memo: dict[int, Any] = {
        id(old[name]): nn.Parameter(new.to(old[name].dtype), old[name].requires_grad) for name, new in tensors.items()
    }
    module = copy_network(model.module, memo)  # takes what the memo has instead of copying it
    replaced = {other for name in masks for other in names_of(model.module, name)}
    remaining = {name: mask.clone() for name, mask in model.masks.items() if name not in replaced}
    return TorchModel(module, model.architecture, copy.deepcopy(model.edits), {**remaining, **masks})


def _zeroed(weights: torch.Tensor, part: Scores, keeper: Keeper) -> tuple[torch.Tensor, torch.Tensor]:
    import torch

    if weights.dtype != torch.float32:  # not by way of float32: what stays, stays bit for bit
        mask = torch.from_numpy(keeper.part(part)).view(weights.shape)
        return weights.detach().clone().masked_fill_(~mask, 0), mask
    source = flat(weights).view(np.int32)
    # NumPy asks the system for huge pages, which halves the time of touching the memory first; torch does not
    result, remaining = np.empty(source.size, dtype=np.int32), np.empty(source.size, dtype=bool)
    bits = np.empty(min(source.size, 1 << 16), dtype=np.int32)
    for where, scores in blocks(part):
        keeper.block(scores, remaining[where])
        keep = bits[: scores.size]
        np.negative(remaining[where].view(np.int8), out=keep, dtype=np.int32, casting="unsafe")  # all bits, or none
        np.bitwise_and(source[where], keep, out=result[where])  # a product would leave -0.0
    shape = weights.shape
    return torch.from_numpy(result.view(np.float32)).view(shape), torch.from_numpy(remaining).view(shape)


def _too_much(group: WeightGroup) -> OperationError:
    total = sum(part.size for part in group.scores)
    count, name = largest_count(group.scores)
    if not count:
        return OperationError(
            f"No weight of '{name}' scores above any other of the model's, so that every sparsity would remove it whole "
            "(does the loss reach that layer?); exclude it"
        )
    return OperationError(
        f"sparsity {group.count / total:.4g} would remove every weight of '{name}'. "
        f"Largest possible: {int(count / total * 10_000) / 10_000:.4f}; or exclude that layer"
    )
