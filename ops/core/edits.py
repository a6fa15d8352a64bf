"""Structural edits: how a network that lost channels or gained factors is rebuilt from its architecture.

An operation that changes the structure appends a JSON-ready mapping to `TorchModel.edits`; its `edit` names a function
registered here (by the file of the operation, or of the change) that makes the same change to a freshly built module.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any, TypeVar

from ops.core.registry import FAMILIES, Registry

if TYPE_CHECKING:
    import torch

    from ops.core.model import Architecture

Replay = Callable[["torch.nn.Module", "Architecture", Mapping[str, Any]], "torch.nn.Module"]
EDITS: Registry[Replay] = Registry("edit", *FAMILIES, "ops.core.network")
R = TypeVar("R", bound=Replay)


def edit(name: str) -> Callable[[R], R]:
    """Register `fn(module, architecture, edit) -> module` as the replay of the edits called `name`."""

    def register(fn: R) -> R:
        EDITS.add(name, fn)
        return fn

    return register


def replay(module: torch.nn.Module, architecture: Architecture, edits: Iterable[Mapping[str, Any]]) -> torch.nn.Module:
    """Apply `edits` in order to a freshly built module. Only its structure counts: tensors are loaded afterwards.

    Args:
        module: of the architecture, without any of the edits; it may be changed in place.
        architecture: what the module was built from.
        edits: in the order in which operations made them; `edit` in each names its registered function.
    """
    for entry in edits:
        module = EDITS[entry["edit"]](module, architecture, entry)
    return module
