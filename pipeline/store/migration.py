"""Bringing a store of an older schema forward: numbered SQL files, in one transaction, with a backup kept."""

from __future__ import annotations

import re
from collections.abc import Mapping
from importlib.resources import files
from pathlib import Path

import duckdb

from pipeline.store.database import SCHEMA_VERSION, Stamp, attached, check_version, connect
from pipeline.store.errors import NoResultsError, OlderSchemaError, WriteError
from pipeline.store.publication import StoreFiles
from pipeline.store.schema import definition
from pipeline.store.views import refuse_hidden

_NAME = re.compile(r"(\d{4})_\w+\.sql")


def migrations() -> dict[int, str]:
    """Version -> the SQL that leads to it from the version before."""
    folder = files("pipeline.store").joinpath("migrations")
    result = [(_NAME.fullmatch(file.name), file) for file in folder.iterdir()]
    return {int(match[1]): file.read_text() for match, file in result if match}


def migrate(results: Path, steps: Mapping[int, str] | None = None) -> Path | None:
    """Bring the store of `results` to this program's schema version and publish it.

    Returns the backup of the state before, or None if there was nothing to do. If anything fails, the store is as it
    was. `steps` are the migrations to know of, by default this program's.

    Raises:
        NoResultsError: if there is no store.
        OlderSchemaError: if it is older than the oldest migration.
        NewerSchemaError: if it is newer than this program.
    """
    store = StoreFiles(results.expanduser().resolve())
    if not store.results.exists() and not store.working.exists():
        raise NoResultsError(f"There is no store at {results}: nothing to migrate.")
    store.prepare()
    with store.turn():
        store.open_working()
        stamp = store.working_stamp()
        if stamp.schema_version == SCHEMA_VERSION:
            return _publish_what_is_ready(store, stamp)
        if stamp.schema_version > SCHEMA_VERSION:
            check_version(store.results, stamp)
        scripts = _path(store.results, stamp.schema_version, migrations() if steps is None else steps)
        store.check_published(store.published_stamp(), stamp)
        backup = store.back_up(stamp.schema_version)
        _apply(store, scripts)
        store.publish()
        return backup


def _publish_what_is_ready(store: StoreFiles, stamp: Stamp) -> Path | None:
    """Finish a migration that was killed before it published. Returns its backup; None if there was none."""
    published = store.published_stamp()
    if published is None or published.schema_version >= stamp.schema_version:
        return None
    store.check_published(published, stamp)
    with connect(store.working, threads=1) as db, attached(db, store.working, read_only=False):
        db.execute("CHECKPOINT store")
    store.publish()
    backup = store.backup(published.schema_version)
    return backup if backup.exists() else None


def _path(results: Path, version: int, steps: Mapping[int, str]) -> list[str]:
    """The scripts to run, in order."""
    expected = range(version + 1, SCHEMA_VERSION + 1)
    missing = [number for number in expected if number not in steps]
    if missing:
        raise OlderSchemaError(
            f"{results} has schema version {version}, and this program knows no way from {missing[0] - 1} to "
            f"{missing[0]}. Migrate it with an earlier Bouillon first, or make the results anew."
        )
    return [steps[number] for number in expected]


def _apply(store: StoreFiles, scripts: list[str]) -> None:
    with connect(store.working, threads=1) as db:
        try:
            with attached(db, store.working, read_only=False):
                refuse_hidden(db, store.working)
                db.execute("BEGIN")
                for script in scripts:
                    db.execute(script)
                definition.renew(db)
                db.execute("UPDATE meta SET value = ? WHERE key = 'schema_version'", [str(SCHEMA_VERSION)])
                db.execute("COMMIT")
                db.execute("CHECKPOINT store")
        except duckdb.Error as error:
            raise WriteError(f"{store.explain(error)} The schema is unchanged.") from error
