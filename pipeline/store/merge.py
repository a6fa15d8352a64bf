"""Bringing results together: every fact of one store that another lacks, by its key.

What both have is left as it is in the receiving store. Where the same key stands for other figures, that is a conflict: it
is named, and the receiving store's own figures stay. Merging the same file again changes nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import duckdb

from pipeline.store.database import one
from pipeline.store.errors import InvalidRecordError
from pipeline.store.records.answer_records import Instances, InstanceValues, PredictionSet
from pipeline.store.records.columns import SETS, StoredTable, key_columns, sql_name
from pipeline.store.schema.definition import declarations, names

__all__ = ["MergeReport", "merge_tables", "own_tables"]

_MOST = 20
"""Conflicts of one kind that are named."""
_OWN_STATE = ("meta", "scoreboard_column")
_FIRST = ("run", "dataset", "device", "metric", "model")
"""What others refer to."""
_COMPARED = {
    "model": ("op", "op_version", "kind", "format", "params", "notes"),
    "dataset": ("task", "classes", "splits"),
    "device": ("description",),
}
"""Columns that the key of a row stands for: names and dates may differ."""
_IDENTITY = {
    "measurement": ("model_key", "target", "device", "dataset_key", "metric", "evidence_key"),
    "layer": ("model_key", "tensor"),
    "distribution": ("model_key", "place", "stage", "site"),
    "change": ("model_key", "reference_key", "place", "stage", "reference_stage", "site"),
    "finding": ("model_key", "reference_key", "kind", "site"),
    "sensitivity": ("evidence_key", "model_key", "candidate", "layer"),
    "allocation": ("model_key", "parent_key", "request"),
}
"""Columns of facts by which a row says what it is a figure of; runs and dates do not count."""
_FIGURES = {
    "measurement": ("value", "low", "high", "count"),
    "sensitivity": (
        "op", "params", "members", "position", "score", "kl", "kl_se", "loss", "loss_se", "flips", "flips_se",
        "weight_bytes", "compressed_weight_bytes", "macs", "before", "reason", "instances",
    ),
    "allocation": ("choices", "damage", "predicted_damage", "predicted_se", "measured_damage", "measured_se"),
}  # fmt: skip
"""The figures of such a row, where not all other columns are."""
_SETS = {
    "prediction_set": ("model_key", "target", "dataset_key", "split"),
    "value_set": ("model_key", "target", "device", "dataset_key", "metric", "evidence_key"),
}


@dataclass(slots=True)
class MergeReport:
    """The outcome of a merge."""

    added: dict[str, int] = field(default_factory=dict)
    """Table -> rows that were not there."""
    conflicts: list[str] = field(default_factory=list)
    """A line for each key that stands for other figures in the other store; many of a kind are counted."""

    @property
    def rows(self) -> int:
        """How many rows were added."""
        return sum(self.added.values())

    def add(self, other: MergeReport) -> None:
        """Add the outcome of another merge into the same store."""
        self.conflicts += other.conflicts
        for table, rows in other.added.items():
            self.added[table] = self.added.get(table, 0) + rows


def merge_tables(db: duckdb.DuckDBPyConnection, own: Sequence[str] = ()) -> MergeReport:
    """Copy what the attached database `source` has and the default database lacks. The caller begins and commits.

    Args:
        db: a connection whose default database is the receiving store, with the other one attached as `source`.
        own: tables of people's own stages that the source has, by their names.

    Raises:
        InvalidRecordError: if a table of the source has other columns, or its facts name what neither store has.
    """
    merge = _Merge(db)
    tables = declarations()
    rows_of_sets = {pair.rows.name for pair in SETS.values()}
    headers = {pair.header.name for pair in SETS.values()}
    plain = [name for name in tables if name not in {*_OWN_STATE, *rows_of_sets, *headers, *_FIRST, "ingestion"}]
    for name in (*_FIRST, *plain):
        merge.copy(tables[name])
    merge.copy_instances()
    for record in (PredictionSet, InstanceValues):
        merge.copy_sets(*SETS[record])
    for name in own:
        merge.copy_own(name)
    merge.copy(tables["ingestion"])
    return merge.report


def own_tables(db: duckdb.DuckDBPyConnection) -> list[str]:
    """Return the tables of the database `source` that are no part of the schema: of people's own stages."""
    query = "SELECT table_name FROM duckdb_tables() WHERE database_name = 'source' AND schema_name = 'main' ORDER BY 1"
    return [name for (name,) in db.execute(query).fetchall() if name not in names()]


