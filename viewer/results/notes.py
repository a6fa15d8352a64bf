"""Flags and notes of people: a file of its own beside the results, which stay as they were published.

One JSON line per note, appended and never changed; taking a flag away is a line too. Any number of viewers may write.
"""

from __future__ import annotations

import getpass
import json
import os
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal, get_args

__all__ = ["Kind", "Note", "Notes", "notes_path"]

Kind = Literal["instance", "class", "model", "layer"]
_LONGEST = 4000


@dataclass(frozen=True, slots=True)
class Note:
    """A flag with its author, reason and time."""

    kind: Kind
    about: str
    """Id of the instance, name of the class or layer, key of the model."""
    why: str
    who: str
    when: str
    """UTC, ISO 8601."""
    dataset_key: str = ""
    removed: bool = False


def notes_path(results: Path) -> Path:
    """Return the file of the notes on some results: `results.notes.jsonl`."""
    return results.with_suffix(".notes.jsonl")


class Notes:
    """The notes beside one results file."""

    def __init__(self, results: Path) -> None:
        self.path = notes_path(results)
        self._status: tuple[int, int] | None = None
        self._now: dict[tuple[str, str, str], Note] = {}

    def add(self, kind: Kind, about: str, why: str, *, dataset_key: str = "") -> None:
        """Flag something, or change what was said of it.

        Raises:
            OSError: if the file cannot be written.
        """
        self._append(Note(kind, about, why.strip()[:_LONGEST], _user(), _now(), dataset_key))

    def remove(self, kind: Kind, about: str, *, dataset_key: str = "") -> None:
        """Take a flag away.

        Raises:
            OSError: if the file cannot be written.
        """
        self._append(Note(kind, about, "", _user(), _now(), dataset_key, removed=True))

    def all(self) -> list[Note]:
        """The flags that stand, oldest first."""
        self._refresh()
        return sorted(self._now.values(), key=lambda note: note.when)

    def of(self, kind: str, dataset_key: str = "") -> dict[str, Note]:
        """About -> note, of one kind; those on instances and classes belong to a data set."""
        self._refresh()
        return {note.about: note for (k, key, _), note in self._now.items() if k == kind and key in ("", dataset_key)}

    def _append(self, note: Note) -> None:
        line = json.dumps(asdict(note), ensure_ascii=False) + "\n"
        # one write of one line: of two viewers that write at once both lines arrive whole
        descriptor = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
        try:
            os.write(descriptor, line.encode())
        finally:
            os.close(descriptor)

    def _refresh(self) -> None:
        try:
            status = self.path.stat()
        except OSError:
            self._status, self._now = None, {}
            return
        if self._status == (status.st_mtime_ns, status.st_size):
            return
        self._status, self._now = (status.st_mtime_ns, status.st_size), {}
        for note in _read(self.path):
            place = (note.kind, note.dataset_key, note.about)
            if note.removed:
                self._now.pop(place, None)
            else:
                self._now[place] = note


def _read(path: Path) -> Iterator[Note]:
    """A line that is no note (of a newer version, damaged, or edited by hand) is passed over; so is what is no file."""
    if not path.is_file():
        return
    try:
        text = path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return
    for line in text.splitlines():
        try:
            note = Note(**json.loads(line))
        except (ValueError, TypeError, RecursionError):
            continue
        if _is_sound(note):
            yield note


def _is_sound(note: Note) -> bool:
    """Whether every part is of its type: JSON has others."""
    texts = (note.about, note.why, note.who, note.when, note.dataset_key)
    return (
        note.kind in get_args(Kind) and all(isinstance(text, str) for text in texts) and isinstance(note.removed, bool)
    )


def _user() -> str:
    try:
        return getpass.getuser()
    except (OSError, KeyError):
        return "someone"


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
