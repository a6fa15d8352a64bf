"""Making the tables, which their records declare, and the views, which are SQL files in the order of their numbers.

A column of a view that is simply a column of a table has that one's comment; the files comment on the others.
"""

from __future__ import annotations

import hashlib
import re
import uuid
from functools import cache
from importlib.resources import files

import duckdb

from pipeline.store.database import APPLICATION, SCHEMA_VERSION, one
from pipeline.store.records import run_records, store_records  # noqa: F401 - they declare the tables
from pipeline.store.records.columns import SETS, TABLES, StoredTable, sql_text
from pipeline.store.schema import scoreboard
from pipeline.store.schema.origins import view_origins

_COMMENT_LINE = re.compile(r"^--.*$", re.MULTILINE)
_END = re.compile(r";\s*$", re.MULTILINE)
_VIEW = re.compile(r"CREATE OR REPLACE VIEW (\w+) AS\s(.*)", re.DOTALL)


@cache
def scripts() -> tuple[str, ...]:
    """The text of every SQL file."""
    folder = files("pipeline.store").joinpath("sql")
    scripts = sorted((file for file in folder.iterdir() if file.name.endswith(".sql")), key=lambda file: file.name)
    return tuple(file.read_text() for file in scripts)


@cache
def declarations() -> dict[str, StoredTable]:
    """Name of every table of the schema -> its declaration. Tables of people's own stages are no part of it."""
    tables = [table for table in TABLES.values() if not table.own]
    return {table.name: table for table in (*tables, *(table for pair in SETS.values() for table in pair))}


def tables() -> dict[str, str]:
    """Name of every table -> the statement that makes it."""
    return {name: table.creation for name, table in declarations().items()}


@cache
def names() -> frozenset[str]:
    """Names of all tables and views."""
    return frozenset(declarations()) | frozenset(_queries()) | {"scoreboard"}


@cache
def views() -> tuple[str, ...]:
    """The statements that make the views, but for `scoreboard`, in an order in which they can be made."""
    return tuple(statement for statement in _statements() if statement.startswith("CREATE OR REPLACE VIEW "))


@cache
def _queries() -> dict[str, str]:
    matches = [_VIEW.fullmatch(statement) for statement in views()]
    return {match[1]: match[2] for match in matches if match}


@cache
def _statements() -> tuple[str, ...]:
    text = _COMMENT_LINE.sub("", "\n".join(scripts()))
    return tuple(statement.strip() for statement in _END.split(text) if statement.strip())


@cache
def schema_fingerprint() -> str:
    """Digest of all that makes the schema: where it differs from a store's, tables were added, or views or comments changed."""
    comments = [statement for table in declarations().values() for statement in table.comments]
    return hashlib.sha256("\n".join((*tables().values(), *comments, *scripts())).encode()).hexdigest()


def create(db: duckdb.DuckDBPyConnection) -> None:
    """Make a new store in the (empty) default database."""
    db.execute("BEGIN")
    _apply(db)
    db.execute(
        "INSERT INTO meta VALUES ('application', ?), ('store_id', ?), ('schema_version', ?), ('revision', '0'), "
        "('schema', ?)",
        [APPLICATION, str(uuid.uuid4()), str(SCHEMA_VERSION), schema_fingerprint()],
    )
    scoreboard.refresh(db)
    db.execute("COMMIT")


def update(db: duckdb.DuckDBPyConnection, *, settled: bool) -> None:
    """Add the tables and renew the views that this program has and a store of the same version lacks.

    `settled`: the views are known to be this program's.
    """
    if settled and one(db, "SELECT value FROM meta WHERE key = 'schema'") == schema_fingerprint():
        return
    db.execute("BEGIN")
    renew(db)
    db.execute("COMMIT")


def renew(db: duckdb.DuckDBPyConnection) -> None:
    """Make the tables that are missing, and every view anew, within the caller's transaction."""
    _apply(db)
    db.execute("DELETE FROM meta WHERE key = 'scoreboard'")
    scoreboard.refresh(db)
    db.execute("UPDATE meta SET value = ? WHERE key = 'schema'", [schema_fingerprint()])
    count_revision(db)


def count_revision(db: duckdb.DuckDBPyConnection) -> None:
    """Note that the content has changed."""
    db.execute("UPDATE meta SET value = (value::BIGINT + 1)::VARCHAR WHERE key = 'revision'")


def _apply(db: duckdb.DuckDBPyConnection) -> None:
    for script in (*tables().values(), *scripts(), "; ".join(_comments(db))):
        db.execute(script)


def _comments(db: duckdb.DuckDBPyConnection) -> list[str]:
    """The statements that give the views' columns the comments of the tables' columns that they are."""
    columns = {name: [column.name for column in table.columns] for name, table in declarations().items()}
    meaning = {
        (name, column.name): column.comment for name, table in declarations().items() for column in table.columns
    }
    try:
        views = view_origins(db, columns, _queries())
    except LookupError:  # a newer DuckDB: a store without these comments is better than none
        return []
    return [
        f"COMMENT ON COLUMN {view}.{column} IS {sql_text(meaning[origin])}"
        for view, origins in views.items()
        for column, origin in origins.items()
        if origin is not None
    ]
