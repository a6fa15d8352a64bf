"""A file of JSON lines beside the results, appended and never changed: what people add, and take away again.

Any number of viewers may write. Taking something away is a line too.
"""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Callable, Hashable
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Generic, Protocol, TypeVar

__all__ = ["Journal", "JournalEntry", "utc_now"]

MOST_BYTES = 64_000_000
"""Of a file that is read: a larger one is none of ours."""


class JournalEntry(Protocol):
    """A line of the file: a dataclass of texts, truth values and lists of texts."""

    @property
    def removed(self) -> bool:
        """Whether it takes away what stood in its place."""


E = TypeVar("E", bound=JournalEntry)


class Journal(Generic[E]):
    """The entries that stand in one file, by their places; the latest in a place counts."""

    def __init__(self, path: Path, read: Callable[[Any], E | None], place: Callable[[E], Hashable]) -> None:
        """Open a file, which need not be there.

        Args:
            path: the file.
            read: makes an entry of what a line holds; None, or `TypeError`, where it is none.
            place: what an entry is about; an entry takes the place of an earlier one.
        """
        self.path = path
        self._read, self._place = read, place
        self._status: tuple[int, int] | None = None
        self._now: dict[Hashable, E] = {}

    def append(self, entry: E) -> None:
        """Write an entry.

        Raises:
            OSError: if the file cannot be written, or only a part of the line.
        """
        line = (json.dumps(asdict(entry), ensure_ascii=False) + "\n").encode("utf-8", "replace")  # type: ignore[call-overload]
        # one write of one line: of two viewers that write at once both lines arrive whole
        descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o644)
        try:
            size = os.fstat(descriptor).st_size
            if (
                size and os.pread(descriptor, 1, size - 1) != b"\n"
            ):  # a line that was cut off must not take this one along
                line = b"\n" + line
            if os.write(descriptor, line) < len(line):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(self.path))
        finally:
            os.close(descriptor)

    def entries(self) -> list[E]:
        """Return the entries that stand, in the order of their places."""
        self._refresh()
        return list(self._now.values())

    def _refresh(self) -> None:
        try:
            status = self.path.stat()
        except OSError:
            self._status, self._now = None, {}
            return
        if self._status == (status.st_mtime_ns, status.st_size):
            return
        self._status, self._now = (status.st_mtime_ns, status.st_size), {}
        for line in _lines(self.path):
            entry = self._entry(line)
            if entry is None:
                continue
            place = self._place(entry)
            self._now.pop(place, None)
            if not entry.removed:
                self._now[place] = entry

    def _entry(self, line: str) -> E | None:
        """A line that is none of ours (of a newer version, damaged, or edited by hand) is passed over."""
        try:
            return self._read(json.loads(line))
        except (ValueError, TypeError, RecursionError):
            return None


def _lines(path: Path) -> list[str]:
    """Return the lines of a file; none of what is no file, cannot be read, or is far too large."""
    try:
        if not path.is_file() or path.stat().st_size > MOST_BYTES:
            return []
        return path.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return []


def utc_now() -> str:
    """Return the time in UTC, ISO 8601, to the second."""
    return datetime.now(UTC).isoformat(timespec="seconds")
