"""Checkpoints of a job, kept in an object store while it works: when its node is lost, another goes on from the last."""

from __future__ import annotations

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
    times = {file.name: file.stat().st_mtime_ns for file in folder.iterdir()}
    stop = threading.Event()

    def send() -> None:
        for file in folder.iterdir():
            if file.suffix in _NOT_CHECKPOINTS or not file.is_file():
                continue
            changed = file.stat().st_mtime_ns
            if times.get(file.name) != changed:
                objects.write(f"{prefix}/{file.name}", file.read_bytes())
                times[file.name] = changed

    def keep_sending() -> None:
        while not stop.wait(_SECONDS):
            try:
                send()
            except (OSError, ObjectStoreError):  # the next second tries again; the job's own upload tells what is wrong
                continue

    thread = threading.Thread(target=keep_sending, daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()
    objects.delete([item.path for item in objects.list(prefix)])
