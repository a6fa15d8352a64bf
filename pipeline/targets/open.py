"""From a conf/target entry to a target.

name: onnxruntime          # given by the file's name
target: onnxruntime        # a registered target
optimization: all          # the target's own options
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any

from pipeline.core.config_entry import EntryKind
from pipeline.core.machine.libraries import version
from pipeline.core.user_code import code_of_definition
from pipeline.targets.api import TARGETS, Target, TargetError

_KIND: EntryKind[type[Any]] = EntryKind("Target", "target", "target", TARGETS, ("name", "target"), TargetError)


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


def runtime_of(target: type[Target]) -> dict[str, str]:
    """Return what decides a target's answers and times besides its options: versions of its runtime, or its code.

    Nothing is imported.
    """
    code = code_of_definition(target)
    names = getattr(target, "packages", ())
    versions = {name: result for name in names if (result := version(name)) is not None}
    return versions if code is None else {**versions, "code": code}


def _checked(entry: Mapping[str, Any]) -> tuple[type[Target], dict[str, Any]]:
    target = entry.get("target", entry.get("name", "?"))
    cls, checked = _KIND.check({"name": target, **entry, "target": target}, _constructor)
    return cls, checked.model_dump()


def _constructor(cls: type[Any]) -> Callable[..., Any]:
    return cls.__init__ if inspect.isfunction(cls.__init__) else _without_options


def _without_options(self: object) -> None:
    """Signature of a target that defines no constructor."""