class _Merge:
    """One merge."""

    def __init__(self, db: duckdb.DuckDBPyConnection) -> None:
        self._db = db
        self.report = MergeReport()
        query = "SELECT table_name, column_name FROM duckdb_columns() WHERE database_name = ? AND schema_name = 'main'"
        bases = "SELECT table_name FROM duckdb_tables() WHERE database_name = 'source' AND schema_name = 'main'"
        names = {name for (name,) in db.execute(bases).fetchall()}  # a view could say anything
        self._columns: dict[str, set[str]] = {}
        for table, column in db.execute(query, ["source"]).fetchall():
            if table in names:
                self._columns.setdefault(table, set()).add(column)

    def copy(self, table: StoredTable) -> None:
        """Copy the rows of a table whose key, or whose identity, is not there."""
        if not self._has(table):
            return
        name, key = table.name, sql_name(table.key)
        if name in _COMPARED:
            self._note_conflicts(name, (table.key,), _COMPARED[name])
        identity = _IDENTITY.get(name)
        condition = f"NOT EXISTS (FROM store.{name} AS own WHERE own.{key} = other.{key})"
        if identity is not None:
            figures = _FIGURES.get(name) or tuple(
                column for column in table.given if column not in (*identity, "recorded_at")
            )
            self._note_conflicts(name, identity, figures)
            condition += f" AND NOT EXISTS (FROM store.{name} AS own WHERE {_same('own', 'other', identity)})"
        if name == "metric":  # its digest holds the date: what a metric means is the same meaning whenever it was noted
            condition = f"NOT EXISTS (FROM store.{name} AS own WHERE {_same('own', 'other', table.given)})"
        if name == "evaluation_set":  # both are copied, so that no run adds figures to either by that name
            self._note_conflicts(
                name,
                ("dataset_key", "name"),
                ("identity",),
                "another set by the same name; figures of both are here now",
            )
        self._check_references(table)
        self._insert(name, f"SELECT other.* FROM source.{name} AS other WHERE {condition}")

    def copy_instances(self) -> None:
        """Copy the instances of splits that are not there, and note which set of the source is which here."""
        header, rows = SETS[Instances]
        if not (self._has(header) and self._has(rows)):
            raise InvalidRecordError(
                "The other results hold no tables of instances: they were not written by this program"
            )
        identity = header.unique
        self._note_conflicts(header.name, identity, ("size",))
        self._number(header.name, identity)
        fresh = f"source.{header.name} AS other JOIN numbers_{header.name} USING ({header.name}) WHERE is_new"
        self._insert(header.name, f"SELECT other.* REPLACE (number AS {header.name}) FROM {fresh}")
        self._copy_rows(header, rows)

    def copy_sets(self, header: StoredTable, rows: StoredTable) -> None:
        """Copy whole sets of many instances whose identity is not there."""
        if not (self._has(header) and self._has(rows)):
            return
        name, identity = header.name, _SETS[header.name]
        self._note_conflicts(name, identity, ("fact",))
        self._check_references(header)
        self._number(name, identity)
        fresh = (
            f"source.{name} AS other JOIN numbers_{name} AS own USING ({name}) "
            f"JOIN numbers_instance_set AS sets ON sets.instance_set = other.instance_set WHERE own.is_new"
        )
        replaced = f"other.* REPLACE (own.number AS {name}, sets.number AS instance_set)"
        added = self._insert(name, f"SELECT {replaced} FROM {fresh}")
        if added != int(one(self._db, f"SELECT count(*) FROM numbers_{name} WHERE is_new")):
            raise InvalidRecordError(f"A {name} of the other results is of instances that they do not hold")
        self._copy_rows(header, rows)

    def copy_own(self, name: str) -> None:
        """Copy a table of a person's own stage, which is made as it is in the source if it is not here."""
        quoted = sql_name(name)
        if "fact" not in self._columns.get(name, ()):
            return
        query = "SELECT column_name FROM duckdb_columns() WHERE database_name = 'store' AND table_name = ?"
        present = {column for (column,) in self._db.execute(query, [name]).fetchall()}
        if present and present != self._columns[name]:
            raise InvalidRecordError(f"The table '{name}' of a stage of one's own has other columns in the two results")
        if not present:
            self._db.execute(f"CREATE TABLE store.{quoted} AS FROM source.{quoted} LIMIT 0")
            self._db.execute(f"ALTER TABLE store.{quoted} ADD PRIMARY KEY (fact)")
        self._insert(name, f"FROM source.{quoted} AS other WHERE fact NOT IN (SELECT fact FROM store.{quoted})")

    def _copy_rows(self, header: StoredTable, rows: StoredTable) -> None:
        number = header.name
        fresh = f"source.{rows.name} AS other JOIN numbers_{number} USING ({number}) WHERE is_new"
        self._insert(rows.name, f"SELECT other.* REPLACE (number AS {number}) FROM {fresh}")

    def _number(self, name: str, identity: Sequence[str]) -> None:
        """Make a table: number of a set in the source -> its number here, and whether it is new here."""
        self._db.execute(
            f"""
            CREATE OR REPLACE TEMP TABLE numbers_{name} AS
            SELECT other.{name}, own.{name} IS NULL AS is_new,
                   coalesce(own.{name}, (SELECT coalesce(max({name}), 0) FROM store.{name})
                            + row_number() OVER (PARTITION BY own.{name} IS NULL ORDER BY other.{name})) AS number
            FROM source.{name} AS other
            LEFT JOIN (SELECT {", ".join(identity)}, max({name}) AS {name} FROM store.{name} GROUP BY ALL) AS own
                 ON {_same("own", "other", identity)}
            QUALIFY row_number() OVER (PARTITION BY {", ".join(f"other.{each}" for each in identity)}
                                       ORDER BY other.{name} DESC) = 1
            """
        )

    def _insert(self, name: str, query: str) -> int:
        added = int(one(self._db, f"INSERT INTO store.{sql_name(name)} BY NAME {query}"))
        if added:
            self.report.added[name] = self.report.added.get(name, 0) + added
        return added

    def _has(self, table: StoredTable) -> bool:
        """Whether the source has the table; older stores lack some.

        Raises:
            InvalidRecordError: if it has other columns.
        """
        present = self._columns.get(table.name)
        if present is not None and present != {column.name for column in table.columns}:
            raise InvalidRecordError(
                f"The table '{table.name}' of the other results has other columns than this program's"
            )
        return present is not None

    def _check_references(self, table: StoredTable) -> None:
        for column, referred in table.refers:
            key = key_columns()[referred]
            query = f"""
                SELECT any_value({column}) FROM source.{table.name} AS other
                WHERE {column} <> '' AND NOT EXISTS (FROM store.{referred} WHERE {referred}.{key} = other.{column})
            """
            missing = one(self._db, query)
            if missing is not None:
                raise InvalidRecordError(
                    f"A {table.name} of the other results names the {referred} '{missing}', which neither has"
                )

    def _note_conflicts(
        self,
        name: str,
        identity: Sequence[str],
        figures: Sequence[str],
        words: str = "other figures for the same key; those that were here stay",
    ) -> None:
        """Name the rows that both have by their identity, with other figures."""
        differs = " OR ".join(f"own.{sql_name(each)} IS DISTINCT FROM other.{sql_name(each)}" for each in figures)
        # of several rows of one identity, in either store, equal ones are no conflict
        same = f"FROM store.{name} AS own WHERE {_same('own', 'other', identity)}"
        columns = ", ".join(f"other.{sql_name(each)}" for each in identity)
        query = f"""
            SELECT DISTINCT {columns} FROM source.{name} AS other
            WHERE EXISTS ({same}) AND NOT EXISTS ({same} AND NOT ({differs})) ORDER BY ALL
        """
        rows = self._db.execute(query).fetchall()
        for row in rows[:_MOST]:
            values = zip(identity, row, strict=True)
            place = ", ".join(f"{column.removesuffix('_key')} {_cut(value)}" for column, value in values if value)
            self.report.conflicts.append(f"{name}: {place}: {words}")
        if len(rows) > _MOST:
            self.report.conflicts.append(f"{name}: {len(rows) - _MOST} more such")


def _same(one_table: str, other: str, columns: Sequence[str]) -> str:
    return " AND ".join(
        f"{one_table}.{sql_name(each)} IS NOT DISTINCT FROM {other}.{sql_name(each)}" for each in columns
    )


def _cut(value: object) -> str:
    text = str(value)
    return text[:12] if len(text) == 64 else text  # noqa: PLR2004 - hex digits of a key
