"""Instances, predictions and values by instance: whole columns at once, never row by row."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa

from pipeline.store.database import one
from pipeline.store.errors import InvalidRecordError
from pipeline.store.records.columns import SETS
from pipeline.store.records.run_records import Instances, InstanceValues, PredictionSet
from pipeline.store.write.rows import record_digest

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
    count, header = len(record.ids), SETS[Instances].header
    number = _next(db, header.name)
    row = {**header.values(record), header.name: number, "size": count}
    if not insert(db, header.name, {name: [value] for name, value in row.items()}):
        return 0
    return _append(db, SETS[Instances].rows.name, _columns(record, number, slice(0, count)))


def insert_predictions(db: duckdb.DuckDBPyConnection, record: PredictionSet, recorded_at: datetime) -> int:
    """Append a set of predictions, unless it is there already. Returns the rows added."""
    count, header = len(record.predicted), SETS[PredictionSet].header
    instance_set = _instance_set(db, record, record.split, count, "predictions")
    number = _next(db, header.name)
    row = {
        **header.values(record),
        header.name: number,
        "instance_set": instance_set,
        "fact": _fact(record),
        "recorded_at": recorded_at,
    }
    if not insert(db, header.name, {name: [value] for name, value in row.items()}):
        return 0
    classes = 0 if record.probabilities is None else record.probabilities.shape[1]
    step = max(1, _SLICE // max(1, classes))
    return sum(
        _append(db, SETS[PredictionSet].rows.name, _columns(record, number, slice(start, min(start + step, count))))
        for start in range(0, count, step)
    )


def insert_values(db: duckdb.DuckDBPyConnection, records: Sequence[InstanceValues], recorded_at: datetime) -> int:
    """Append values by instance, without the sets that are there already. Returns the rows added."""
    header, rows = SETS[InstanceValues]
    facts = {_fact_of_values(record): record for record in records}
    query = f"SELECT replace(fact::VARCHAR, '-', '') FROM {header.name} WHERE fact IN (SELECT unnest(?::UUID[]))"
    for (present,) in db.execute(query, [list(facts)]).fetchall():
        del facts[present]
    if not facts:
        return 0
    first = _next(db, header.name)
    numbers = range(first, first + len(facts))
    identities = [header.values(record) for record in facts.values()]
    columns: dict[str, Any] = {name: [each[name] for each in identities] for name in identities[0]}
    columns |= {"fact": list(facts), header.name: pa.array(numbers, pa.int32())}
    columns["instance_set"] = [
        _instance_set(db, record, "evaluation", len(record.values), "values") for record in facts.values()
    ]
    columns["recorded_at"] = pa.array([recorded_at] * len(facts))
    insert(db, header.name, columns)
    added = 0
    pending: list[dict[str, pa.Array]] = []
    for number, record in zip(numbers, facts.values(), strict=True):
        pending.append(_columns(record, number, slice(0, len(record.values))))
        if sum(len(part["position"]) for part in pending) > _SLICE or number == numbers[-1]:
            added += _append(
                db, rows.name, {name: pa.concat_arrays([part[name] for part in pending]) for name in pending[0]}
            )
            pending = []
    return added


def _fact_of_values(record: InstanceValues) -> str:
    identity = SETS[InstanceValues].header.values(record)
    return record_digest({**identity, "values": np.asarray(record.values, np.float32).tobytes()})


def milli_log(probabilities: np.ndarray) -> np.ndarray:
    """1000 x ln p as int16, of an array of any shape; everything below 6e-15, and what is not a number, is -32767."""
    with np.errstate(divide="ignore", invalid="ignore"):
        logs = np.log(probabilities, dtype=np.float32)
    logs *= _MILLI
    np.fmax(logs, np.float32(_FLOOR), out=logs)
    rounded: np.ndarray = np.rint(logs, out=logs).astype(np.int16)
    return rounded


def _columns(record: Instances | PredictionSet | InstanceValues, number: int, part: slice) -> dict[str, pa.Array]:
    """The rows of some of a record's instances, as its table's columns.

    Args:
        record: of many instances.
        number: of its set.
        part: the instances.
    """
    header, rows = SETS[type(record)]
    columns = {
        header.name: pa.array(np.full(part.stop - part.start, number, np.int32)),
        "position": pa.array(np.arange(part.start, part.stop, dtype=np.int32)),
    }
    for column in rows.columns:
        values = getattr(record, column.field) if column.field else None
        if values is not None:
            columns[column.name] = _CONVERSIONS[column.type](values, part)
    return columns


def _log_probabilities(probabilities: np.ndarray, part: slice) -> pa.Array:
    rows = probabilities[part]
    ends = pa.array(np.arange(0, rows.size + 1, rows.shape[1], dtype=np.int32))
    unknown = pa.array(np.isnan(rows).any(axis=1))  # outputs that are not numbers have no probabilities: NULL
    return pa.ListArray.from_arrays(ends, pa.array(milli_log(rows).ravel()), mask=unknown)


def _maps(attributes: Mapping[str, Sequence[str]], part: slice) -> pa.Array:
    """One map per instance, out of one column per attribute; an empty text stands for no value, and is left out."""
    shape = len(attributes), part.stop - part.start
    table = np.array([list(values[part]) for values in attributes.values()], object).reshape(shape).T
    names = np.broadcast_to(np.array(list(attributes), object), table.shape)
    present = (table != "").astype(bool)
    ends = np.concatenate([[0], present.sum(axis=1).cumsum()]).astype(np.int32)
    return pa.MapArray.from_arrays(ends, pa.array(names[present], pa.string()), pa.array(table[present], pa.string()))


_CONVERSIONS: dict[str, Callable[[Any, slice], pa.Array]] = {
    "VARCHAR": lambda values, part: pa.array(values[part], pa.string()),
    "BOOLEAN": lambda values, part: pa.array(values[part], pa.bool_()),
    # NaN, which no mean in SQL survives, becomes NULL
    "FLOAT": lambda values, part: pa.array(np.asarray(values[part], np.float32), from_pandas=True),
    "SMALLINT[]": _log_probabilities,
    "MAP(VARCHAR, VARCHAR)": _maps,
}
"""Type in SQL -> a field's values of some instances, as Arrow has them."""


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


def _next(db: duckdb.DuckDBPyConnection, table: str) -> int:
    return int(one(db, f"SELECT coalesce(max({table}), 0) + 1 FROM {table}"))
