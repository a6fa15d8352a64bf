"""Linear layers and convolutions as a product of smaller ones."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from ops.core.network.channel_axes import is_linear, is_turned_linear, linear_widths

RankOf = Callable[[int, torch.Tensor], int]
"""From the mode (0: outputs, 1: inputs) and the falling singular values of that unfolding, to the rank to keep."""
_SWEEPS = 3


_GEOMETRY = ("kernel_size", "stride", "padding", "dilation")


class Factors(nn.Sequential):
    """Layers that replace one, for code around it that asks about the layer: its geometry, its weight's type or device."""

    def __init__(self, layer: nn.Module, *parts: nn.Module) -> None:
        super().__init__(*parts)
        for name in _GEOMETRY:
            if hasattr(layer, name):
                setattr(self, name, getattr(layer, name))

    @property
    def weight(self) -> torch.Tensor:
        """Weight of the last factor: a stand-in for questions of type and device, not the product."""
        last = self[-1].weight
        assert isinstance(last, torch.Tensor), "factors are linear layers or convolutions"
        return last

    @property
    def bias(self) -> torch.Tensor | None:
        """Bias of the product, which the last factor adds."""
        bias = self[-1].bias
        return bias if isinstance(bias, torch.Tensor) else None


def factors(layer: nn.Module, ranks: list[int]) -> Factors:
    """Return untrained factors in the place of `layer`: two for one rank, three (Tucker-2) for two."""
    if is_linear(layer):
        (rank,) = ranks
        outputs, inputs = linear_widths(layer)
        layers: list[nn.Module] = [
            nn.Linear(inputs, rank, bias=False),
            nn.Linear(rank, outputs, bias=layer.bias is not None),
        ]
        return Factors(layer, *layers)
    assert isinstance(layer, nn.Conv2d), "checked by the operation"
    where: dict[str, Any] = {
        "stride": layer.stride,
        "padding": layer.padding,
        "dilation": layer.dilation,
        "padding_mode": layer.padding_mode,
    }
    if len(ranks) == 1:
        layers = [nn.Conv2d(layer.in_channels, ranks[0], 1, bias=False, **where)]
    else:
        enter = nn.Conv2d(layer.in_channels, ranks[0], 1, bias=False)
        layers = [enter, nn.Conv2d(ranks[0], ranks[1], layer.kernel_size, bias=False, **where)]  # type: ignore[arg-type]  # kernels are 2-tuples
    return Factors(layer, *layers, nn.Conv2d(ranks[-1], layer.out_channels, 1, bias=layer.bias is not None))


def ranks_for_ratio(layer: nn.Module, ratio: float) -> dict[int, int]:
    """Return the largest rank per mode with which the factors have at most `ratio` of the layer's weights; 0 if none is."""
    weight = layer.get_parameter("weight")
    outputs, inputs, kernel = weight.shape[0], weight.shape[1], weight.shape[2:].numel()
    budget = ratio * weight.numel()
    if kernel == 1:
        return {0: int(budget / (outputs + inputs))}
    # r = b * channels in both modes: kernel * o * i * b^2 + (o^2 + i^2) * b = budget
    square, linear = kernel * outputs * inputs, outputs**2 + inputs**2
    share = ((linear**2 + 4 * square * budget) ** 0.5 - linear) / (2 * square)
    return {0: int(share * outputs), 1: int(share * inputs)}


def ranks_for_energy(energy: float, *, modes: int) -> RankOf:
    """Choose the smallest ranks that keep `energy` of the squared weights; with two modes the loss is divided."""

    def rank(_: int, values: torch.Tensor) -> int:
        squares = values.double().square()
        enough = squares.cumsum(0) >= squares.sum() * (1 - (1 - energy) / modes) * (1 - 1e-12)
        return int(enough.int().argmax()) + 1

    return rank


