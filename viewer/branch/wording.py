"""Words of the page of branches: operations by kind, names of steps, lengths, and what is new in a recipe. Pure."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from typing import Any

from viewer.branch.drafts import DraftError, parse_change

__all__ = ["by_kind", "is_below", "length_text", "marked_lines", "step_names"]

_MINUTE = 60.0


def by_kind(schemas: Mapping[str, Any]) -> list[tuple[str, list[str]]]:
    """Return the operations by their kind."""
    kinds = dict.fromkeys(schema["kind"] for schema in schemas.values())
    return [(kind, [name for name, schema in schemas.items() if schema["kind"] == kind]) for kind in sorted(kinds)]


def step_names(change: str) -> str:
    """Return the names of the steps that a request adds."""
    try:
        return ", ".join(parse_change(change))
    except DraftError:
        return "?"


def is_below(step: Mapping[str, Any], path: str) -> bool:
    """Whether a step of a plan is below the model at a path."""
    return str(step["path"]).startswith(f"{path}/")


def length_text(seconds: float, unknown: int) -> str:
    """Say how long a plan takes by earlier runs."""
    about = f"about {seconds:.0f} s" if seconds < 2 * _MINUTE else f"about {seconds / _MINUTE:.0f} min"
    length = f"{about} by earlier runs" if seconds >= 1 else "less than a second by earlier runs"
    steps = f"{unknown} step{'s' if unknown > 1 else ''} of a kind that was never run here"
    if not unknown:
        return length
    return f"{length}, and {steps}" if seconds else f"{steps}: how long is not known"


def marked_lines(before: str, now: str) -> list[tuple[bool, str]]:
    """Return the lines of a recipe, and whether each is new."""
    lines = difflib.ndiff(before.splitlines(), now.splitlines())
    return [(line.startswith("+ "), line[2:]) for line in lines if line[:2] in ("  ", "+ ")]
