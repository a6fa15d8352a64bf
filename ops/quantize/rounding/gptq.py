"""GPTQ: round column by column, and let the columns that are still to come make up for the error.

Frantar, Ashkboos, Hoefler and Alistarh, "GPTQ: Accurate Post-Training Quantization for Generative Pre-trained
Transformers", ICLR 2023, algorithm 1, after the Optimal Brain Surgeon (Hassibi and Stork, 1993).
"""

from __future__ import annotations

import torch

from ops.prune.weights.sparsegpt import inverse_factor
from ops.quantize.rounding.grid import fitted

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
    block = max(_BLOCK, group_size)  # both are powers of two: a group lies in one block, whose columns are up to date
    for start in range(0, inputs, block):
        end = min(start + block, inputs)
        errors = torch.empty_like(working[:, start:end])
        for column in range(start, end):
            group = int(order[column]) // group_size
            if not activation_order and column % group_size == 0:
                grids[group] = fitted(working[:, column : column + group_size], bits)
            values = working[:, column]
            result[:, column] = grids[group].nearest(values.unsqueeze(1)).squeeze(1) * keep[:, column]
            error = (values - result[:, column]) / factor[column, column]
            working[:, column:end] -= error.unsqueeze(1) * factor[column, column:end]
            errors[:, column - start] = error
        working[:, end:] -= errors @ factor[start:end, end:]
    unsorted = torch.empty_like(result)
    unsorted[:, order] = result
    return unsorted
