"""Making the tables and views: the SQL files of this package, in the order of their numbers."""

from __future__ import annotations

import hashlib
import re
import uuid
from functools import cache
from importlib.resources import files

import duckdb

from pipeline.store.database import APPLICATION, SCHEMA_VERSION, one
from pipeline.store.schema import scoreboard

_COMMENT_LINE = re.compile(r"^--.*$", re.MULTILINE)
_END = re.compile(r";\s*$", re.MULTILINE)
_TABLE = re.compile(r"CREATE TABLE IF NOT EXISTS (\w+)")


@cache
def scripts() -> tuple[str, ...]:
    """The text of every SQL file."""
    folder = files("pipeline.store").joinpath("sql")
    scripts = sorted((file for file in folder.iterdir() if file.name.endswith(".sql")), key=lambda file: file.name)
    return tuple(file.read_text() for file in scripts)


@cache
def tables() -> dict[str, str]:
    """Name of every table -> the statement that makes it."""
    return {match[1]: statement for statement in _statements() if (match := _TABLE.match(statement))}


@cache
def names() -> frozenset[str]:
    """Names of all tables and views."""
    pattern = re.compile(r"CREATE (?:TABLE IF NOT EXISTS|OR REPLACE VIEW) (\w+)")
    return frozenset(match[1] for statement in _statements() if (match := pattern.match(statement))) | {"scoreboard"}


@cache
def views() -> tuple[str, ...]:
    """The statements that make the views, but for `scoreboard`, in an order in which they can be made."""
    return tuple(statement for statement in _statements() if statement.startswith("CREATE OR REPLACE VIEW "))


@cache
def _statements() -> tuple[str, ...]:
    text = _COMMENT_LINE.sub("", "\n".join(scripts()))
    return tuple(statement.strip() for statement in _END.split(text) if statement.strip())


@cache
def schema_fingerprint() -> str:
    """Digest of the SQL files: where it differs from a store's, tables were added or views changed."""
    return hashlib.sha256("\n".join(scripts()).encode()).hexdigest()


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
    for script in scripts():
        db.execute(script)
