"""A working file that something has damaged: it is set aside, and what was published is there again."""

import hashlib
import os
import re
import shutil
import subprocess
import sys

import duckdb
import pytest

from pipeline.store.database import is_damage
from pipeline.store.errors import UnreadableResultsError, WriteError
from pipeline.store.reader import open_results
from pipeline.store.writer import Store
from tests.pipeline.store.facts import GROUND, model

HEADERS, BLOCK = 3 * 4096, 1 << 18
"""Bytes of a DuckDB file before its blocks, and of each block."""


def written(path):
    """Return the working file of a store that has been published and then was written to once more."""
    store = Store(path)
    store.write([*GROUND, model("base")])
    store.publish()
    store.write([model("child", "base")])
    store.close()
    return path.parent / ".bouillon" / f"{path.name}.working"


@pytest.fixture
def working(path):
    return written(path)


def emptied(file):
    file.write_bytes(b"")


def truncated(file):
    os.truncate(file, 100)


def overwritten(file):
    file.write_bytes(b"something else" * 1000)


def garbled(file):
    content = bytearray(file.read_bytes())
    content[4096:12288] = bytes(range(256)) * 32
    file.write_bytes(content)


@pytest.mark.parametrize("damage", [emptied, truncated, overwritten, garbled])
def test_a_damaged_working_file_is_set_aside(path, working, query, capsys, damage):
    damage(working)
    left = working.read_bytes()
    store = Store(path)
    aside = path.parent / ".bouillon" / f"{path.name}.damaged-1"
    assert aside.read_bytes() == left
    said = capsys.readouterr().err
    assert said.startswith(str(working))
    assert said.endswith(f". It is kept as {aside}; this run begins from the published {path}.\n")
    store.write([model("other", "base")])
    store.publish()
    assert query("SELECT name FROM models ORDER BY name") == [("base",), ("other",)]
    assert Store(path).metrics()
    assert capsys.readouterr().err == ""


def test_each_damaged_file_is_kept(path, working):
    for _ in range(2):
        emptied(working)
        Store(path)
    assert sorted(file.name for file in working.parent.glob("*.damaged*")) == [
        "results.duckdb.damaged-1", "results.duckdb.damaged-2",
    ]  # fmt: skip


def test_its_log_goes_with_it(path, working):
    emptied(working)
    log = working.with_name(f"{working.name}.wal")
    log.write_bytes(b"what was written last")
    Store(path)
    assert not log.exists()
    assert (working.parent / "results.duckdb.damaged-1.wal").read_bytes() == b"what was written last"


def test_without_results_a_new_store_is_begun(path, working, capsys):
    emptied(working)
    path.unlink()
    assert Store(path).metrics() == {}
    assert "this run begins with an empty store" in capsys.readouterr().err


def test_nothing_is_moved_where_the_results_are_damaged_too(path, working):
    emptied(working)
    overwritten(path)
    with pytest.raises(
        UnreadableResultsError, match=rf"{path} is not a DuckDB file\. Name another file, or move it away"
    ):
        Store(path)
    assert working.read_bytes() == b""
    assert list(working.parent.glob("*.damaged*")) == []


@pytest.mark.parametrize("text", [
    'IO Error: Could not set lock on file "/tmp/r.duckdb": Conflicting lock is held in /data/walter/corrupt (PID 7).',
    'IO Error: Cannot open file "/data/walter/checksum/r.duckdb": Permission denied',
])  # fmt: skip
def test_the_name_of_a_folder_is_no_damage(text):
    assert not is_damage(text)


