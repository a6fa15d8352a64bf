"""Read-only access to published results, without what writes them.

    db = open_results(Path("results.duckdb"))
    db.sql("FROM scoreboard")

Open readers never hinder a run, and keep seeing the results as they were when they opened them.
"""

from __future__ import annotations

from pathlib import Path

import duckdb

from pipeline.store.database import attach_results, check_version, connect, unreadable
from pipeline.store.errors import (
    EmptyResultsError,
    ForeignFileError,
    NewerSchemaError,
    NoResultsError,
    OlderSchemaError,
    SchemaVersionError,
    StoreError,
    UnreadableResultsError,
)
from pipeline.store.probabilities import (
    LogProbabilities,
    LogRows,
    all_probabilities,
    js_divergence,
    kl_divergence,
    log_probabilities,
    margin,
)
from pipeline.store.views import make_views

Connection = duckdb.DuckDBPyConnection

__all__ = [
    "Connection",
    "EmptyResultsError",
    "ForeignFileError",
    "LogProbabilities",
    "LogRows",
    "NewerSchemaError",
    "NoResultsError",
    "OlderSchemaError",
    "SchemaVersionError",
    "StoreError",
    "UnreadableResultsError",
    "all_probabilities",
    "js_divergence",
    "kl_divergence",
    "log_probabilities",
    "margin",
    "open_results",
    "snapshot_id",
]


def open_results(path: Path) -> Connection:
    """Open the results as they are now; raises a `StoreError` whose text says what to do.

    The file is data: nothing but its tables is used, and nothing outside of it can be reached through the connection.
    The views are this program's own, in the database in memory; the file is attached as `results`.

    Not `connect(path, read_only=True)`: DuckDB keeps one database per path and process, so in a process that still
    holds the results of a minute ago that would return those again.
    """
    db = connect(path)
    try:
        check_version(path, attach_results(db, path))
        make_views(db, path)
    except StoreError:
        db.close()
        raise
    except duckdb.Error as error:
        db.close()
        raise unreadable(path, error) from None
    return db


def snapshot_id(path: Path) -> tuple[int, int]:
    """Changes whenever results are published; (0, 0) while there are none. Use it as a cache key."""
    try:
        status = path.stat()
    except FileNotFoundError:
        return (0, 0)
    return status.st_ino, status.st_mtime_ns
