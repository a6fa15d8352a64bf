"""From records to rows: plain values, and the digest that identifies a row."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from pipeline.core.secret_values import hidden
from pipeline.store.records.columns import StoredTable

Row = dict[str, Any]


def row(record: Any, table: StoredTable) -> Row:
    """Return the record as a row of its table, without what the store fills."""
    values = {name: plain_value(value) for name, value in table.values(record).items()}
    if table.key == "fact":
        values["fact"] = record_digest(values)
    return values


def record_digest(values: Mapping[str, Any]) -> str:
    """32 hex digits that identify a row: what DuckDB reads as a UUID."""
    return hashlib.blake2b(repr(sorted(values.items())).encode(), digest_size=16).hexdigest()


def plain_value(value: Any) -> Any:
    """A value that Arrow takes: mappings become JSON, times become UTC without zone. Secret values become references."""
    if isinstance(value, Mapping):
        return json.dumps(hidden(finite(value)), sort_keys=True, default=_scalar)
    if isinstance(value, str):
        return hidden(value)
    if isinstance(value, datetime):
        return value.astimezone(UTC).replace(tzinfo=None)
    if isinstance(value, Sequence) and not isinstance(value, str):
        return list(value)
    return value.tolist() if hasattr(value, "tolist") else value  # NumPy numbers and arrays


def finite(value: Any) -> Any:
    """JSON has no NaN and no infinity: they become text, so that they are seen rather than refused or dropped."""
    if isinstance(value, Mapping):
        return {str(name): finite(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [finite(item) for item in value]
    return str(value) if isinstance(value, float) and not math.isfinite(value) else value


def _scalar(value: Any) -> Any:
    """Convert values that json.dumps does not know: NumPy values to numbers and lists, anything else to its text."""
    return finite(value.tolist()) if hasattr(value, "tolist") else str(value)
