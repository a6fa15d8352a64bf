"""From records to rows: which table a record goes to, what identifies it, and what it must not contradict."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from datetime import UTC, datetime
from typing import Any

from pipeline.core.secret_values import hidden
from pipeline.store.records import run_records

Row = dict[str, Any]


@dataclass(frozen=True, slots=True)
class TableMap:
    """One table of small facts. Bulk records (instances, predictions, values) are written by `bulk_insert`."""

    name: str
    key: str = "fact"
    """The column that identifies a row; `fact` is a digest of the whole row."""
    recorded: bool = False
    """Whether the row says when it entered the store."""
    refers: tuple[tuple[str, str], ...] = ()
    """(column, table): a value that is neither empty nor None must be a key of that table."""
    statements: tuple[str, ...] = ()
    """Of a table that is made when it is first written to: see `pipeline.store.write.own_table`."""


_MODEL, _RUN, _DATASET = ("model_key", "model"), ("run_id", "run"), ("dataset_key", "dataset")
_DEVICE, _METRIC = ("device", "device"), ("metric", "metric")

TABLES: dict[type, TableMap] = {  # in the order of writing
    run_records.Run: TableMap("run", key="run_id"),
    run_records.Model: TableMap("model", key="model_key", recorded=True),
    run_records.DatasetInfo: TableMap("dataset", key="dataset_key"),
    run_records.Metric: TableMap("metric", recorded=True),
    run_records.Device: TableMap("device", key="device"),
    run_records.Step: TableMap("step", recorded=True, refers=(_RUN,)),
    run_records.Measurement: TableMap("measurement", recorded=True, refers=(_MODEL, _RUN, _DATASET, _METRIC, _DEVICE)),
    run_records.Layer: TableMap("layer", recorded=True, refers=(_MODEL,)),
    run_records.Distribution: TableMap("distribution", recorded=True, refers=(_MODEL,)),
    run_records.Change: TableMap("change", recorded=True, refers=(_MODEL, ("reference_key", "model"))),
    run_records.Finding: TableMap("finding", recorded=True, refers=(_MODEL,)),
    run_records.LayerTime: TableMap("layer_time", recorded=True, refers=(_MODEL, _DEVICE)),
    run_records.TimingSamples: TableMap("timing_process", recorded=True, refers=(_MODEL, _DEVICE)),
    run_records.TimingFailure: TableMap("timing_failure", recorded=True, refers=(_MODEL, _DEVICE)),
    run_records.Speedup: TableMap("speedup", recorded=True, refers=(_MODEL, ("against_key", "model"), _DEVICE)),
    run_records.Lint: TableMap("lint", recorded=True, refers=(_MODEL, _RUN)),
    run_records.ImportDetail: TableMap("import_detail", recorded=True, refers=(_RUN,)),
    run_records.Ingested: TableMap("ingestion", key="evidence_key", recorded=True),
    run_records.RunEnd: TableMap("run_end", key="run_id", refers=(_RUN,)),
}
VALUE_SET_REFERS = (_MODEL, _DATASET, _METRIC, _DEVICE)
"""As `Table.refers`, of values by instance."""
KEY_COLUMN = {table.name: "metric" if table.name == "metric" else table.key for table in TABLES.values()}
"""Table -> the column that other tables refer to."""
_RENAMED = {"primary": "is_primary", "references": "reference_keys"}  # words that SQL keeps for itself


def row(record: run_records.Record, table: TableMap) -> Row:
    """Return the record as a row, without `recorded_at`."""
    values = {_RENAMED.get(f.name, f.name): plain_value(getattr(record, f.name)) for f in fields(record)}
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
