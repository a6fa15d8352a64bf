"""Grids of few bits: one scale and one zero point for each group of a row's inputs, as `MatMulNBits` of ONNX Runtime has them."""

from __future__ import annotations

from dataclasses import dataclass

import torch


@dataclass(frozen=True, slots=True)
class Grid:
    """A grid for each row of one group: values are scale * (level - zero), level from 0 to `levels`."""

    scale: torch.Tensor
    """float32 (rows, 1), above 0."""
    zero: torch.Tensor
    """float32 (rows, 1), whole numbers from 0 to `levels`: zero is a value of every grid."""
    levels: int

    def nearest(self, values: torch.Tensor) -> torch.Tensor:
        """Return the nearest value of the grid for each of (rows, n)."""
        level = torch.clamp(torch.round(values / self.scale) + self.zero, 0, self.levels)
        return (level - self.zero) * self.scale


def fitted(values: torch.Tensor, bits: int) -> Grid:
    """Return the grids that reach from the least to the largest value of each row, and hold zero.

    Args:
        values: float32 (rows, n), the weights of one group.
        bits: 2 to 8.
    """
    levels = 2**bits - 1
    low, high = values.amin(1, keepdim=True).clamp(max=0), values.amax(1, keepdim=True).clamp(min=0)
    scale = (high - low) / levels
    scale = torch.where(scale > 0, scale, 1.0)
    return Grid(scale, torch.clamp(torch.round(-low / scale), 0, levels), levels)


def round_to_nearest(weights: torch.Tensor, bits: int, group_size: int) -> torch.Tensor:
    """Return weights (rows, inputs) on the grids of their own groups of `group_size` inputs."""
    parts = [fitted(part, bits).nearest(part) for part in weights.split(group_size, dim=1)]
    return torch.cat(parts, dim=1)
