"""The two forms in which operations receive a model."""

from __future__ import annotations

import copy
import importlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True, slots=True)
class Architecture:
    """The recipe of the unedited network: plain data, stored with every artifact."""

    name: str
    """The conf/model entry's name."""
    builder: str
    """A name in the registry of builders."""
    arguments: Mapping[str, Any]
    task: str
    """The name of one in `ops.core.tasks`."""
    classes: tuple[str, ...]
    inputs: Mapping[str, tuple[str, tuple[int, ...]]]
    """Forward argument -> (NumPy dtype name, shape of one instance without the batch axis)."""
    output_kinds: Mapping[str, str] = field(default_factory=dict)
    """Output -> what its values are (`ops.core.output_kind`), where they are no logits."""


@dataclass(slots=True)
class TorchModel:
    """A network with what is needed to store it without pickle: architecture + edits + tensors.

    `edits` is the ordered list of structural changes (JSON-ready, each with an `edit` name registered in `ops.core.edits`);
    replaying them on the freshly built architecture gives the module's structure. `masks` maps a parameter's name to a
    bool tensor of its shape, True where the weight is kept; what a mask removes is exactly zero and stays so. A tensor
    that has several names has its mask under each of them.
    """

    module: torch.nn.Module
    architecture: Architecture
    edits: list[dict[str, Any]] = field(default_factory=list)
    masks: dict[str, torch.Tensor] = field(default_factory=dict)
    notes: Mapping[str, Any] = field(default_factory=dict)
    """What building it has to say of it (an untrained head, an output that is left out); JSON-ready, not stored."""

    def copy(self) -> TorchModel:
        """A deep copy, in evaluation mode: operations change the copy and leave their input alone."""
        # by name: what a recipe is planned with knows this module, and not torch
        module = importlib.import_module("ops.core.network.sharing").copy_network(self.module)
        masks = {name: mask.clone() for name, mask in self.masks.items()}
        return TorchModel(module, self.architecture, copy.deepcopy(self.edits), masks)


@dataclass(frozen=True, slots=True)
class OnnxModel:
    """An ONNX file. Operations read `path` and write their result to a new file; they never change the input file."""

    path: Path
    architecture: Architecture
    notes: Mapping[str, Any] = field(default_factory=dict)
    """As `TorchModel.notes`."""
