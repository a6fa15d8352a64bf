"""DuckDB files: attach, detach, and errors that say what to do."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb

from pipeline.store.errors import (
    DamagedFileError,
    EmptyResultsError,
    ForeignFileError,
    NewerSchemaError,
    NoResultsError,
    OlderSchemaError,
    StrayLogError,
    UnreadableResultsError,
)

APPLICATION = "bouillon"
DatabaseError = duckdb.Error
"""Anything that DuckDB refuses."""
SCHEMA_VERSION = 2
_MAGIC = slice(8, 12)
_QUOTED = re.compile(r'"[^"]*"')
_WITHOUT_EXTENSIONS: dict[str, str | bool | int | float | list[str]] = {
    "autoinstall_known_extensions": False,
    "autoload_known_extensions": False,
    "allow_community_extensions": False,
}
_META = """
SELECT column_name, data_type
FROM system.main.duckdb_columns() SEMI JOIN system.main.duckdb_tables() USING (database_oid, table_oid)
WHERE database_name = ? AND schema_name = 'main' AND table_name = 'meta' AND NOT is_generated
"""
_FILES_OF_A_DATABASE = ("", ".wal", ".wal.checkpoint", ".wal.recovery")
_ROW_GROUP = 16384
"""Rows that are compressed together. An append rewrites the last, unfilled group: with DuckDB's 122,880, writing the
predictions of 50,000 instances with 1,000 classes each took twice the time."""


@dataclass(frozen=True, slots=True)
class Stamp:
    """The identity that a store states."""

    store_id: str
    schema_version: int
    revision: int
    """Grows with every transaction that added a fact."""


def quoted(path: Path) -> str:
    """A path as an SQL literal (ATTACH takes no parameters)."""
    return "'" + str(path).replace("'", "''") + "'"


def connect(*files: Path, threads: int | None = None) -> duckdb.DuckDBPyConnection:
    """A connection to nothing, that `files` can be attached to, and no others.

    A store may come from anywhere, and its views and macros may say anything. So whatever is asked over this connection
    reads and writes no other file, reaches no network, loads no extension, and cannot change that.

    Making one costs 15 ms of CPU time, attaching a file less than 1 ms: keep it.
    """
    db = duckdb.connect(":memory:", config={**_WITHOUT_EXTENSIONS, **({} if threads is None else {"threads": threads})})
    # of a link, DuckDB takes the log of the file itself
    by_name = {path for file in files for path in (file, file.resolve())}
    paths = ", ".join(quoted(Path(f"{file}{end}")) for file in by_name for end in _FILES_OF_A_DATABASE)
    db.execute(f"SET allowed_paths = [{paths}]; SET enable_external_access = false; SET lock_configuration = true")
    return db


def one(db: duckdb.DuckDBPyConnection, query: str, *values: object) -> Any:
    """Return the first value of the first row, or None.

    Not `fetchone()`: DuckDB 2 refuses further work on a connection while a result is not read to its end.
    """
    result = db.execute(query, values).fetchall()
    return result[0][0] if result else None


@contextmanager
def attached(db: duckdb.DuckDBPyConnection, path: Path, *, read_only: bool) -> Iterator[None]:
    """Make `path` the default database of `db`, for the length of the block; then let other processes have it.

    After an exception, close `db`: only that undoes an open transaction and lets go of the file.

    Args:
        db: a connection to memory.
        path: the database file.
        read_only: whether it may be written.
    """
    mode = "READ_ONLY" if read_only else f"ROW_GROUP_SIZE {_ROW_GROUP}"
    db.execute(f"ATTACH {quoted(path)} AS store (TYPE duckdb, {mode})")
    db.execute("USE store")
    yield
    db.execute("USE memory")
    db.execute("DETACH store")


def attach_results(db: duckdb.DuckDBPyConnection, path: Path, name: str = "results") -> Stamp:
    """Attach a store for reading, after looking at it.

    Args:
        db: any connection.
        path: the results file.
        name: what the database is called in queries.

    Raises:
        StoreError: the file is missing, empty, damaged, unreadable, or not of this program; says which.
    """
    _check_is_duckdb(path)
    try:
        db.execute(f"ATTACH {quoted(path)} AS {name} (TYPE duckdb, READ_ONLY)")
        stamp = read_stamp(db, name)
    except duckdb.Error as error:
        raise unreadable(path, error) from None
    if stamp is None:
        raise ForeignFileError(f"{path} is a DuckDB file, but not one of Bouillon's. Name another file.")
    return stamp


def unreadable(path: Path, error: duckdb.Error) -> UnreadableResultsError:
    """Return DuckDB's error about a store as one sentence with what to do."""
    log = write_ahead_log(path)
    reason = f"cannot be read by DuckDB {duckdb.__version__}: {_first_line(error)}"
    if is_damage(str(error)) and log.exists():
        move = f"mv {shlex.quote(str(log))} {shlex.quote(f'{log}.aside')}"
        return StrayLogError(f"{path} {reason}. Another program left {log.name} beside it: move that away: {move}")
    kind = DamagedFileError if is_damage(str(error)) else UnreadableResultsError
    return kind(f"{path} is damaged or {reason}. Move it away; the next run publishes it again.")


