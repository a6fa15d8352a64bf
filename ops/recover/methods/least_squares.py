"""Least squares for many rows at once, each with its own set of coefficients that may change."""

from __future__ import annotations

import torch

_ITERATIONS = 100
_TOLERANCE = 1e-5


def masked_correction(
    moments: torch.Tensor, gradient: torch.Tensor, free: torch.Tensor, *, damping: float
) -> torch.Tensor:
    """Return D, zero where `free` is False, that solves (H + damping * mean diagonal of H) D^T = R^T row by row.

    With H = X X^T of inputs X and R = (Y - W X) X^T, adding D to W brings W X as near to Y as the free coefficients can;
    damping draws D towards zero where the inputs do not determine it. Conjugate gradients with the diagonal as
    preconditioner (Shewchuk 1994): all rows go together, and a mask only leaves coefficients out.

    Args:
        moments: H, (groups, inputs, inputs).
        gradient: R, (groups, outputs, inputs).
        free: bool, as R.
        damping: share of the mean diagonal.
    """
    diagonal = moments.diagonal(dim1=-2, dim2=-1)
    ridge = (damping * diagonal.mean(-1, keepdim=True)).clamp_min(torch.finfo(moments.dtype).tiny)
    scale = (diagonal + ridge).unsqueeze(-2)
    ridge = ridge.unsqueeze(-1)
    result = torch.zeros_like(gradient)
    residual = gradient * free
    direction = residual / scale
    energy = (residual * direction).sum(-1, keepdim=True)
    enough = energy * _TOLERANCE**2
    for _ in range(_ITERATIONS):
        if bool((energy <= enough).all()):
            break
        product = (direction @ moments + ridge * direction) * free
        step = _ratio(energy, (direction * product).sum(-1, keepdim=True))
        result += step * direction
        residual -= step * product
        scaled = residual / scale
        before, energy = energy, (residual * scaled).sum(-1, keepdim=True)
        direction = scaled + _ratio(energy, before) * direction
    return result


def _ratio(above: torch.Tensor, below: torch.Tensor) -> torch.Tensor:
    """Divide, giving 0 for rows that are solved already."""
    return torch.where(below > 0, above / below.clamp_min(torch.finfo(below.dtype).tiny), 0.0)
