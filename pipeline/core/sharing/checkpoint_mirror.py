"""Checkpoints of a job, kept in an object store while it works: when its node is lost, another goes on from the last."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pipeline.core.keys import Key
from pipeline.core.sharing.object_store import ObjectStore, ObjectStoreError

_SECONDS = 1.0
_NOT_CHECKPOINTS = (".new", ".json", ".lock")
"""Files that are being written, and progress, which lives in the working folder too."""


@contextmanager
def mirrored(objects: ObjectStore, key: Key, folder: Path) -> Iterator[None]:
    """Bring a job's checkpoints to `folder`, and send each that changes while the block runs; forget them when it is done.

    Files are sent whole: who writes a checkpoint puts it in its place in one rename.
    """
    prefix = f"checkpoints/{key}"
    if not any(folder.iterdir()):
        for item in objects.list(prefix):
            objects.fetch(item.path, folder / Path(item.path).name)
    times = _times(folder)
    stop = threading.Event()

    def keep_sending() -> None:
        while not stop.wait(_SECONDS):
            # where it fails the next second tries again; the job's own upload tells what is wrong
            with contextlib.suppress(OSError, ObjectStoreError):
                _send(objects, prefix, folder, times)

    thread = threading.Thread(target=keep_sending, daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()
    objects.delete([item.path for item in objects.list(prefix)])


def _times(folder: Path) -> dict[str, int]:
    """Checkpoint -> when it was changed, nanoseconds."""
    return {
        file.name: file.stat().st_mtime_ns
        for file in folder.iterdir()
        if file.suffix not in _NOT_CHECKPOINTS and file.is_file()
    }


def _send(objects: ObjectStore, prefix: str, folder: Path, times: dict[str, int]) -> None:
    """Send what has changed since `times`, and note it there."""
    for name, changed in _times(folder).items():
        if times.get(name) != changed:
            objects.write(f"{prefix}/{name}", (folder / name).read_bytes())
            times[name] = changed
