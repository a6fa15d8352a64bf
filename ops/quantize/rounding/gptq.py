"""GPTQ: round column by column, and let the columns that are still to come make up for the error.

Frantar, Ashkboos, Hoefler and Alistarh, "GPTQ: Accurate Post-Training Quantization for Generative Pre-trained
Transformers", ICLR 2023, algorithm 1, after the Optimal Brain Surgeon (Hassibi and Stork, 1993).
"""

from __future__ import annotations

import torch

from ops.prune.weights.sparsegpt import inverse_factor
from ops.quantize.rounding.grid import Grid, fitted

_BLOCK = 128
"""Columns after which all further ones are corrected at once: fewer passes over the weights, the same result."""


def gptq(
    weights: torch.Tensor,
    moments: torch.Tensor,
    keep: torch.Tensor,
    *,
    bits: int,
    group_size: int,
    activation_order: bool,
    dampening: float,
    name: str,
) -> torch.Tensor:
    """Return weights on grids of few bits that change a layer's outputs as little as this order of columns allows.

    A group's grid fits its weights as they are when its first column is rounded; with `activation_order`, in which groups
    are not met one after the other, as they were at the beginning.

    Args:
        weights: float32 (rows, inputs).
        moments: float32 (inputs, inputs), the sum of x x^T over positions; it is overwritten.
        keep: bool (rows, inputs); weights that earlier pruning removed stay zero, and the others make up for it.
        bits: of a weight.
        group_size: inputs that share a scale.
        activation_order: whether the inputs with the largest second moments are rounded first.
        dampening: what is added to the diagonal of the moments, as a share of its mean.
        name: of the layer, for messages.

    Raises:
        OperationError: the moments cannot be inverted.
    """
    inputs = weights.shape[1]
    diagonal = torch.diagonal(moments)
    dead = diagonal == 0
    order = torch.argsort(diagonal, descending=True, stable=True) if activation_order else torch.arange(inputs)
    grids = [fitted(part, bits) for part in weights.split(group_size, dim=1)]
    working, keep = weights.masked_fill(dead, 0)[:, order].clone(), keep[:, order]
    moments = moments[order][:, order].contiguous()
    factor = inverse_factor(moments.unsqueeze(0), dead[order].unsqueeze(0), dampening, name)[0]
    result = torch.empty_like(working)
    for start in range(0, inputs, _BLOCK):
        end = min(start + _BLOCK, inputs)
        errors = torch.empty_like(working[:, start:end])
        for column in range(start, end):
            group = int(order[column]) // group_size
            if not activation_order and column % group_size == 0:
                grids[group] = _present_grid(
                    working,
                    errors[:, : column - start],
                    factor,
                    columns=range(column, end),
                    stop=column + group_size,
                    bits=bits,
                )
            values = working[:, column]
            result[:, column] = grids[group].nearest(values.unsqueeze(1)).squeeze(1) * keep[:, column]
            error = (values - result[:, column]) / factor[column, column]
            working[:, column:end] -= error.unsqueeze(1) * factor[column, column:end]
            errors[:, column - start] = error
        working[:, end:] -= errors @ factor[start:end, end:]
    unsorted = torch.empty_like(result)
    unsorted[:, order] = result
    return unsorted


def _present_grid(
    working: torch.Tensor, errors: torch.Tensor, factor: torch.Tensor, *, columns: range, stop: int, bits: int
) -> Grid:
    """The grid of a group's weights as all corrections up to now have left them, also where the group outreaches the block.

    Args:
        working: the weights (rows, inputs); those of the block are corrected.
        errors: of the block's columns so far (rows, columns).
        factor: of the inverse moments.
        columns: from the group's first to the block's last.
        stop: the column behind the group.
        bits: of a weight.
    """
    stop = min(stop, working.shape[1])
    inside = working[:, columns.start : min(stop, columns.stop)]
    if stop <= columns.stop:
        return fitted(inside, bits)
    done = errors.shape[1]
    outside = (
        working[:, columns.stop : stop] - errors @ factor[columns.start - done : columns.start, columns.stop : stop]
    )
    return fitted(torch.cat([inside, outside], dim=1), bits)
