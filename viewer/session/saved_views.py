"""Views that people saved under a name, for all who see the results: `results.views.jsonl`, one JSON line each."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from viewer.session.journal import Journal, utc_now

__all__ = ["SavedView", "SavedViews", "ViewError", "views_path"]

_LONGEST_NAME = 80
_LONGEST_QUERY = 60_000


@dataclass(frozen=True, slots=True)
class SavedView:
    """The state of a page as the query of its address, with its name and author."""

    name: str
    query: str
    who: str
    when: str
    """UTC, ISO 8601."""
    removed: bool = False


class ViewError(ValueError):
    """A view cannot be saved: the message says why, and what to do."""


def views_path(results: Path) -> Path:
    """Return the file of the views of some results: `results.views.jsonl`."""
    return results.with_suffix(".views.jsonl")


class SavedViews:
    """The views beside one results file: of each author one of a name."""

    def __init__(self, results: Path) -> None:
        self.path = views_path(results)
        self._journal = Journal(self.path, _read, lambda view: (view.name, view.who))

    def save(self, name: str, query: str, who: str) -> str:
        """Save a view, in the place of the author's earlier one of that name; return the name as it is kept.

        Args:
            name: what it is called.
            query: that of the page's address.
            who: the author.

        Raises:
            ViewError: if there is no name, or what is seen is too much for a view.
            OSError: if the file cannot be written.
        """
        name = " ".join(name.split())[:_LONGEST_NAME]
        if not name:
            raise ViewError("A view needs a name")
        if len(query) > _LONGEST_QUERY:
            raise ViewError(
                f"Not saved: the address has {len(query):,} characters, a view at most {_LONGEST_QUERY:,}. Select fewer models"
            )
        self._journal.append(SavedView(name, query, who, utc_now()))
        return name

    def remove(self, name: str, who: str) -> None:
        """Take an author's view away; those of others stay.

        Raises:
            OSError: if the file cannot be written.
        """
        self._journal.append(SavedView(name, "", who, utc_now(), removed=True))

    def all(self) -> list[SavedView]:
        """The views that stand, by name."""
        return sorted(self._journal.entries(), key=lambda view: (view.name.casefold(), view.who))

    def find(self, name: str, who: str) -> SavedView | None:
        """Return an author's view of a name."""
        return next((view for view in self.all() if (view.name, view.who) == (name, who)), None)


def _read(content: Any) -> SavedView | None:
    """Return the view that a line holds, if every part is of its type."""
    view = SavedView(**content) if isinstance(content, dict) else None
    if view is None or not isinstance(view.removed, bool):
        return None
    is_text = all(isinstance(part, str) for part in (view.name, view.query, view.who, view.when))
    return view if is_text and len(view.query) <= _LONGEST_QUERY else None
