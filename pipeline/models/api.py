"""What a model builder is: a function that builds a network from plain arguments.

A newcomer adds one file to `pipeline/models/`:

    @builder
    def huggingface(need: Need, *, architecture: str, config: dict | None = None, weights: str | None = None) -> Built:
        '''A Hugging Face transformers model.'''

The keyword-only parameters are what a conf/model entry may set besides `builder`. Import torch inside the function.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from ops.registry import Registry

if TYPE_CHECKING:
    import torch

__all__ = ["BUILDERS", "Builder", "ModelError", "Need", "builder"]


class ModelError(ValueError):
    """A model cannot be built or its weights do not fit: the message names the file or tensor and what to do."""


@dataclass(frozen=True, slots=True)
class Need:
    """What a network must fit."""

    task: str
    classes: tuple[str, ...]
    inputs: Mapping[str, tuple[str, tuple[int, ...]]]
    """Forward argument -> (NumPy dtype name, shape of one instance)."""
    pretrained: bool
    """Load the entry's weights; False: structure only, the weights are initialised (from torch's global seed) or loaded later."""


Builder = Callable[..., "torch.nn.Module | Path"]
"""Takes a Need and keyword-only arguments; returns a module in float32, or the path of an ONNX file."""
BUILDERS: Registry[Builder] = Registry("model builder", "pipeline.models")
F = TypeVar("F", bound=Builder)


def builder(fn: F) -> F:
    """Register a function as a model builder, and return it unchanged."""
    BUILDERS.add(fn.__name__, fn)
    return fn
