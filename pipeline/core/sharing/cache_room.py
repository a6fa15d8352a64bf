"""Room for copies: the ones that were not read for longest go first, and none that a process reads."""

from __future__ import annotations

import fcntl
import os
import shutil
from collections.abc import Callable
from pathlib import Path

from pipeline.core.keys import Key

_MANIFEST = "manifest.json"


class CacheRoom:
    """The space that copies in a folder of artifacts may take."""

    def __init__(self, root: Path, limit: int | None) -> None:
        self._root, self._limit = root, limit
        self._readers: dict[Key, int] = {}

    def hold(self, key: Key) -> None:
        """Let a copy stay until `release`, and note that it was read now. Without a limit nothing goes anyway."""
        if self._limit is None or key in self._readers:
            return
        folder = self._root / key[:2] / key
        try:
            descriptor = os.open(folder, os.O_RDONLY)
            fcntl.flock(descriptor, fcntl.LOCK_SH)
            os.utime(folder / _MANIFEST)
        except OSError:  # not here yet, or a file system without locks
            return
        self._readers[key] = descriptor

    def release(self) -> None:
        """Let all that was held go when room is needed."""
        for descriptor in self._readers.values():
            os.close(descriptor)
        self._readers.clear()

    def make(self, size: int, is_shared: Callable[[Key], bool]) -> None:
        """Remove copies until `size` bytes more fit, or nothing is left that may go.

        Args:
            size: bytes that are about to come.
            is_shared: whether an artifact is in the object store too: no other is a copy.
        """
        if self._limit is None:
            return
        copies = [(manifest.stat().st_mtime, manifest.parent) for manifest in self._root.glob(f"??/*/{_MANIFEST}")]
        sizes = {folder: _size(folder) for _, folder in copies}
        surplus = sum(sizes.values()) + size - self._limit
        for _, folder in sorted(copies):
            if surplus <= 0:
                break
            if is_shared(Key(folder.name)) and _remove_unread(folder):
                surplus -= sizes[folder]


def _size(folder: Path) -> int:
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())


def _remove_unread(folder: Path) -> bool:
    """Remove a copy unless somebody reads it. The manifest goes first, so that it is never seen half removed."""
    try:
        descriptor = os.open(folder, os.O_RDONLY)
    except OSError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        (folder / _MANIFEST).unlink(missing_ok=True)
        shutil.rmtree(folder, ignore_errors=True)
    except OSError:
        return False
    finally:
        os.close(descriptor)
    return True
