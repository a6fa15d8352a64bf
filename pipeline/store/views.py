"""The public views over a store that may come from anywhere: made from this program's own text, never taken from the file.

A file could have a view, a macro or a type of the name of one of ours, that does something else. The views of this
program are made in the database in memory, over the tables of the attached file, and everything is asked there.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from functools import cache
from pathlib import Path

import duckdb

from pipeline.store.database import connect
from pipeline.store.errors import ForeignFileError
from pipeline.store.schema import definition, scoreboard

__all__ = ["make_views", "refuse_hidden", "settle_views"]

Columns = dict[str, dict[str, str]]
"""Table -> column -> type."""
_COLUMNS = """
SELECT table_name, column_name, data_type
FROM system.main.duckdb_columns() SEMI JOIN system.main.duckdb_tables() USING (database_oid, table_oid)
WHERE database_name = ? AND schema_name = 'main' AND NOT is_generated
"""


_HIDDEN = """
SELECT 'function', function_name FROM system.main.duckdb_functions() WHERE database_name = $1 AND NOT internal
UNION ALL
SELECT 'type', type_name FROM system.main.duckdb_types() WHERE database_name = $1 AND NOT internal
UNION ALL
SELECT 'trigger', trigger_name FROM system.main.duckdb_triggers() WHERE database_name = $1
ORDER BY ALL LIMIT 1
"""
_ALL_VIEWS = """
SELECT schema_name, view_name FROM system.main.duckdb_views() WHERE database_name = ? AND NOT internal
"""
_VIEWS = """
SELECT view_name, sql FROM system.main.duckdb_views()
WHERE database_name = ? AND schema_name = 'main' AND NOT internal
"""


def make_views(db: duckdb.DuckDBPyConnection, path: Path, name: str = "results") -> None:
    """Make the views of this program over the store that is attached as `name`. A table that it lacks is an empty one.

    Raises:
        ForeignFileError: if a table is not what this program would have made, or is something else than a table.
    """
    present, needed = _checked_columns(db, path, name), _needed()[0]
    statements = [
        f"CREATE VIEW {table} AS FROM {name}.main.{table}" if table in present else definition.tables()[table]
        for table in needed
    ]
    for statement in (*statements, *definition.views()):
        db.execute(statement)
    names = f"{name}.main.scoreboard_column" if "scoreboard_column" in present else "scoreboard_column"
    db.execute(scoreboard.definition(scoreboard.scoreboard_columns(db, names)))


def settle_views(db: duckdb.DuckDBPyConnection, path: Path) -> None:
    """Bring a file that is to be written to, attached as `store` and the default database, to the schema of this program.

    Tables that it lacks are made, and so are views that are not what this program makes. Views of other names go: what is
    published must not run what somebody else wrote.

    Raises:
        ForeignFileError: if it holds functions, types or triggers, or other tables under the names of ours.
    """
    db.execute("USE memory")  # the file's own functions would take the place of DuckDB's
    refuse_hidden(db, path)
    _checked_columns(db, path, "store")
    own, expected = _views(db, "store"), _needed()[1]
    _drop_views(db, "store", {*expected, "scoreboard"})
    db.execute("USE store")
    settled = own.items() >= expected.items() and own.get("scoreboard") == _scoreboard(
        scoreboard.scoreboard_columns(db)
    )
    definition.update(db, settled=settled)


def refuse_hidden(db: duckdb.DuckDBPyConnection, path: Path, name: str = "store") -> None:
    """Refuse a file that holds what runs by itself.

    Raises:
        ForeignFileError: naming the function, type or trigger.
    """
    hidden = db.execute(_HIDDEN, [name]).fetchall()
    if hidden:
        kind, what = hidden[0]
        raise ForeignFileError(
            f"{path} holds the {kind} '{what}', and no store of this program holds any. Name another file."
        )


def _drop_views(db: duckdb.DuckDBPyConnection, name: str, names: set[str]) -> None:
    """Drop all views of an attached file but those of some names in its main schema."""
    for schema, view in db.execute(_ALL_VIEWS, [name]).fetchall():
        if schema != "main" or view not in names:
            place = ".".join(f'"{part}"' for part in (name, *(part.replace('"', '""') for part in (schema, view))))
            db.execute(f"DROP VIEW {place}")


def _scoreboard(columns: Sequence[scoreboard.Column]) -> str:
    """Return DuckDB's text of the scoreboard of some metrics."""
    with closing(_template().cursor()) as db:
        db.execute(scoreboard.definition(columns))
        return _views(db, "memory")["scoreboard"]


def _views(db: duckdb.DuckDBPyConnection, name: str) -> dict[str, str]:
    return dict(db.execute(_VIEWS, [name]).fetchall())


@cache
def _needed() -> tuple[Columns, dict[str, str]]:
    """The tables and views that this program would make, and how DuckDB writes the views."""
    with closing(_template().cursor()) as db:
        return _columns(db, "memory"), _views(db, "memory")


@cache
def _template() -> duckdb.DuckDBPyConnection:
    """An empty store in memory."""
    db = connect(threads=1)
    for statement in (*definition.tables().values(), *definition.views()):
        db.execute(statement)
    return db


def _checked_columns(db: duckdb.DuckDBPyConnection, path: Path, name: str) -> Columns:
    present, needed = _columns(db, name), _needed()[0]
    for table, columns in needed.items():
        if table in present and not columns.items() <= present[table].items():
            raise ForeignFileError(_refusal(path, table, columns, present[table]))
    impostors = _without_table(db, name, needed.keys() - present.keys())
    if impostors:
        raise ForeignFileError(
            f"{path}: '{impostors[0]}' is not a table, as in every store of this program. Name another file."
        )
    return present


def _columns(db: duckdb.DuckDBPyConnection, name: str) -> Columns:
    tables: Columns = {}
    for table, column, kind in db.execute(_COLUMNS, [name]).fetchall():
        tables.setdefault(table, {})[column] = kind
    return tables


def _without_table(db: duckdb.DuckDBPyConnection, name: str, tables: set[str]) -> list[str]:
    """Names of tables of ours that something else in the file has: a view, or a table of generated columns alone."""
    query = (
        "SELECT DISTINCT table_name FROM system.main.duckdb_columns() WHERE database_name = ? AND schema_name = 'main'"
    )
    return sorted({table for (table,) in db.execute(query, [name]).fetchall()} & tables)


def _refusal(path: Path, table: str, columns: dict[str, str], present: dict[str, str]) -> str:
    column = next(column for column, kind in columns.items() if present.get(column) != kind)
    is_there = f"is {present[column]}, not {columns[column]}" if column in present else "is missing"
    return f"{path}: column '{column}' of its table '{table}' {is_there}: no store of this program. Name another file."
