"""From a conf/target entry to a target."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any

from ops.registry import UnknownNameError, nearest
from pipeline.targets.api import TARGETS, Target, TargetError

RESERVED = ("name", "target")
"""Keys of a conf/target entry that are not arguments of its class."""


def target_class(entry: Mapping[str, Any]) -> type:
    """Return the class that an entry names, its arguments checked by name; nothing is opened.

    Raises:
        TargetError: with the nearest target or argument name.
    """
    name = entry.get("name", "?")
    try:
        cls = TARGETS[entry.get("target", name)]
    except UnknownNameError as error:
        raise TargetError(f"Target '{name}': {error}") from None
    known = list(inspect.signature(cls).parameters)
    for argument in entry:
        if argument not in RESERVED and argument not in known:
            raise TargetError(f"Target '{name}': it takes no '{argument}'.{nearest(argument, known)} Known: {', '.join(known)}")
    return cls


def open_target(entry: Mapping[str, Any]) -> Target:
    """Make the target that an entry describes. Its runtime is imported when a model is opened, or here.

    Raises:
        TargetError: if the entry is wrong, or the runtime is not installed (naming the extra to install).
    """
    arguments = {key: value for key, value in entry.items() if key not in RESERVED}
    made: Target = target_class(entry)(**arguments)
    return made
