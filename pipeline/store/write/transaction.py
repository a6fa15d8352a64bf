"""One call of `Store.write`: records sorted into tables, checked against the store, inserted."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Any

import duckdb
import pyarrow as pa

from pipeline.core.errors import reason
from pipeline.store.database import one
from pipeline.store.errors import InvalidRecordError
from pipeline.store.queries.metrics import stored_metrics
from pipeline.store.records.columns import SETS, TABLES, StoredTable, key_columns
from pipeline.store.records.run_records import Instances, InstanceValues, Metric, Model, PredictionSet, Record, Step
from pipeline.store.write import bulk_insert
from pipeline.store.write.rows import Row, record_digest, row


class Incoming:
    """Records of one transaction."""

    def __init__(self, records: Iterable[Record]) -> None:
        in_order = sorted(TABLES, key=lambda kind: bool(TABLES[kind].refers))  # what others refer to comes before them
        self._rows: dict[type, dict[str, Row]] = {kind: {} for kind in in_order}
        self._instances: list[Instances] = []
        self._predictions: list[PredictionSet] = []
        self._values: list[InstanceValues] = []
        for record in records:
            self._sort(record)

    def __bool__(self) -> bool:
        return any(self._rows.values()) or bool(self._instances or self._predictions or self._values)

    @property
    def defines_metrics(self) -> bool:
        """Whether a metric that is new, or means something new, is among them."""
        return bool(self._rows[Metric])

    def insert(self, db: duckdb.DuckDBPyConnection, now: datetime) -> int:
        """Insert what the default database lacks; returns the number of rows. The caller commits."""
        _place(db, self._rows[Model])
        _drop_known_metrics(db, self._rows[Metric], now)
        added = sum(_insert(db, TABLES[kind], rows, now) for kind, rows in self._rows.items() if rows)
        added += _rename(db, self._rows[Step])
        added += sum(bulk_insert.insert_instances(db, record) for record in self._instances)
        added += sum(bulk_insert.insert_predictions(db, record, now) for record in self._predictions)
        return added + _insert_values(db, self._values, now)

    def _sort(self, record: Record) -> None:
        if isinstance(record, Instances):
            self._instances.append(record)
        elif isinstance(record, PredictionSet):
            self._predictions.append(record)
        elif isinstance(record, InstanceValues):
            self._values.append(record)
        else:
            table = TABLES.get(type(record))
            if table is None:
                raise InvalidRecordError(
                    f"{type(record).__name__} is no record of the store: declare its table by @own_table"
                )
            try:
                values = row(record, table)
            except (AttributeError, TypeError, ValueError, RecursionError) as error:
                raise InvalidRecordError(f"A {table.name} cannot be written: {reason(error)}") from None
            self._rows[type(record)].setdefault(values[table.key], values)


def _insert(db: duckdb.DuckDBPyConnection, table: StoredTable, rows: dict[str, Row], now: datetime) -> int:
    listed = list(rows.values())
    columns: dict[str, Any] = {name: _column(table.name, name, [item[name] for item in listed]) for name in listed[0]}
    if table.recorded:
        columns["recorded_at"] = pa.array([now] * len(listed))
    _make(db, table)
    added = bulk_insert.insert(db, table.name, columns)
    if added:
        for column, referred in table.refers:
            _check(db, table.name, column, referred, {item[column] for item in listed})
    return added


def _make(db: duckdb.DuckDBPyConnection, table: StoredTable) -> None:
    """Make a table that is no part of the schema, if it is missing."""
    if not table.own:
        return
    query = "SELECT column_name FROM duckdb_columns() WHERE database_name = current_database() AND table_name = ?"
    present = {column for (column,) in db.execute(query, [table.name]).fetchall()}
    if present and present != {column.name for column in table.columns}:
        raise InvalidRecordError(
            f"The store has a table '{table.name}' with other columns ({', '.join(sorted(present))}) than its records have: "
            "give the new one another name"
        )
    if not present:
        for statement in (table.creation, *table.comments):
            db.execute(statement)


def _insert_values(db: duckdb.DuckDBPyConnection, records: list[InstanceValues], now: datetime) -> int:
    if not records:
        return 0
    added = bulk_insert.insert_values(db, records, now)
    for column, referred in SETS[InstanceValues].header.refers:
        _check(db, "value set", column, referred, {getattr(record, column) for record in records})
    return added


def _column(table: str, name: str, values: list[Any]) -> Any:
    try:
        return pa.array(values)
    except (pa.ArrowException, OverflowError, TypeError, ValueError) as error:
        raise InvalidRecordError(f"A {table} has a {name} that does not fit the others: {error}") from None


def _check(db: duckdb.DuckDBPyConnection, table: str, column: str, referred: str, values: set[str]) -> None:
    names = sorted(value for value in values if value)
    key = key_columns()[referred]
    query = f"SELECT value FROM (SELECT unnest(?::VARCHAR[]) AS value) ANTI JOIN {referred} ON value = {referred}.{key}"
    missing = one(db, query, names)
    if missing is not None:
        raise InvalidRecordError(
            f"A {table} names the {referred} '{missing}', which is neither in the store nor written with it."
        )


def _place(db: duckdb.DuckDBPyConnection, models: dict[str, Row]) -> None:
    """Give every model its root and depth, which follow from its parent's."""
    outside = {model["parent_key"] for model in models.values()} - set(models) - {None}
    query = "SELECT model_key, root_key, depth FROM model WHERE model_key IN (SELECT unnest(?::VARCHAR[]))"
    places: dict[str, tuple[str, int]] = {}
    if outside:
        places = {key: (root, depth) for key, root, depth in db.execute(query, [sorted(outside)]).fetchall()}
    for key, model in models.items():
        for ancestor in reversed(_unplaced(key, models, places)):
            parent = models[ancestor]["parent_key"]
            root, depth = places[parent] if parent else (ancestor, -1)
            places[ancestor] = (root, depth + 1)
        model["root_key"], model["depth"] = places[key]


