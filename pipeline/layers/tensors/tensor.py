"""One tensor of a model on disk: what it is, and how to read its values."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np

from pipeline.core.errors import BouillonError

__all__ = ["LayerError", "StoredTensor"]


class LayerError(BouillonError, ValueError):
    """A model's tensors cannot be read: the message names the file or tensor, and what is wrong with it."""


@dataclass(frozen=True, slots=True)
class StoredTensor:
    """One tensor of one model."""

    name: str
    module_type: str
    """Class of the module, or operator of the graph."""
    role: Literal["parameter", "buffer"]
    shape: tuple[int, ...]
    """As in the code: out before in, but for layers that store their weight the other way round (see `output_axis`)."""
    dtype: str
    """As stored."""
    bits: float
    """Per value, as stored, with what belongs to a block of values (scales, zero points)."""
    bytes: int
    read: Callable[[], np.ndarray]
    """Return the values in float32, of `shape`; dequantized. Not to be written to: they may be the file's own pages."""
    how: tuple[str, ...] = ()
    """What was done to read it, in words: `int8 dequantized`."""
    output_axis: int = 0
    """Axis of a weight along which its outputs lie; of a transposed convolution those of one group."""
    stacked_axes: int = 0
    """So many leading axes number matrices, each of which is multiplied with inputs of its own."""

    @property
    def size(self) -> int:
        """Number of values."""
        return math.prod(self.shape)

    @property
    def products(self) -> int:
        """Number of products whose sum is one output value, of the weight of a linear layer or a convolution."""
        others = self.shape[self.stacked_axes : self.output_axis] + self.shape[self.output_axis + 1 :]
        return math.prod(others)

    @property
    def module(self) -> str:
        """Path of the module in the code."""
        return self.name.rpartition(".")[0]

    @property
    def parameter(self) -> str:
        """`weight`, `bias`, ..."""
        return self.name.rpartition(".")[2]
