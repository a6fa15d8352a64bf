"""From a conf/model entry to a network."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ops.api import OnnxModel, TorchModel
from ops.model import Architecture
from ops.registry import UnknownNameError, nearest
from pipeline.models.api import BUILDERS, ModelError, Need

if TYPE_CHECKING:
    import torch

RESERVED = ("name", "builder", "content")
"""Keys of a conf/model entry that are not arguments of its builder; `content` is the digest of its files."""


def check_entry(entry: Mapping[str, Any]) -> None:
    """Refuse an entry whose builder or arguments do not exist, before anything is built.

    Raises:
        ModelError: with the nearest builder or argument name.
    """
    name = entry.get("name", "?")
    if "builder" not in entry:
        raise ModelError(f"Model '{name}': no `builder` is given. Known: {', '.join(BUILDERS)}")
    try:
        function = BUILDERS[entry["builder"]]
    except UnknownNameError as error:
        raise ModelError(f"Model '{name}': {error}") from None
    known = list(inspect.signature(function).parameters)[1:]
    for argument in arguments_of(entry):
        if argument not in known:
            hint = nearest(argument, known)
            raise ModelError(
                f"Model '{name}': builder '{entry['builder']}' takes no '{argument}'.{hint} Known: {', '.join(known)}"
            )


def arguments_of(entry: Mapping[str, Any]) -> dict[str, Any]:
    """The part of an entry that goes to its builder."""
    return {key: value for key, value in entry.items() if key not in RESERVED}


def build(entry: Mapping[str, Any], need: Need) -> TorchModel | OnnxModel:
    """Build a conf/model entry to fit `need`, with pretrained weights if `need` says so."""
    check_entry(entry)
    architecture = Architecture(
        name=entry.get("name", entry["builder"]),
        builder=entry["builder"],
        arguments=arguments_of(entry),
        task=need.task,
        classes=need.classes,
        inputs=need.inputs,
    )
    made = BUILDERS[entry["builder"]](need, **arguments_of(entry))
    if isinstance(made, Path):
        return OnnxModel(made, architecture)
    return TorchModel(made.eval(), architecture)


def build_structure(architecture: Architecture) -> torch.nn.Module:
    """Build the unedited network again; its weights are whatever initialisation gives, and are to be overwritten."""
    need = Need(architecture.task, architecture.classes, architecture.inputs, pretrained=False)
    made = BUILDERS[architecture.builder](need, **architecture.arguments)
    if isinstance(made, Path):
        raise ModelError(f"Builder '{architecture.builder}' gives no torch module for '{architecture.name}'")
    return made
