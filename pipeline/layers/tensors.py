"""The tensors of a model on disk, one at a time: names and shapes at once, values when asked for.

Names are those of the network's code (`layer1.0.conv1.weight`), whatever a file calls them, so that a tensor can be
found again in another model.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from ops.api import Format
from pipeline import formats

__all__ = ["LayerError", "StoredTensor", "tensors_of"]


class LayerError(ValueError):
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


def tensors_of(folder: Path) -> Sequence[StoredTensor]:
    """List the tensors of the model artifact in `folder`, in the order of its file.

    Raises:
        LayerError: if the artifact is gone or damaged.
    """
    if not folder.is_dir():
        raise LayerError(f"The model's files are gone: there is no {folder}. Run the recipe again to make them")
    try:
        if formats.format_of(folder) is Format.TORCH:
            from pipeline.layers.torch_file import torch_tensors

            return torch_tensors(folder)
        from pipeline.layers.onnx_tensors import onnx_tensors

        return onnx_tensors(folder / formats.ONNX_FILE)
    except (OSError, KeyError, IndexError, UnicodeDecodeError, ValueError) as error:
        raise LayerError(f"{folder}: the tensors cannot be read: {type(error).__name__}: {error}") from error
