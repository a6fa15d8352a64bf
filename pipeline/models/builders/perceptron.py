"""Layers of neurons, for rows of numbers."""

from __future__ import annotations

import itertools
import math
from typing import TYPE_CHECKING, Annotated

from pydantic import Field

from pipeline.models.api import ModelError, Need, builder

if TYPE_CHECKING:
    from torch import nn

Widths = Annotated[list[Annotated[int, Field(ge=1)]], Field(min_length=1)]
_WIDTHS = [64, 64]


@builder
def perceptron(need: Need, *, widths: Widths = _WIDTHS) -> nn.Module:
    """A multi-layer perceptron of all numbers of the input: linear layers with ReLU between, as many as `widths`, and a head.

    Raises:
        ModelError: if the data has several inputs, or token numbers.
    """
    import torch

    if need.pretrained:
        raise ModelError("this network has no pretrained weights; `train` it")
    kinds = [(dtype, shape) for dtype, shape in need.inputs.values()]
    if len(kinds) != 1 or not kinds[0][0].startswith("float"):
        raise ModelError(f"a perceptron takes one input of numbers; the data gives {', '.join(need.inputs)}")
    sizes = [math.prod(kinds[0][1]), *widths]
    layers: list[torch.nn.Module] = [torch.nn.Flatten()]
    for before, after in itertools.pairwise(sizes):
        layers += [torch.nn.Linear(before, after), torch.nn.ReLU()]
    return torch.nn.Sequential(*layers, torch.nn.Linear(sizes[-1], len(need.classes)))
