"""Instances, predictions and values by instance: whole columns at once, never row by row."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa

from pipeline.store.database import one
from pipeline.store.errors import InvalidRecordError
from pipeline.store.records.run_records import Instances, InstanceValues, PredictionSet
from pipeline.store.write.table_map import record_digest

_VALUE_SET = ("model_key", "target", "device", "dataset_key", "metric", "evidence_key")
_MILLI = 1000
_FLOOR = -32767
_SLICE = 16_000_000
"""Values of probabilities in one insert: bounds the memory of a large set to some tens of MB."""


def insert(db: duckdb.DuckDBPyConnection, table: str, columns: Mapping[str, Any]) -> int:
    """Append columns to a table, by name; rows whose key is there already are left out. Returns the rows added.

    Args:
        db: a connection whose default database is the store.
        table: its name.
        columns: name -> values, all of one length; a column that is absent gets its default.
    """
    return _append(db, table, columns, "ON CONFLICT DO NOTHING")


def _append(db: duckdb.DuckDBPyConnection, table: str, columns: Mapping[str, Any], on_conflict: str = "") -> int:
    db.register("incoming", pa.table(dict(columns)))
    added = int(one(db, f"INSERT INTO {table} BY NAME SELECT * FROM incoming {on_conflict}"))
    db.unregister("incoming")
    return added


def insert_instances(db: duckdb.DuckDBPyConnection, record: Instances) -> int:
    """Append the instances of a split, unless they are there already. Returns the rows added."""
    number = _next(db, "instance_set")
    header = {"dataset_key": record.dataset_key, "split": record.split, "size": len(record.ids)}
    if not insert(db, "instance_set", {"instance_set": [number], **{name: [value] for name, value in header.items()}}):
        return 0
    return _append(
        db,
        "instance",
        {
            "instance_set": np.full(len(record.ids), number, np.int32),
            "position": np.arange(len(record.ids), dtype=np.int32),
            "instance_id": pa.array(record.ids, pa.string()),
            "label": pa.array(record.labels, pa.string()),
            "attributes": _maps(record.attributes, len(record.ids)),
        },
    )


def insert_predictions(db: duckdb.DuckDBPyConnection, record: PredictionSet, recorded_at: datetime) -> int:
    """Append a set of predictions, unless it is there already. Returns the rows added."""
    instance_set = _instance_set(db, record, record.split, len(record.predicted), "predictions")
    number = _next(db, "prediction_set")
    header: dict[str, Any] = {
        "model_key": record.model_key,
        "target": record.target,
        "dataset_key": record.dataset_key,
        "split": record.split,
        "instance_set": instance_set,
        "fact": _fact(record),
        "prediction_set": number,
        "recorded_at": recorded_at,
    }
    if not insert(db, "prediction_set", {name: [value] for name, value in header.items()}):
        return 0
    classes = 0 if record.probabilities is None else record.probabilities.shape[1]
    step = max(1, _SLICE // max(1, classes))
    return sum(
        _append(db, "prediction", _columns(record, number, slice(start, start + step)))
        for start in range(0, len(record.predicted), step)
    )


def insert_values(db: duckdb.DuckDBPyConnection, records: Sequence[InstanceValues], recorded_at: datetime) -> int:
    """Append values by instance, without the sets that are there already. Returns the rows added."""
    facts = {_fact_of_values(record): record for record in records}
    query = "SELECT replace(fact::VARCHAR, '-', '') FROM value_set WHERE fact IN (SELECT unnest(?::UUID[]))"
    for (present,) in db.execute(query, [list(facts)]).fetchall():
        del facts[present]
    if not facts:
        return 0
    numbers = range(_next(db, "value_set"), _next(db, "value_set") + len(facts))
    header: dict[str, Any] = {name: [getattr(record, name) for record in facts.values()] for name in _VALUE_SET}
    header |= {"fact": list(facts), "value_set": pa.array(numbers, pa.int32())}
    header["instance_set"] = [
        _instance_set(db, record, "evaluation", len(record.values), "values") for record in facts.values()
    ]
    header["recorded_at"] = pa.array([recorded_at] * len(facts))
    insert(db, "value_set", header)
    added = 0
    pending: list[dict[str, np.ndarray]] = []
    for number, record in zip(numbers, facts.values(), strict=True):
        pending.append(_value_columns(record, number))
        if sum(len(columns["value"]) for columns in pending) > _SLICE or number == numbers[-1]:
            flat = {name: np.concatenate([columns[name] for columns in pending]) for name in pending[0]}
            # NaN, which no mean in SQL survives, becomes NULL
            added += _append(db, "instance_value", flat | {"value": pa.array(flat["value"], from_pandas=True)})
            pending = []
    return added


def _value_columns(record: InstanceValues, number: int) -> dict[str, np.ndarray]:
    count = len(record.values)
    return {
        "value_set": np.full(count, number, np.int32),
        "position": np.arange(count, dtype=np.int32),
        "value": np.asarray(record.values, np.float32),
    }


def _fact_of_values(record: InstanceValues) -> str:
    identity = {name: getattr(record, name) for name in _VALUE_SET}
    return record_digest({**identity, "values": np.asarray(record.values, np.float32).tobytes()})


def milli_log(probabilities: np.ndarray) -> np.ndarray:
    """1000 x ln p as int16, of an array of any shape; everything below 6e-15, and what is not a number, is -32767."""
    with np.errstate(divide="ignore", invalid="ignore"):
        logs = np.log(probabilities, dtype=np.float32)
    logs *= _MILLI
    np.fmax(logs, np.float32(_FLOOR), out=logs)
    rounded: np.ndarray = np.rint(logs, out=logs).astype(np.int16)
    return rounded


def _columns(record: PredictionSet, number: int, part: slice) -> dict[str, Any]:
    predicted = pa.array(record.predicted[part], pa.string())
    count = len(predicted)
    columns = {
        "prediction_set": np.full(count, number, np.int32),
        "position": np.arange(part.start, part.start + count, dtype=np.int32),
        "predicted": predicted,
        "confidence": pa.array(record.confidence[part], pa.float32(), from_pandas=True),  # NaN becomes NULL
        "label_probability": pa.array(record.label_probability[part], pa.float32(), from_pandas=True),
        "correct": pa.array(record.correct[part], pa.bool_()),
        "score": pa.array(record.score[part], pa.float32(), from_pandas=True),
    }
    if record.probabilities is not None:
        rows = record.probabilities[part]
        ends = pa.array(np.arange(0, rows.size + 1, rows.shape[1], dtype=np.int32))
        unknown = pa.array(np.isnan(rows).any(axis=1))  # outputs that are not numbers have no probabilities: NULL
        columns["log_probabilities"] = pa.ListArray.from_arrays(ends, pa.array(milli_log(rows).ravel()), mask=unknown)
    return columns


def _instance_set(
    db: duckdb.DuckDBPyConnection, record: PredictionSet | InstanceValues, split: str, count: int, noun: str
) -> int:
    rows = db.execute(
        "SELECT instance_set, size FROM instance_set WHERE dataset_key = ? AND split = ?", [record.dataset_key, split]
    ).fetchall()
    where = f"{noun.capitalize()} of model {record.model_key[:12]} on {record.target or 'no target'}"
    if not rows:
        raise InvalidRecordError(
            f"{where}: the {split} instances of data set {record.dataset_key[:12]} are not in the store. "
            "Write them first, or in the same call."
        )
    number, size = rows[0]
    if size != count:
        raise InvalidRecordError(f"{where}: {count} {noun} for {size} instances of the {split} split.")
    return int(number)


def _fact(record: PredictionSet) -> str:
    arrays = (record.confidence, record.label_probability, record.correct, record.score)
    values = {str(at): np.ascontiguousarray(array).tobytes() for at, array in enumerate(arrays)}
    identity = {"model": record.model_key, "target": record.target, "data": record.dataset_key, "split": record.split}
    return record_digest({**identity, **values, "predicted": list(record.predicted)})


def _maps(attributes: Mapping[str, Sequence[str]], count: int) -> pa.Array:
    """One map per instance, out of one column per attribute."""
    names = list(attributes)
    keys = pa.array(names * count, pa.string())
    values = pa.array([value for row in zip(*attributes.values(), strict=True) for value in row], pa.string())
    ends = np.arange(0, len(names) * count + 1, len(names), dtype=np.int32) if names else np.zeros(count + 1, np.int32)
    return pa.MapArray.from_arrays(ends, keys, values)


def _next(db: duckdb.DuckDBPyConnection, table: str) -> int:
    return int(one(db, f"SELECT coalesce(max({table}), 0) + 1 FROM {table}"))
