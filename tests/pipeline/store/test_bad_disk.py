"""Disks that are full, folders that may not be written: a sentence, and nothing lost."""

import os
import resource
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from pipeline.store.reader import open_results
from pipeline.store.writer import Store
from tests.pipeline.store.writing import batch, whole

ROOT = Path(__file__).resolve().parents[3]
_WRITE = """
import sys
from pathlib import Path
from pipeline.store.errors import StoreError
from pipeline.store.writer import Store
from tests.pipeline.store.writing import batch
try:
    store = Store(Path(sys.argv[1]))
    for number in range(int(sys.argv[2]), 2000):
        store.write(batch("a", number))
        print(number, flush=True)
        store.publish()
except StoreError as error:
    print(error)
"""


def write(path, first, prefix=(), **limits):
    command = [*prefix, sys.executable, "-c", _WRITE, str(path), str(first)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, **limits)
    assert (done.returncode, done.stderr) == (0, "")
    *numbers, message = done.stdout.splitlines()
    return [int(number) for number in numbers], message


def goes_on(path, written):
    """After the cause is gone, everything that was said to be written is there, and more can be."""
    store = Store(path)
    assert {f"a-{number}" for number in written} <= store.ingested()
    store.write(batch("a", len(store.ingested())))
    store.publish()
    with open_results(path) as db:
        assert whole(db) == len(store.ingested())


def no_file_larger_than(size):
    """What happens then is what happens on a full disk: the system refuses to write."""

    def limit():
        import signal

        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))

    return limit


@pytest.mark.parametrize("spare", [0, 100_000, 400_000])
def test_a_disk_that_fills_up_in_mid_write(path, spare):
    Store(path).publish()
    working = path.parent / ".bouillon" / "results.duckdb.working"
    limit = working.stat().st_size + spare
    written, message = write(path, 0, preexec_fn=no_file_larger_than(limit))
    assert message.startswith(f"{path}: writing failed: ")
    assert f"what was written before is safe in {working}." in message
    with open_results(path) as db:
        assert whole(db) <= len(written)
    goes_on(path, written)


def test_a_full_file_system(tmp_path):
    """The real thing, where mounting one is allowed."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=48m", "none", disk], capture_output=True, check=False)
    if mounted.returncode:
        pytest.skip("mounting a small file system is not allowed here")
    try:
        path = disk / "results.duckdb"
        Store(path).publish()
        free = os.statvfs(disk).f_bavail * os.statvfs(disk).f_frsize
        filler = disk / "filler"
        filler.write_bytes(bytes(max(0, free - 300_000)))
        written, message = write(path, 0)
        assert "No space left on device" in message
        assert "Free some space and run again" in message
        filler.unlink()
        goes_on(path, written)
    finally:
        subprocess.run(["umount", "-l", disk], check=True)


def without_privileges():
    """Root may write everywhere, unless it gives that up."""
    if os.geteuid() != 0:
        return []
    if shutil.which("setpriv") is None:
        pytest.skip("root may write everywhere, and there is no setpriv to give that up")
    return ["setpriv", "--bounding-set=-dac_override", "--inh-caps=-dac_override"]


def test_a_folder_that_may_not_be_written(tmp_path):
    tmp_path.chmod(0o555)
    written, message = write(tmp_path / "results.duckdb", 0, without_privileges())
    tmp_path.chmod(0o755)
    assert written == []
    assert message == (
        f"{tmp_path}/.bouillon cannot be written: Permission denied. Name a results file in a folder of yours: results=PATH"
    )


def test_a_store_of_somebody_else(path):
    store = Store(path)
    store.write(batch("a", 0))
    store.publish()
    theirs = [*path.parent.glob(".bouillon/*"), path.parent / ".bouillon", path.parent]
    for file in theirs:
        file.chmod(0o555 if file.is_dir() else 0o444)
    written, message = write(path, 1, without_privileges())
    for file in reversed(theirs):
        file.chmod(0o755 if file.is_dir() else 0o644)
    assert written == []
    assert "Permission denied" in message
    goes_on(path, [0])
