"""SparseGPT: choose weights and correct the others, column block by column block.

Frantar and Alistarh, "SparseGPT: Massive Language Models Can Be Accurately Pruned in One-Shot", ICML 2023, after the
Optimal Brain Surgeon (Hassibi and Stork, 1993).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ops.core.errors import OperationError

if TYPE_CHECKING:
    import numpy as np
    import torch
    from numpy.typing import NDArray

    from ops.prune.weights.layerwise import Rows

_ATTEMPTS = 4


def sparsegpt(rows: Rows, sparsity: float, *, dampening: float, block_size: int) -> torch.Tensor:
    """Return which weights stay, and correct those in `rows.weights` in place.

    `rows.moments` is the Hessian of the layer's squared output error up to a factor. Each block of columns loses its share,
    made up so that the layer's total is round(sparsity * weights).

    Args:
        rows: a layer's weights (groups, outputs, inputs) and moments (groups, inputs, inputs).
        sparsity: the share of the layer's weights that goes, 0 to 1.
        dampening: what is added to the Hessian's diagonal, as a share of its mean.
        block_size: columns that are pruned before the columns behind them are corrected.

    Returns:
        bool (groups, outputs, inputs).

    Raises:
        OperationError: the moments cannot be inverted, however much is added; names the layer.
    """
    import torch

    assert rows.moments is not None, "samples is at least 1"
    weights, hessian = rows.weights, rows.moments
    groups, _, inputs = weights.shape
    dead = (
        torch.diagonal(hessian, dim1=1, dim2=2) == 0
    )  # inputs that are never anything but zero: their weights go first
    factor = _inverse_factor(hessian, dead, dampening, rows.name)
    keep = torch.ones_like(rows.mask)
    removed = 0
    for start in range(0, inputs, block_size):
        end = min(start + block_size, inputs)
        diagonal = torch.diagonal(factor[:, start:end, start:end], dim1=1, dim2=2)
        scores = (weights[:, :, start:end] / diagonal.unsqueeze(1)).square()
        scores.masked_fill_(dead[:, None, start:end], 0)
        scores[~rows.mask[:, :, start:end]] = -1
        goal = round(sparsity * groups * weights.shape[1] * end)
        removed += _drop_lowest(scores, goal - removed, keep[:, :, start:end])
        _correct(weights, keep, factor, start, end)
    return keep


def _drop_lowest(scores: torch.Tensor, count: int, keep: torch.Tensor) -> int:
    """Mark the `count` lowest scores in `keep`, and those below 0 in any case; return how many were marked."""
    import torch

    removals = max(count, int((scores < 0).sum()))
    marks = torch.ones(scores.numel(), dtype=torch.bool)
    marks[scores.flatten().argsort(stable=True)[:removals]] = False
    keep.copy_(marks.view_as(scores))
    return removals


def _correct(weights: torch.Tensor, keep: torch.Tensor, factor: torch.Tensor, start: int, end: int) -> None:
    """Zero what goes from columns start:end, and spread each error over the columns to the right of it."""
    import torch

    errors = torch.empty_like(weights[:, :, start:end])
    for column in range(start, end):
        error = weights[:, :, column].masked_fill(keep[:, :, column], 0) / factor[:, column, column].unsqueeze(1)
        weights[:, :, column:end] -= error.unsqueeze(2) * factor[:, column, column:end].unsqueeze(1)
        weights[:, :, column].masked_fill_(~keep[:, :, column], 0)
        errors[:, :, column - start] = error
    weights[:, :, end:] -= errors @ factor[:, start:end, end:]


def _inverse_factor(hessian: torch.Tensor, dead: torch.Tensor, dampening: float, name: str) -> torch.Tensor:
    """Cholesky factor of the inverse of each group's Hessian, in the upper triangle; more dampening where it is singular.

    In place: the Hessian of a wide layer takes as much memory as a small network, and torch would hold four of them.
    """
    import torch
    from threadpoolctl import threadpool_limits

    diagonal = torch.diagonal(hessian, dim1=1, dim2=2)
    diagonal[dead] = 1
    added = diagonal.mean(dim=1) * dampening
    with threadpool_limits(torch.get_num_threads()):
        for group, matrix in enumerate(hessian):
            for attempt in range(_ATTEMPTS):
                diagonal[group] += added[group] * 10**attempt
                if _factorize(matrix.numpy()):
                    break
            else:
                raise OperationError(
                    f"Layer '{name}': the second moments of its inputs cannot be inverted; raise `dampening`"
                )
    return hessian.mT


def _factorize(matrix: NDArray[np.float32]) -> bool:
    """Put the factor into the triangle below the diagonal, transposed; if there is none, restore the matrix."""
    from scipy.linalg import lapack

    columns, diagonal = (
        matrix.T,
        matrix.diagonal().copy(),
    )  # LAPACK counts by columns: what is upper to it is lower here
    columns, failed = lapack.spotrf(columns, lower=0, clean=0, overwrite_a=1)
    if not failed:
        columns, failed = lapack.spotri(columns, lower=0, overwrite_c=1)
    if not failed:
        columns, failed = lapack.spotrf(columns, lower=0, clean=0, overwrite_a=1)
    if failed:
        for row in range(len(matrix)):
            matrix[row, :row] = matrix[:row, row]
            matrix[row, row] = diagonal[row]
    return not failed
