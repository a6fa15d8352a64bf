"""Several processes on one store, and processes that die."""

import os
import random
import subprocess
import sys
import time
from pathlib import Path

import pytest

from pipeline.store.reader import open_results
from pipeline.store.writer import Store
from tests.pipeline.store.writing import LEAST, batch, whole

ROOT = Path(__file__).resolve().parents[3]
SECONDS = float(os.environ.get("BOUILLON_SOAK", "4"))
"""A minute is the promise; a few seconds are enough for every day."""


def start(*arguments):
    command = [sys.executable, "-m", "tests.pipeline.store.writing", *map(str, arguments)]
    return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def test_two_writers_and_three_readers_lose_nothing(path):
    writers = [start("write", path, name, SECONDS) for name in ("a", "b")]
    readers = [start("read", path, SECONDS) for _ in range(3)]
    ended = [process.communicate() for process in (*writers, *readers)]
    assert [(process.returncode, error) for process, (_, error) in zip((*writers, *readers), ended, strict=True)] == [
        (0, "")
    ] * 5
    written = {line for output, _ in ended[:2] for line in output.split()}
    with open_results(path) as db:
        assert {name for (name,) in db.execute("SELECT name FROM models").fetchall()} == written
        assert whole(db) == len(written)
    assert {name[0] for name in written} == {"a", "b"}
    assert all(int(output) >= LEAST for output, _ in ended[2:])


def test_a_writer_that_is_killed_over_and_over_loses_nothing_it_said_was_done(path):
    said, rng = set(), random.Random(0)
    for _ in range(8):
        writer = start("write", path, "a", 60)
        assert writer.stdout.readline()
        time.sleep(rng.uniform(0, 0.25))
        writer.kill()
        said |= set(writer.communicate()[0].split()[:-1])  # the last line may have been cut
        if path.exists():
            open_results(path).close()
    store = Store(path)
    done = store.ingested()
    assert said <= done
    numbers = sorted(int(name.removeprefix("a-")) for name in done)
    assert numbers == list(range(len(done)))
    store.write(batch("a", len(done)))
    store.publish()
    with open_results(path) as db:
        assert whole(db) == len(done) + 1


@pytest.mark.parametrize("moment", ["creating", "publishing"])
def test_what_a_killed_process_left_behind_is_in_nobodys_way(path, moment):
    if moment == "creating":
        path.parent.joinpath(".bouillon").mkdir()
        (path.parent / ".bouillon" / "results.duckdb.making").write_bytes(b"half of a file")
    else:
        Store(path).publish()
        (path.parent / ".results.duckdb.publishing").write_bytes(b"half of a copy")
    store = Store(path)
    store.write(batch("a", 0))
    assert store.publish()
    assert sorted(file.name for file in path.parent.iterdir()) == [".bouillon", "results.duckdb"]
    with open_results(path) as db:
        assert whole(db) == 1
