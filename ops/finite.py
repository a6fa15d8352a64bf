"""Numbers that are none: infinite or not a number. No parameter means anything by them, and no key can hold them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any


def not_finite(value: Any) -> tuple[str, float] | None:
    """The first such number in JSON-ready data, with its path (`schedule.0`); None if there is none."""
    left = [("", value)]  # not by recursion: a recipe may be a long chain
    while left:
        path, one = left.pop()
        if isinstance(one, float) and not math.isfinite(one):
            return path, one
        parts: list[tuple[Any, Any]] = []
        if isinstance(one, Mapping):
            parts = list(one.items())
        elif isinstance(one, list | tuple):
            parts = list(enumerate(one))
        left += [(f"{path}.{name}" if path else str(name), part) for name, part in reversed(parts)]
    return None
