"""JSON columns of a store that may come from anywhere."""

from __future__ import annotations

import json
from typing import Any

from ops.core.text import show
from pipeline.store.errors import ForeignFileError

__all__ = ["json_mapping", "json_value"]


def json_value(text: str) -> Any:
    """Read a column that holds JSON in every store of this program.

    Raises:
        ForeignFileError: if it holds anything else.
    """
    try:
        return json.loads(text)
    except (ValueError, TypeError, RecursionError):
        raise _foreign(text, "JSON") from None


def json_mapping(text: str) -> dict[str, Any]:
    """Read a column that holds a mapping in every store of this program.

    Raises:
        ForeignFileError: if it holds anything else.
    """
    value = json_value(text)
    if not isinstance(value, dict):
        raise _foreign(text, "a mapping")
    return value


def _foreign(text: str, what: str) -> ForeignFileError:
    return ForeignFileError(
        f"The results hold {show(text)} in the place of {what}: no store of this program does. Name another file."
    )