def _unplaced(key: str, models: dict[str, Row], places: dict[str, tuple[str, int]]) -> list[str]:
    """The model and those of its ancestors that have no place yet, nearest first."""
    chain: dict[str, None] = {}
    child, at = key, key
    while at not in places:
        if at not in models:
            raise InvalidRecordError(
                f"Model '{models[child]['name']}' names the parent {at[:12]}, which is neither in the store nor written "
                "with it."
            )
        if at in chain:
            raise InvalidRecordError(f"Model '{models[at]['name']}' is its own ancestor.")
        chain[at] = None
        parent = models[at]["parent_key"]
        if parent is None:
            break
        child, at = at, parent
    return list(chain)


def _rename(db: duckdb.DuckDBPyConnection, steps: dict[str, Row]) -> int:
    """Call models as their recipe calls them now: its branches may have other names than when they were made."""
    model_steps = [
        step for step in steps.values() if step["job"] == "operation" and step["outcome"] in ("done", "cached")
    ]
    if not model_steps:
        return 0
    columns = [[step[name] for step in model_steps] for name in ("run_id", "model_key", "path")]
    return int(one(db, _RENAME, *columns))


_RENAME = """
UPDATE model SET name = now.path
FROM (SELECT unnest($1) AS run_id, unnest($2) AS model_key, unnest($3) AS path) AS now JOIN run USING (run_id)
WHERE model.model_key = now.model_key AND model.recipe = run.recipe AND model.name <> now.path
"""


def _drop_known_metrics(db: duckdb.DuckDBPyConnection, metrics: dict[str, Row], now: datetime) -> None:
    """Leave only definitions that differ from the ones in force: going back to an older one is a new fact."""
    if not metrics:
        return
    present = stored_metrics(db)
    for fact, metric in list(metrics.items()):
        known = present.get(metric["metric"])
        if known is not None and TABLES[Metric].values(known).items() <= metric.items():
            del metrics[fact]
        else:
            metric["fact"] = record_digest({**metric, "recorded_at": now})
