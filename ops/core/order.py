"""Orders of operations that would quietly undo earlier ones."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ops.core.operation import Ancestry


def palette_lost(ancestry: Ancestry, params: Mapping[str, Any]) -> str | None:
    """Return why weights must not all change after palettization; a person who names layers knows which."""
    patterns = params["include"] or params["exclude"]
    if patterns or not any(name == "palettize" for name, _ in ancestry.operations):
        return None
    return (
        "it would give palettized weights new values and undo `palettize`: put it before `palettize`, or name the layers "
        "with `include` or `exclude`"
    )