def write_ahead_log(database: Path) -> Path:
    """DuckDB's write-ahead log of a file: what it has written, but not yet put into the file itself."""
    return database.with_name(f"{database.name}.wal")


class Inspector:
    """Looks at some stores, one after the other, with one connection: making one costs more than a look."""

    def __init__(self, *files: Path) -> None:
        self._files = files
        self._db: duckdb.DuckDBPyConnection | None = None

    def look(self, path: Path) -> Stamp:
        """Return what the store at `path` says of itself, or raise the `StoreError` that says what is wrong with it."""
        if self._db is None:
            self._db = connect(*self._files, threads=1)
        try:
            stamp = attach_results(self._db, path)
            self._db.execute("DETACH results")
        except (ForeignFileError, UnreadableResultsError):
            self.close()
            raise
        return stamp

    def close(self) -> None:
        """Let go of the connection; another look makes a new one."""
        if self._db is not None:
            self._db.close()
            self._db = None


def read_stamp(db: duckdb.DuckDBPyConnection, name: str) -> Stamp | None:
    """Return the stamp of an attached file; None if it is not a store. A view called `meta` is not asked."""
    columns = dict(db.execute(_META, [name]).fetchall())
    if columns.keys() != {"key", "value"}:
        return None
    meta = dict(db.execute(f"SELECT key, value FROM {name}.main.meta").fetchall())
    if meta.get("application") != APPLICATION:
        return None
    try:
        return Stamp(meta["store_id"], int(meta["schema_version"]), int(meta["revision"]))
    except (KeyError, ValueError):
        return None


def check_version(path: Path, stamp: Stamp) -> None:
    """Refuse a schema that this program does not know, with the command to type."""
    if stamp.schema_version < SCHEMA_VERSION:
        raise OlderSchemaError(
            f"{path} has schema version {stamp.schema_version}, this program reads {SCHEMA_VERSION}. "
            f"Migrate it: python -m pipeline migrate --results {shlex.quote(str(path))}"
        )
    if stamp.schema_version > SCHEMA_VERSION:
        raise NewerSchemaError(
            f"{path} has schema version {stamp.schema_version}, this program reads {SCHEMA_VERSION}: "
            "it was written by a newer Bouillon. Update this one: git pull && scripts/setup"
        )


def _check_is_duckdb(path: Path) -> None:
    if not path.exists():
        raise NoResultsError(f"No results at {path}. Make some: python -m pipeline recipe=quickstart")
    if not path.is_file():
        raise UnreadableResultsError(f"{path} is not a file. Name the results file itself.")
    try:
        with path.open("rb") as file:
            head = file.read(_MAGIC.stop)
    except OSError as error:
        raise UnreadableResultsError(f"{path} cannot be read: {error.strerror}. Check its permissions.") from None
    if not head:
        raise EmptyResultsError(f"{path} is empty. Remove it; the next run publishes it again.")
    if head[_MAGIC] != b"DUCK":
        raise DamagedFileError(f"{path} is not a DuckDB file. Name another file, or move it away.")


def is_damage(text: str) -> bool:
    """Whether an error of DuckDB's is about what is in a file, not about who may have it.

    Names of files stand in it too, in quotes, and may be anything; who has the lock is named without.
    """
    if "Could not set lock" in text:
        return False
    signs = "not a valid DuckDB", "Could not read enough bytes", "Corrupt", "checksum", "WAL", "deserialize"
    message = _QUOTED.sub("", text).lower()
    return any(sign.lower() in message for sign in signs)


def _first_line(error: Exception) -> str:
    return str(error).splitlines()[0] if str(error) else type(error).__name__
