"""The order in which people list mixed values: nothing, no/yes, numbers by size, then text with its numbers by size."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping
from typing import Any, TypeAlias

__all__ = ["NaturalKey", "natural_key", "natural_sorted"]

NaturalKey: TypeAlias = tuple[Any, ...]
"""Compares with every other natural key."""

_DIGITS = re.compile(r"(\d+)")
_NONE, _BOOL, _NUMBER, _TEXT, _LIST, _MAP = range(6)


def natural_key(value: object) -> NaturalKey:
    """Return a sort key: None, then False and True, numbers, text ("int4" before "int16"), lists, mappings.

    NaN comes after all other numbers. Values that are none of these are ordered by their text.
    """
    match value:
        case None:
            return (_NONE,)
        case bool():
            return (_BOOL, value)
        case int() | float():
            return (_NUMBER, math.isnan(value), 0.0 if math.isnan(value) else value)
        case Mapping():
            pairs = sorted(((natural_key(name), natural_key(item)) for name, item in value.items()))
            return (_MAP, tuple(pairs))
        case list() | tuple() | set() | frozenset():
            return (_LIST, tuple(natural_key(item) for item in value))
        case _:
            text = str(value)
            return (_TEXT, _text_key(text), text)


def natural_sorted(values: Iterable[Any]) -> list[Any]:
    """Return the values in natural order."""
    return sorted(values, key=natural_key)


def _text_key(text: str) -> tuple[tuple[int, int, str], ...]:
    # `str.isdigit` accepts "²", which int() refuses; the pattern's \d matches decimal digits of any script only
    parts = _DIGITS.split(text.casefold())
    return tuple((0, int(part), "") if at % 2 else (1, 0, part) for at, part in enumerate(parts))
