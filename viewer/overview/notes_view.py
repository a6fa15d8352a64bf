"""Notes, tags and saved views of all people: listed, filtered, opened, written to a file, and taken away by their authors."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from typing import Any, ClassVar

from viewer.format.filter_text import whole_text
from viewer.format.spreadsheet import csv_text
from viewer.format.templates import render
from viewer.results.results import Results
from viewer.session.compared_models import flag
from viewer.session.notes import Kind, Note, Notes, read_tags
from viewer.session.saved_views import SavedView, SavedViews, ViewError
from viewer.session.session import VisitorSession
from viewer.session.state import OWN_FIELDS, TAGS
from viewer.session.url import write_link
from viewer.session.view import Action, View

__all__ = ["NotesPage", "note_lines"]

_LONGEST_TEXT = 200
_KINDS: tuple[Kind, ...] = ("model", "class", "instance", "layer")
_MOST_SHOWN = 500


class NotesPage(View):
    """A page of its own, and the menu of saved views that stands on every page."""

    title: ClassVar[str] = "Notes"
    panes: ClassVar[Mapping[str, frozenset[str]]] = {"views": frozenset()}
    shows: ClassVar[frozenset[str]] = frozenset({"tag", "notes_text", "selected"})

    def __init__(self, session: VisitorSession) -> None:
        super().__init__(session)
        self._notes, self._views = Notes(session.path), SavedViews(session.path)
        self._latest = self._written()

    def actions(self) -> dict[str, Action]:
        return {
            "note_text": lambda message: self.state.change(
                {"notes_text": str(message.get("text", ""))[:_LONGEST_TEXT]}
            ),
            "note_tag": self._choose_tag,
            "note_models": self._select_models,
            "note_table": self._show_in_table,
            "note_open": self._open,
            "note_write": self._write,
            "note_remove": self._remove,
            "notes_csv": self._csv,
            "view_save": self._save_view,
            "view_remove": self._remove_view,
        }

    def look_again(self) -> None:
        """Show what others have written since the page was drawn: their writing publishes nothing."""
        if (written := self._written()) != self._latest:
            self._latest = written
            self._redraw()

    def _written(self) -> tuple[list[Note], list[SavedView]]:
        return self._notes.all(), self._views.all()

    def draw_views(self) -> str:
        return render("views", views=self._views.all(), user=self.session.user)

    def draw_page(self) -> str:
        results, state = self.session.results, self.state
        notes = self.listed()
        models = self._models(notes)
        return render(
            "notes",
            notes=[
                line | {"own": line["note"].who == self.session.user}
                for line in note_lines(results, notes[:_MOST_SHOWN])
            ],
            left=len(notes) - _MOST_SHOWN,
            total=len(self._notes.all()),
            tags=sorted(Counter(tag for note in self._notes.all() for tag in note.tags).items()),
            tag=state.tag,
            text=state.notes_text,
            models=len(models),
            chosen=len(self.session.known_models(state.selected)),
            views=self._views.all(),
            user=self.session.user,
            file=self._notes.path.name,
        )

    def listed(self) -> list[Note]:
        """Return the notes with the tag and the words that are asked for, the latest first."""
        words = self.state.notes_text.casefold().split()
        names = self.session.results.text
        forest = self.session.results.forest

        def fits(note: Note) -> bool:
            name = names.name(note.about) if note.about in forest else note.about
            text = " ".join((note.why, note.who, name, note.kind, *note.tags)).casefold()
            return (not self.state.tag or self.state.tag in note.tags) and all(word in text for word in words)

        return [note for note in self._notes.all()[::-1] if fits(note)]

    def _models(self, notes: list[Note]) -> list[str]:
        return self.session.known_models(list(dict.fromkeys(note.about for note in notes if note.kind == "model")))

    # ---- finding
    def _choose_tag(self, message: Mapping[str, Any]) -> None:
        tag = str(message.get("tag", ""))
        self.state.change({"tag": "" if tag == self.state.tag else tag})

    def _select_models(self, message: Mapping[str, Any]) -> None:
        self.state.pick(self._models(self.listed()))

    def _show_in_table(self, message: Mapping[str, Any]) -> None:
        """Show the models with the tag, or with any note, as rows."""
        where = {TAGS: whole_text(self.state.tag) if self.state.tag else "any"}
        self.state.change({"page": "table", "look": "rows", "where": where, "within": False, "rows_from": 0})

    def _open(self, message: Mapping[str, Any]) -> None:
        """Show what a note is about, where it can be seen."""
        kind, about = str(message.get("kind_of")), str(message.get("about"))
        if kind == "model" and about in self.session.results.row:
            self.state.change({"page": "table", "look": "rows", "card": about})
            self.session.reveal(about)
        elif kind == "layer":
            self.state.change({"page": "layers", "l_flat": True, "l_filter": f"^{re.escape(about)}"})
        elif kind in ("class", "instance"):
            more = (
                {"b_rows": "classes"} if kind == "class" else {"b_rows": "instances", "b_only": "all", "b_text": about}
            )
            self.state.change({"page": "behaviours", **more})

    # ---- writing
    def _write(self, message: Mapping[str, Any]) -> None:
        """Put a note on every selected model."""
        why, tags = str(message.get("why", "")), str(message.get("tags", ""))
        if why.strip() or read_tags(tags):
            for key in self.session.known_models(self.state.selected):
                flag(
                    self.session,
                    self._notes,
                    {"kind_of": "model", "about": key, "why": why, "tags": tags},
                    kinds=("model",),
                )
            self._redraw()

    def _remove(self, message: Mapping[str, Any]) -> None:
        """Only a visitor's own note can be taken away: the line names its author."""
        about = {"kind_of": message.get("kind_of"), "about": message.get("about")}
        flag(self.session, self._notes, about, kinds=_KINDS, dataset_key=str(message.get("dataset", "")))
        self._redraw()

    def _csv(self, message: Mapping[str, Any]) -> None:
        head = ["kind", "about", "model", "note", "tags", "author", "when", "dataset_key"]
        lines = note_lines(self.session.results, self.listed())
        text = csv_text([head, *(_cells(line["note"], line["subject"]) for line in lines)])
        self.session.send("save", {"name": "notes.csv", "type": "text/csv", "text": text})

    # ---- saved views
    def _save_view(self, message: Mapping[str, Any]) -> None:
        query = write_link(self.state, self.session.keys, without=OWN_FIELDS)
        try:
            name = self._views.save(str(message.get("name", "")), query, self.session.user)
        except ViewError as problem:
            self.session.send("flash", str(problem))
        except OSError as error:
            self.session.send("flash", f"The view cannot be saved: {error.strerror} ({self._views.path})")
        else:
            self.session.send("flash", f"Saved as '{name}'")
            self._redraw()

    def _remove_view(self, message: Mapping[str, Any]) -> None:
        try:
            self._views.remove(str(message.get("name", "")), self.session.user)
        except OSError as error:
            self.session.send("flash", f"The view cannot be taken away: {error.strerror} ({self._views.path})")
        self._redraw()

    def _redraw(self) -> None:
        self.session.send("panes", {"views": self.draw_views()})
        if self.state.page == "notes":
            self.session.send("panes", {"page": self.draw_page()})


def note_lines(results: Results, notes: list[Note]) -> list[dict[str, Any]]:
    """Return notes with what they are about in words, as pages and reports list them.

    Args:
        results: those at hand.
        notes: in the order of the list.
    """
    return [
        {
            "note": note,
            "subject": results.text.name(note.about) if note.about in results.forest else note.about,
            "is_here": note.kind != "model" or note.about in results.row,
        }
        for note in notes
    ]


def _cells(note: Note, subject: str) -> list[str]:
    name = subject if note.kind == "model" and subject != note.about else ""
    return [note.kind, note.about, name, note.why, ", ".join(note.tags), note.who, note.when, note.dataset_key]
