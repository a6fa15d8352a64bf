import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import duckdb
import pytest

from pipeline.store.errors import StoreError
from pipeline.store.reader import (
    EmptyResultsError,
    ForeignFileError,
    NewerSchemaError,
    NoResultsError,
    OlderSchemaError,
    UnreadableResultsError,
    open_results,
    snapshot_id,
)
from pipeline.store.writer import Store
from tests.pipeline.store.facts import model
from tests.timing import in_loops


def refused(path, kind, message):
    with pytest.raises(kind, match=re.escape(f"{path}")) as caught:
        open_results(path)
    assert isinstance(caught.value, StoreError)
    assert message in str(caught.value)


def test_no_file(path):
    refused(path, NoResultsError, "Make some: python -m pipeline recipe=quickstart")


def test_a_folder(tmp_path):
    refused(tmp_path, UnreadableResultsError, "is not a file")


def test_an_empty_file(path):
    path.touch()
    refused(path, EmptyResultsError, "is empty")


def test_a_text(path):
    path.write_text("name,accuracy\nbase,0.9\n")
    refused(path, UnreadableResultsError, "is not a DuckDB file. Name another file, or move it away.")


def test_a_database_of_something_else(path):
    with duckdb.connect(str(path)) as db:
        db.execute("CREATE TABLE meta (key TEXT, value TEXT)")
    refused(path, ForeignFileError, "is a DuckDB file, but not one of Bouillon's. Name another file.")
    path.unlink()
    duckdb.connect(str(path)).close()
    refused(path, ForeignFileError, "is a DuckDB file, but not one of Bouillon's")


@pytest.mark.parametrize(
    ("version", "kind", "message"),
    [
        (
            0,
            OlderSchemaError,
            "has schema version 0, this program reads 2. Migrate it: python -m pipeline migrate --results",
        ),
        (9, NewerSchemaError, "it was written by a newer Bouillon. Update this one: git pull && scripts/setup"),
    ],
)
def test_another_schema_version(store, path, version, kind, message):
    store.publish()
    with duckdb.connect(str(path)) as db:
        db.execute("UPDATE meta SET value = ? WHERE key = 'schema_version'", [str(version)])
    refused(path, kind, message)


_OPEN = """
import sys, pathlib
from pipeline.store.reader import StoreError, open_results
for name in sys.argv[1:]:
    try:
        db = open_results(pathlib.Path(name))
        for view in ("models", "scoreboard", "predictions"):
            db.sql(f"FROM {view}").fetchall()
    except StoreError as error:
        assert str(error).startswith(name), error
"""


def test_a_truncated_file_is_refused_with_a_sentence(store, path, tmp_path):
    store.write([model("base"), *(model(str(number), "base") for number in range(500))])
    store.publish()
    whole = path.read_bytes()
    cut = []
    for share in (0.001, 0.01, 0.1, 0.5, 0.9, 0.999):
        cut.append(tmp_path / f"cut-{share}.duckdb")
        cut[-1].write_bytes(whole[: int(len(whole) * share)])
    scribbled = tmp_path / "scribbled.duckdb"
    scribbled.write_bytes(whole[:4096] + os.urandom(8192) + whole[12288:])
    done = subprocess.run([sys.executable, "-c", _OPEN, *cut, scribbled], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_results_cannot_be_changed_through_a_reader(store, path):
    store.publish()
    with open_results(path) as db:
        with pytest.raises(duckdb.Error, match="read-only"):
            db.execute("DELETE FROM results.model")
        with pytest.raises(duckdb.Error, match="base table"):
            db.execute("DELETE FROM model")


def test_an_open_reader_does_not_hinder_a_writer(store, path):
    store.publish()
    with open_results(path) as first, open_results(path) as second:
        store.write([model("base")])
        store.publish()
        assert first.execute("SELECT count(*) FROM models").fetchall() == [(0,)]
        assert second.execute("SELECT count(*) FROM models").fetchall() == [(0,)]
        with open_results(path) as third:
            assert third.execute("SELECT count(*) FROM models").fetchall() == [(1,)]


def test_the_snapshot_changes_whenever_something_is_published(store, path):
    assert snapshot_id(path) == (0, 0)
    seen = set()
    for number in range(3):
        store.write([model(str(number))])
        store.publish()
        seen.add(snapshot_id(path))
        assert not store.publish()
        assert snapshot_id(path) in seen
    assert len(seen) == 3


def test_results_can_be_copied_away_and_read(store, path, tmp_path):
    store.write([model("base")])
    store.publish()
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    shutil.copy(path, elsewhere / "mine.duckdb")
    with duckdb.connect(str(elsewhere / "mine.duckdb"), read_only=True) as db:
        assert db.execute("SELECT name FROM models").fetchall() == [("base",)]
        assert db.execute("SELECT model FROM scoreboard").fetchall() == [("base",)]


def test_results_may_be_named_by_a_link_or_from_here(store, path, tmp_path, monkeypatch):
    store.write([model("base")])
    store.publish()
    (tmp_path / "below").mkdir()
    (tmp_path / "below" / "link.duckdb").symlink_to("../results.duckdb")
    monkeypatch.chdir(tmp_path / "below")
    for name in ("link.duckdb", "./link.duckdb", "../results.duckdb", "../below/../results.duckdb", path):
        with open_results(Path(name)) as db:
            assert db.execute("SELECT name FROM models").fetchall() == [("base",)]


def test_opening_is_quick(store, path):
    store.publish()
    assert in_loops(lambda: open_results(path).close()) < 80


def test_a_store_names_the_results_it_may_not_read_or_replace(path):
    path.write_text("my diary")
    with pytest.raises(UnreadableResultsError, match="is not a DuckDB file"):
        Store(path)
    assert path.read_text() == "my diary"