def decompose(layer: nn.Module, rank_of: RankOf) -> tuple[list[torch.Tensor], float]:
    """Return the factors' weights, first to last, and the share of the squared weights that their product keeps.

    Matrices (Linear, 1x1 convolutions) are cut by SVD (Eckart and Young, 1936); other convolutions by Tucker-2 with
    alternating projections from the truncated SVDs of their unfoldings (Kim et al., "Compression of Deep Convolutional
    Neural Networks for Fast and Low Power Mobile Applications", ICLR 2016; De Lathauwer et al., 2000).
    """
    weight = layer.get_parameter("weight").detach().float()
    if is_turned_linear(layer):
        weight = weight.T
    if weight[0, 0].numel() == 1:
        return _svd(weight, rank_of)
    return _tucker(weight, rank_of)


def _svd(weight: torch.Tensor, rank_of: RankOf) -> tuple[list[torch.Tensor], float]:
    matrix = weight.flatten(1)
    wide = matrix.shape[0] <= matrix.shape[1]
    basis, values = _left_singular_vectors(matrix if wide else matrix.T)
    rank = rank_of(0, values)
    basis = basis[:, :rank] * _sign(basis[:, :rank])
    other = basis.T @ (matrix if wide else matrix.T)
    root = values[:rank].clamp_min(torch.finfo(values.dtype).tiny).sqrt()
    # the singular values are shared between the factors: both have weights of like size, good for rounding
    near, far = basis * root, other / root.unsqueeze(1)
    first, second = (far, near) if wide else (near.T, far.T)
    energy = float(values[:rank].double().square().sum() / values.double().square().sum().clamp_min(1e-300))
    shape = weight.shape[2:]
    return [first.reshape(rank, -1, *shape), second.reshape(-1, rank, *shape)], energy


def _tucker(weight: torch.Tensor, rank_of: RankOf) -> tuple[list[torch.Tensor], float]:
    outputs, inputs = (_basis(weight.transpose(0, mode).flatten(1), mode, rank_of) for mode in (0, 1))
    for _ in range(_SWEEPS):
        outputs = _leading(torch.einsum("oixy,ir->orxy", weight, inputs).flatten(1), outputs.shape[1])
        inputs = _leading(torch.einsum("oixy,or->irxy", weight, outputs).flatten(1), inputs.shape[1])
    outputs, inputs = outputs * _sign(outputs), inputs * _sign(inputs)
    core = torch.einsum("oixy,or,is->rsxy", weight, outputs, inputs)
    energy = float(core.double().square().sum() / weight.double().square().sum().clamp_min(1e-300))
    return [inputs.T[:, :, None, None], core, outputs[:, :, None, None]], energy


def _basis(unfolding: torch.Tensor, mode: int, rank_of: RankOf) -> torch.Tensor:
    basis, values = _left_singular_vectors(unfolding)
    return basis[:, : rank_of(mode, values)]


def _leading(matrix: torch.Tensor, rank: int) -> torch.Tensor:
    return _left_singular_vectors(matrix)[0][:, :rank]


def _left_singular_vectors(matrix: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Left singular vectors and values, falling, as many as both sides allow.

    From the eigenvectors of the Gram matrix in float64: a tenth of the time of an SVD of a wide matrix, and exact to float32
    for all directions that a cut would keep.
    """
    wide = matrix.double()
    squares, basis = torch.linalg.eigh(wide @ wide.T)
    count = min(matrix.shape)
    values = squares.clamp_min(0).sqrt().flip(0)[:count]
    return basis.flip(1)[:, :count].to(matrix.dtype), values.to(matrix.dtype)


def _sign(basis: torch.Tensor) -> torch.Tensor:
    """Signs that make each column's largest entry positive: a decomposition leaves them open."""
    largest = basis.abs().argmax(dim=0, keepdim=True)
    return torch.where(basis.gather(0, largest).squeeze(0) < 0, -1.0, 1.0)


def product(parts: Factors) -> torch.Tensor:
    """Return the weight that factors amount to: (outputs, inputs, kernel), as a linear layer or a convolution has it."""
    first, *rest = (part.get_parameter("weight").detach() for part in parts)
    result = first
    for weight in rest:
        if weight[0, 0].numel() > 1:  # the middle of Tucker-2, behind a 1x1 convolution
            result = torch.einsum("srxy,ri->sixy", weight, result.flatten(1))
        else:
            result = torch.einsum("os,s...->o...", weight.flatten(1), result)
    return result
