"""Model builders: functions that build a network from plain arguments.

A newcomer adds one file to `pipeline/models/builders/`:

    @builder
    def residual_cnn(need: Need, *, depths: list[int] = [1, 1, 1]) -> Built:
        '''A small residual net.'''

The keyword-only parameters are what a conf/model entry may set besides `builder`; one that names a file says so by
`Annotated[str, LocalFile()]`, and planning refuses a file that is not there. Import torch inside the function.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from ops.core.registry import Registry
from pipeline.core.errors import BouillonError

if TYPE_CHECKING:
    import torch

__all__ = ["BUILDERS", "Builder", "Built", "LocalFile", "ModelError", "Need", "OnnxFile", "builder"]


class ModelError(BouillonError, ValueError):
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
    initialise: bool = True
    """Whether the initial weights count; False: all of them will be overwritten, so that initialising is a waste."""

    @property
    def picture(self) -> tuple[int, int, int] | None:
        """(channels, height, width) of the pictures, if the inputs are pictures."""
        shapes = [shape for _, shape in self.inputs.values()]
        return (shapes[0][0], shapes[0][1], shapes[0][2]) if len(shapes) == 1 and len(shapes[0]) == 3 else None  # noqa: PLR2004 - axes


@dataclass(frozen=True, slots=True)
class Built:
    """A network, and how to build its structure again where the files that it came from are gone."""

    module: torch.nn.Module
    """In float32."""
    arguments: Mapping[str, Any]
    """JSON-ready arguments of the same builder that need no file and no network."""
    notes: Mapping[str, Any] = field(default_factory=dict)
    """What there is to say of it: JSON-ready, recorded with the model that a recipe begins with."""


@dataclass(frozen=True, slots=True)
class OnnxFile:
    """An ONNX file, as it can be worked with."""

    path: Path
    output_kinds: Mapping[str, str] = field(default_factory=dict)
    """Output -> what it is (`ops.core.output_kind`)."""
    notes: Mapping[str, Any] = field(default_factory=dict)
    """As `Built.notes`."""


@dataclass(frozen=True, slots=True)
class LocalFile:
    """The mark of a builder's parameter that names a file."""

    published: Callable[[str], bool] | None = None
    """Whether a text may name what a library or a hub has."""
    check_folder: Callable[[Path], None] | None = None
    """Raises a ModelError for a folder that lacks something; None: folders will not do."""


Builder = Callable[..., "torch.nn.Module | Built | OnnxFile | Path"]
"""Takes a Need and keyword-only arguments.

Returns a module in float32 (its arguments build its structure again), a Built, or an ONNX file or its path.
"""
BUILDERS: Registry[Builder] = Registry("model builder", "pipeline.models.builders")
F = TypeVar("F", bound=Builder)


def builder(fn: F) -> F:
    """Register a function as a model builder, and return it unchanged."""
    BUILDERS.add(fn.__name__, fn)
    return fn
