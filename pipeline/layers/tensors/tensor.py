"""One tensor of a model on disk: what it is, and how to read its values."""

from __future__ import annotations

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
    """As in the code: out before in."""
    dtype: str
    """As stored."""
    bits: float
    """Per value, as stored, with what belongs to a block of values (scales, zero points)."""
    bytes: int
    read: Callable[[], np.ndarray]
    """Return the values in float32, of `shape`; dequantized. Not to be written to: they may be the file's own pages."""
    how: tuple[str, ...] = ()
    """What was done to read it, in words: `int8 dequantized`."""

    @property
    def size(self) -> int:
        """Number of values."""
        total = 1
        for length in self.shape:
            total *= length
        return total

    @property
    def module(self) -> str:
        """Path of the module in the code."""
        return self.name.rpartition(".")[0]

    @property
    def parameter(self) -> str:
        """`weight`, `bias`, ..."""
        return self.name.rpartition(".")[2]
