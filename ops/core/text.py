"""A person's values as parts of a message: in one line, and not too long."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

_MOST = 60
_MOST_REASONS = 3


def show(value: Any, most: int = _MOST) -> str:
    """Return a value as Python writes it, cut at `most` characters."""
    try:
        text = repr(value)
    except (ValueError, RecursionError):  # an integer of thousands of digits, lists in lists in lists
        text = f"a value of type {type(value).__name__}"
    return cut(text, most)


def cut(text: str, most: int = _MOST) -> str:
    """Return a text that is at most `most` characters long, with an escape for each that cannot be printed."""
    text = text if len(text) <= most else f"{text[: most - 3]}..."
    return text if text.isprintable() else "".join(map(_escaped, text))


def reasons_in_line(reasons: Mapping[str, str]) -> str:
    """Return the first of several layers with the reason for each, and how many more there are."""
    first = "; ".join(f"'{name}': {reason}" for name, reason in list(reasons.items())[:_MOST_REASONS])
    more = len(reasons) - _MOST_REASONS
    return f"{first}; and {more} more" if more > 0 else first


def _escaped(letter: str) -> str:
    return letter if letter.isprintable() else ascii(letter)[1:-1]
