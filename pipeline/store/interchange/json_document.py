"""JSON files of other programs: read whole, with one line for everything that can be wrong with them as JSON."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pipeline.store.interchange.errors import InterchangeError, refuse

__all__ = ["read_document"]

_DIGITS = 400
"""Whole numbers with more are too large for any figure, and Python refuses to read the longest."""


def read_document(path: Path) -> Any:
    """Read a JSON file.

    Raises:
        InterchangeError: if it cannot be read, is no JSON, names something twice, or is nested too deeply.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise InterchangeError(f"There is no file {path}.") from None
    except OSError as error:
        raise InterchangeError(f"{path} cannot be read: {error.strerror}.") from None
    except UnicodeDecodeError as error:
        raise refuse(path, [f"it is not UTF-8 text (byte {error.start})"]) from None
    try:
        return json.loads(text, object_pairs_hook=_object, parse_int=_whole)
    except json.JSONDecodeError as error:
        raise refuse(path, [f"it is not JSON: {error.msg} in line {error.lineno}, column {error.colno}"]) from None
    except _RepeatedNameError as error:
        raise refuse(path, [f"an object has the name '{error}' twice"]) from None
    except RecursionError:
        raise refuse(path, ["it is nested too deeply"]) from None


def _whole(digits: str) -> int:
    return int(digits[:_DIGITS])


class _RepeatedNameError(ValueError):
    """JSON readers keep the last of two equal names: one of the values would be lost in silence."""


def _object(pairs: list[tuple[str, Any]]) -> Mapping[str, Any]:
    mapping = dict(pairs)
    if len(mapping) < len(pairs):
        names = [name for name, _ in pairs]
        raise _RepeatedNameError(next(name for name in names if names.count(name) > 1))
    return mapping
