"""The functions of a person's own that may be called to build networks: those that the recipe at hand names.

The files of a model say how it is built, but they may come from anybody. The names travel to the processes of a run in
their environment.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping
from typing import Any

__all__ = ["is_named", "name_factories"]

_NAMES = "BOUILLON_FACTORIES"
_BUILDER = "python"


def name_factories(entries: Iterable[Any]) -> None:
    """Let the functions be called that conf/model entries of the recipe name; what is no entry is passed over."""
    names = {
        str(entry["factory"])
        for entry in entries
        if isinstance(entry, Mapping) and entry.get("builder") == _BUILDER and "factory" in entry
    }
    if names:
        os.environ[_NAMES] = json.dumps(sorted({*_names(), *names}))


def is_named(factory: str) -> bool:
    """Whether the recipe at hand names a function (`package.module:function`)."""
    return factory in _names()


def _names() -> list[str]:
    return list(json.loads(os.environ.get(_NAMES, "[]")))