@pytest.mark.parametrize("folder", ["store", "walter"])
def test_a_working_file_that_another_program_has_is_not_damaged(tmp_path, folder):
    """DuckDB locks files by process: here another one must have it."""
    import subprocess
    import sys

    (tmp_path / folder).mkdir()
    path = tmp_path / folder / "results.duckdb"
    working = written(path)
    script = f"import duckdb, sys; db = duckdb.connect({str(working)!r}); print(1, flush=True); sys.stdin.read()"
    holder = subprocess.Popen([sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    try:
        assert holder.stdout.readline() == b"1\n"
        with pytest.raises(WriteError, match="Could not set lock"):
            Store(path)
    finally:
        holder.communicate()
    assert "child" in [name for (name,) in duckdb.connect(str(working)).execute("SELECT name FROM model").fetchall()]


@pytest.fixture
def filled(path):
    """A published store of some blocks of data, and its working file."""
    store = Store(path)
    names = [f"{number:05}-{hashlib.sha256(str(number).encode()).hexdigest() * 4}" for number in range(3000)]
    store.write([*GROUND, *(model(name) for name in names)])
    store.publish()
    store.close()
    return path.parent / ".bouillon" / f"{path.name}.working"


def test_a_damaged_working_file_is_not_published_over_sound_results(path, filled, query):
    """Damage in what a run does not read: the names of older models."""
    with duckdb.connect(str(filled), read_only=True) as db:
        segments = db.execute(
            "SELECT block_id, block_offset FROM pragma_storage_info('model')"
            " WHERE column_name = 'name' AND segment_type = 'VARCHAR' AND persistent AND block_id >= 0"
        ).fetchall()
    block, offset = segments[0]
    where = HEADERS + block * BLOCK + offset + 200
    content = bytearray(filled.read_bytes())
    content[where : where + 16] = bytes(255 - byte for byte in content[where : where + 16])
    filled.write_bytes(content)
    sound = path.read_bytes()
    store = Store(path)
    store.write([model("child")])
    with pytest.raises(
        WriteError, match=r"not published, since results.duckdb.working is damaged: .*checksum.* is kept as"
    ):
        store.publish()
    assert path.read_bytes() == sound
    store = Store(path)
    store.write([model("child")])
    store.publish()
    assert query("SELECT count(*) FROM models") == [(3001,)]


@pytest.fixture
def foreign_log(tmp_path):
    """What a program that was killed has left beside another database."""
    script = "import duckdb, os, sys; d = duckdb.connect(sys.argv[1]); d.execute('CREATE TABLE t AS FROM range(9)'); os._exit(0)"
    subprocess.run([sys.executable, "-c", script, tmp_path / "other.duckdb"], check=True)
    return tmp_path / "other.duckdb.wal"


def test_the_log_of_another_file_beside_the_results_is_named_to_readers_and_moved_by_a_run(
    path, working, query, foreign_log
):
    log = path.with_name(f"{path.name}.wal")
    shutil.copy(foreign_log, log)
    advice = f"Another program left {log.name} beside it: move that away: mv {log} {log}.aside"
    with pytest.raises(UnreadableResultsError, match=re.escape(advice)):
        open_results(path)
    store = Store(path)
    store.publish()
    assert not log.exists()
    assert log.with_name(f"{log.name}.aside-1").read_bytes() == foreign_log.read_bytes()
    assert query("SELECT name FROM models ORDER BY name") == [("base",), ("child",)]


def test_the_advice_to_a_reader_helps(path, working, query, foreign_log):
    shutil.copy(foreign_log, f"{path}.wal")
    with pytest.raises(UnreadableResultsError) as caught:
        open_results(path)
    subprocess.run(str(caught.value).rpartition("move that away: ")[2], shell=True, check=True)
    assert query("SELECT name FROM models") == [("base",)]


def test_a_log_that_is_there_when_results_are_published_does_not_make_them_unreadable(
    path, working, query, foreign_log
):
    store = Store(path)
    shutil.copy(foreign_log, f"{path}.wal")
    store.write([model("third")])
    store.publish()
    assert query("SELECT count(*) FROM models") == [(3,)]


def test_damage_that_shows_later_is_not_called_safe(path, working):
    store = Store(path)
    emptied(working)
    with pytest.raises(
        WriteError, match=rf"{working} is damaged: .*\. Move it away and run again: what is published in"
    ):
        store.metrics()
