"""From a conf/target entry to a target.

name: onnxruntime          # given by the file's name
target: onnxruntime        # a registered target
optimization: all          # the target's own options
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError

from ops.params import explain, params_model
from ops.registry import UnknownNameError
from pipeline.targets.api import TARGETS, Target, TargetError

RESERVED = ("name", "target")
"""Keys of a conf/target entry that are not options of its target."""


def target_class(entry: Mapping[str, Any]) -> type[Target]:
    """Return the entry's target after checking its options; imports no runtime.

    Raises:
        TargetError: for an unknown target or option, with the nearest name.
    """
    cls, _ = _checked(entry)
    return cls


def open_target(entry: Mapping[str, Any]) -> Target:
    """Make the entry's target.

    Raises:
        TargetError: for an unknown target or option, with the nearest name.
    """
    cls, options = _checked(entry)
    return cls(**options)


def _checked(entry: Mapping[str, Any]) -> tuple[type[Target], dict[str, Any]]:
    name = entry.get("name", entry.get("target", "?"))
    try:
        cls: type[Target] = TARGETS[entry.get("target", name)]
    except UnknownNameError as error:
        raise TargetError(f"Target '{name}': {error}") from None
    params = params_model(cls.__init__ if inspect.isfunction(cls.__init__) else _without_options, skip=1)
    given = {key: value for key, value in entry.items() if key not in RESERVED}
    try:
        return cls, params.model_validate(given).model_dump()
    except ValidationError as error:
        raise TargetError(f"Target '{name}': {explain(error, params)}") from None


def _without_options(self: object) -> None:
    """Signature of a target that defines no constructor."""
