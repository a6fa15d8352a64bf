"""Allocation of sparsity over layers that are pruned apart: budgets that add up to the requested one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from ops.prune.weights.masks import WeightGroup
from ops.prune.weights.threshold import BLOCK, Keeper, Magnitudes, Saliencies, smallest

if TYPE_CHECKING:
    from numpy.typing import NDArray


def erk_groups(parts: Sequence[Magnitudes], shapes: Mapping[str, Sequence[int]], sparsity: float) -> list[WeightGroup]:
    """Erdos-Renyi-kernel budgets: a tensor's density is proportional to the sum of its dimensions over their product.

    Small tensors keep more; none keeps more than all. Evci et al., "Rigging the Lottery: Making All Tickets Winners",
    ICML 2020; after Mocanu et al., Nature Communications 2018.

    Args:
        parts: the tensors with their weights.
        shapes: the shape of each tensor, by its name.
        sparsity: the share of all weights that goes, 0 to 1.
    """
    sizes = np.array([part.size for part in parts], dtype=np.float64)
    raw = np.array([sum(shapes[part.name]) / part.size for part in parts])
    target = (1 - sparsity) * sizes.sum()
    dense = np.zeros(len(parts), dtype=bool)
    while True:
        share = (raw * sizes)[~dense].sum()
        scale = max(target - sizes[dense].sum(), 0) / share if share else 0.0
        over = ~dense & (scale * raw > 1)
        if not over.any():
            break
        dense |= over
    keep = np.where(dense, 1.0, scale * raw) * sizes
    return _groups(parts, _whole(sizes - keep, round(sparsity * sizes.sum())))


def lamp_groups(parts: Sequence[Magnitudes], sparsity: float) -> list[WeightGroup]:
    """Budgets by layer-adaptive magnitude: one threshold on w^2 over the sum of the squares not smaller in its tensor.

    Lee et al., "Layer-adaptive Sparsity for the Magnitude-based Pruning", ICLR 2021.
    """
    scores = [Saliencies(part.name, _lamp(part.weights)) for part in parts]
    keeper = Keeper(smallest(scores, round(sparsity * sum(part.size for part in parts))))
    return _groups(
        parts,
        [part.size - int(np.count_nonzero(keeper.part(score))) for part, score in zip(parts, scores, strict=True)],
    )


def _lamp(weights: NDArray[np.float32]) -> NDArray[np.float32]:
    """LAMP scores of a tensor in rising order of magnitude: how many fall under a threshold is all that is asked."""
    squares = np.sort(np.abs(weights))
    np.square(squares, out=squares)
    rest = 0.0
    for end in range(squares.size, 0, -BLOCK):  # from the largest down, in blocks: float64 sums without a float64 copy
        block = squares[max(0, end - BLOCK) : end]
        sums = rest + np.cumsum(block[::-1], dtype=np.float64)[::-1]
        rest = float(sums[0])
        block[:] = np.divide(block, sums, out=np.zeros_like(sums), where=sums > 0)
    return squares


def _groups(parts: Sequence[Magnitudes], counts: Sequence[int]) -> list[WeightGroup]:
    return [WeightGroup([part], count) for part, count in zip(parts, counts, strict=True)]


def _whole(shares: NDArray[np.float64], total: int) -> list[int]:
    """Round to integers that add up to `total`: the largest remainders go up."""
    counts = np.floor(shares).astype(int)
    for index in np.argsort(counts - shares, kind="stable")[: total - int(counts.sum())]:
        counts[index] += 1
    return [int(count) for count in counts]
