"""AWQ: scale up the input channels that matter before rounding, and let what comes before undo it.

Lin et al., "AWQ: Activation-aware Weight Quantization for LLM Compression and Acceleration", MLSys 2024, equations 4 and
5: the scale of a channel is its mean magnitude to the power alpha, and alpha is searched for.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch

from ops.quantize.rounding.grid import round_to_nearest

_STEPS = 20
"""Values of alpha, from 0 to 0.95."""
_LEAST = 1e-4


def best_scale(
    weights: Sequence[torch.Tensor], moments: torch.Tensor, magnitude: torch.Tensor, *, bits: int, group_size: int
) -> tuple[torch.Tensor, float]:
    """Return the scale of each input channel with which rounding costs least, and its alpha; 0: no scale is better.

    The cost is the squared error of the layers' outputs on the calibration data, tr(D M D^T) for a change D of the weights.

    Args:
        weights: float32 (rows, inputs) of each layer that takes these inputs.
        moments: float32 (inputs, inputs), the sum of x x^T over positions.
        magnitude: float32 (inputs,), the mean absolute value of each input.
        bits: of a weight.
        group_size: inputs that share a scale of the grid.
    """
    best, result, best_alpha = float("inf"), torch.ones_like(magnitude), 0.0
    for step in range(_STEPS):
        alpha = step / _STEPS
        scale = magnitude.clamp(min=_LEAST) ** alpha
        scale = scale / (scale.max() * scale.min()).sqrt()
        cost = 0.0
        for weight in weights:
            change = round_to_nearest(weight * scale, bits, group_size) / scale - weight
            cost += float(((change @ moments) * change).sum())
        if cost < best:
            best, result, best_alpha = cost, scale, alpha
    return result, best_alpha
