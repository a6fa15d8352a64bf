import re

import duckdb
import pytest

from pipeline.store import migration
from pipeline.store.database import SCHEMA_VERSION
from pipeline.store.errors import NewerSchemaError, NoResultsError, OlderSchemaError, WriteError
from pipeline.store.migration import migrate
from pipeline.store.publication import StoreFiles
from pipeline.store.reader import open_results
from pipeline.store.writer import Store
from tests.pipeline.store.facts import ACCURACY, RUN, measurement, model

OLD = SCHEMA_VERSION - 1
TO_NOW = """
ALTER TABLE model RENAME COLUMN label TO title;
ALTER TABLE measurement ADD COLUMN count BIGINT;
"""


@pytest.fixture
def older(store, path):
    """A store of a version before this one that the test invents: other column, no counts, no layers, other views."""
    store.write([RUN, ACCURACY, model("base"), model("child", "base"), measurement("child", "accuracy", 0.5)])
    store.publish()
    for file in (working(path), path):
        with duckdb.connect(str(file)) as db:
            views = db.execute("SELECT view_name FROM duckdb_views() WHERE NOT internal").fetchall()
            for (view,) in views:
                db.execute(f"DROP VIEW {view}")
            db.execute("ALTER TABLE model RENAME COLUMN title TO label")
            db.execute("ALTER TABLE measurement DROP COLUMN count")
            db.execute("DROP TABLE layer")
            db.execute("CREATE VIEW models AS SELECT label FROM model")
            db.execute(f"UPDATE meta SET value = '{OLD}' WHERE key = 'schema_version'")
    return path


def working(path):
    return path.parent / ".bouillon" / f"{path.name}.working"


def version(path):
    with duckdb.connect(str(path), read_only=True) as db:
        return db.execute("SELECT value FROM meta WHERE key = 'schema_version'").fetchall()[0][0]


@pytest.mark.parametrize("lost", ["nothing", "working file", "results"])
def test_an_older_store_comes_forward(older, query, lost):
    if lost == "working file":
        working(older).unlink()
    if lost == "results":
        older.unlink()
    backup = migrate(older, {SCHEMA_VERSION: TO_NOW})
    assert query("SELECT name, title FROM models ORDER BY name") == [("base", ""), ("child", "")]
    assert query("SELECT model, value, count FROM measurements") == [("child", 0.5, None)]
    assert query("SELECT count(*) FROM layers") == [(0,)]
    assert query("SELECT model, accuracy FROM scoreboard WHERE accuracy IS NOT NULL") == [("child", 0.5)]
    assert backup == older.parent / ".bouillon" / f"results.duckdb.version-{OLD}"
    assert version(backup) == str(OLD)
    assert Store(older).write([model("third", "child")]) == 1
    assert migrate(older, {SCHEMA_VERSION: TO_NOW}) is None


def test_an_older_store_is_refused_with_the_command(older):
    command = re.escape(f"Migrate it: python -m pipeline migrate --results {older}")
    with pytest.raises(OlderSchemaError, match=command):
        Store(older)
    with pytest.raises(OlderSchemaError, match=command):
        open_results(older)


def test_a_newer_store_is_refused(store, path):
    store.publish()
    store.close()
    with duckdb.connect(str(working(path))) as db:
        db.execute("UPDATE meta SET value = '7' WHERE key = 'schema_version'")
    for attempt in (lambda: migrate(path), lambda: Store(path)):
        with pytest.raises(NewerSchemaError, match=r"schema version 7.*Update this one"):
            attempt()


def test_a_migration_that_fails_changes_nothing(older):
    with pytest.raises(WriteError, match="The schema is unchanged"):
        migrate(
            older,
            {SCHEMA_VERSION: "ALTER TABLE model RENAME COLUMN label TO title; ALTER TABLE nothing ADD COLUMN x INT"},
        )
    assert version(working(older)) == version(older) == str(OLD)
    with duckdb.connect(str(working(older)), read_only=True) as db:
        assert db.execute("SELECT label FROM models").fetchall() == [("",), ("",)]
    assert migrate(older, {SCHEMA_VERSION: TO_NOW}) is not None


def test_a_migration_that_was_killed_before_it_published_is_finished(older, query, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(StoreFiles, "publish", lambda self: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            migrate(older, {SCHEMA_VERSION: TO_NOW})
    assert (version(working(older)), version(older)) == (str(SCHEMA_VERSION), str(OLD))
    assert migrate(older, {SCHEMA_VERSION: TO_NOW}) == older.parent / ".bouillon" / f"results.duckdb.version-{OLD}"
    assert query("SELECT name, title FROM models ORDER BY name") == [("base", ""), ("child", "")]
    assert migrate(older, {SCHEMA_VERSION: TO_NOW}) is None


def test_a_gap_in_the_migrations_is_named(older):
    with pytest.raises(OlderSchemaError, match=f"this program knows no way from {OLD} to {SCHEMA_VERSION}"):
        migrate(older, {})


def test_nothing_to_migrate(store, path, tmp_path):
    store.publish()
    assert migrate(path) is None
    with pytest.raises(NoResultsError, match="nothing to migrate"):
        migrate(tmp_path / "none.duckdb")
    assert not (tmp_path / ".bouillon" / "none.duckdb.working").exists()


def test_migrations_are_numbered_files():
    assert migration._NAME.fullmatch("0002_add_notes.sql")[1] == "0002"
    assert not migration._NAME.fullmatch("README.md")
