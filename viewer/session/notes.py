"""Flags, notes and tags of people: a file of its own beside the results, which stay as they were published.

One JSON line per note, appended and never changed; taking a flag away is a line too. Any number of viewers may write.
"""

from __future__ import annotations

import getpass
import re
from collections.abc import Iterable
from copy import copy
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

from viewer.session.journal import Journal, utc_now

__all__ = ["Kind", "Note", "Notes", "NotesOn", "notes_path", "read_tags", "this_user"]

Kind = Literal["instance", "class", "model", "layer"]
_LONGEST = 4000
_LONGEST_TAG = 40
_MOST_TAGS = 20


@dataclass(frozen=True, slots=True)
class Note:
    """A flag with its author, reason, tags and time."""

    kind: Kind
    about: str
    """Id of the instance, name of the class or layer, key of the model."""
    why: str
    who: str
    when: str
    """UTC, ISO 8601."""
    dataset_key: str = ""
    removed: bool = False
    tags: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class NotesOn:
    """All that people said of one thing, as one of them sees it."""

    own: Note | None
    """What this visitor said: that alone is theirs to change or take away."""
    others: tuple[Note, ...]
    """What others said, oldest first."""

    @property
    def all(self) -> tuple[Note, ...]:
        """The visitor's own first."""
        return ((self.own,) if self.own else ()) + self.others

    @property
    def text(self) -> str:
        """All in one text, a line for each."""
        return "\n".join(f"{note.who}, {note.when[:16].replace('T', ' ')}: {note.why}" for note in self.all)


def notes_path(results: Path) -> Path:
    """Return the file of the notes on some results: `results.notes.jsonl`."""
    return results.with_suffix(".notes.jsonl")


def read_tags(text: str) -> tuple[str, ...]:
    """Read tags as people type them, between commas: "ship it, #odd" is ("ship it", "odd"); each once, in lower case."""
    words = (
        re.sub(r"\s+", " ", part.strip().lstrip("#").strip()).casefold()[:_LONGEST_TAG] for part in text.split(",")
    )
    return tuple(dict.fromkeys(filter(None, words)))[:_MOST_TAGS]


class Notes:
    """The notes beside one results file: of each author at most one about a thing."""

    def __init__(self, results: Path) -> None:
        self.path = notes_path(results)
        self._user = ""
        self._journal = Journal(self.path, _read, lambda note: (note.kind, note.dataset_key, note.about, note.who))

    def seen_by(self, user: str) -> Notes:
        """Return the same notes as a visitor sees them; of no name, as who runs this program does."""
        notes = copy(self)
        notes._user = user
        return notes

    def add(
        self, kind: Kind, about: str, why: str, *, dataset_key: str = "", tags: Iterable[str] = (), who: str = ""
    ) -> None:
        """Flag something, or change what its author said of it.

        Args:
            kind: what is flagged.
            about: its id, name or key.
            why: the note.
            dataset_key: key of its data set, for instances and classes.
            tags: words that things are found by.
            who: the author; empty: who runs this program.

        Raises:
            OSError: if the file cannot be written.
        """
        note = Note(kind, about, why.strip()[:_LONGEST], who or this_user(), utc_now(), dataset_key, tags=tuple(tags))
        self._journal.append(note)

    def remove(self, kind: Kind, about: str, *, dataset_key: str = "", who: str = "") -> None:
        """Take an author's flag away; those of others stay.

        Args:
            kind: what was flagged.
            about: its id, name or key.
            dataset_key: key of its data set, for instances and classes.
            who: the author; empty: who runs this program.

        Raises:
            OSError: if the file cannot be written.
        """
        self._journal.append(Note(kind, about, "", who or this_user(), utc_now(), dataset_key, removed=True))

    def all(self) -> list[Note]:
        """The flags that stand, oldest first."""
        return sorted(self._journal.entries(), key=lambda note: note.when)

    def of(self, kind: str, dataset_key: str = "") -> dict[str, NotesOn]:
        """About -> the notes on it, of one kind; those on instances and classes belong to a data set."""
        user, by_thing = self._user or this_user(), dict[str, list[Note]]()
        for note in self.all():
            if note.kind == kind and note.dataset_key in ("", dataset_key):
                by_thing.setdefault(note.about, []).append(note)
        return {
            about: NotesOn(
                next((note for note in notes if note.who == user), None),
                tuple(note for note in notes if note.who != user),
            )
            for about, notes in by_thing.items()
        }

    def about_models(self) -> dict[str, list[Note]]:
        """Key of a model -> all notes on it, oldest first."""
        notes: dict[str, list[Note]] = {}
        for note in self.all():
            if note.kind == "model":
                notes.setdefault(note.about, []).append(note)
        return notes


def _read(content: Any) -> Note | None:
    """Return the note that a line holds, if every part is of its type: JSON has others."""
    note = Note(**{**content, "tags": content.get("tags", ())}) if isinstance(content, dict) else None
    if note is None or not isinstance(note.tags, list | tuple):
        return None
    texts = (note.about, note.why, note.who, note.when, note.dataset_key, *note.tags)
    is_sound = isinstance(note.kind, str) and note.kind in get_args(Kind) and isinstance(note.removed, bool)
    if not is_sound or not all(isinstance(text, str) for text in texts):
        return None
    return Note(note.kind, note.about, note.why, note.who, note.when, note.dataset_key, note.removed, tuple(note.tags))


def this_user() -> str:
    """Return the name of the user who runs this program."""
    try:
        return getpass.getuser()
    except (OSError, KeyError):
        return "someone"
