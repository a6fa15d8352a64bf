"""The base of all views: panes of markup that are drawn again when what they depend on changes."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Set
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, ClassVar

from bokeh.document import Document

from viewer.session.session import VisitorSession

__all__ = ["RESULTS", "Action", "NextTick", "SideView", "View"]

RESULTS = "results"
"""Stands among the changed fields when the results themselves changed."""

Action = Callable[[Mapping[str, Any]], None]


class View:
    """Draws state, writes state. Knows the session of its visitor, and no other view."""

    panes: ClassVar[Mapping[str, frozenset[str]]] = {}
    """Pane -> the fields of the state that it shows; `draw_<pane>` makes its markup."""

    shows: ClassVar[frozenset[str]] = frozenset()
    """Of a page: the fields that its markup depends on."""

    def __init__(self, session: VisitorSession) -> None:
        self.session = session
        self.state = session.state

    def actions(self) -> dict[str, Action]:
        """Kind of message -> what to do about it."""
        return {}

    def draw_page(self) -> str:
        """Return the markup of a view that is a page of its own."""
        return ""

    def begin(self) -> None:
        """Send what the page starts with."""

    def look_again(self) -> None:
        """Draw what has changed without new results; called every few seconds."""

    def update(self, changed: Set[str]) -> None:
        """Draw what depends on the changed fields."""
        for pane, fields in self.panes.items():
            if changed & (fields | {RESULTS}):
                self.session.outbox.add("panes", {pane: getattr(self, f"draw_{pane}")()})

    def markup(self) -> dict[str, str]:
        """All panes, for a page that is just opened."""
        return {pane: getattr(self, f"draw_{pane}")() for pane in self.panes}


class SideView(View):
    """Shares the pane beside the map with others: the state says whose turn it is; `draw_side` makes its markup."""

    name: ClassVar[str]

    def draw_side(self) -> str:
        """Return the pane's markup."""
        raise NotImplementedError

    def update(self, changed: Set[str]) -> None:
        super().update(changed)
        if self.state.pane == self.name and changed & (self.shows | {"pane", RESULTS}):
            self.session.outbox.add("panes", {"side": self.draw_side()})

    def markup(self) -> dict[str, str]:
        return super().markup() | ({"side": self.draw_side()} if self.state.pane == self.name else {})


@dataclass(frozen=True)
class NextTick:
    """Call something of a page in its next turn; two of the same page and method are equal."""

    document: Document
    callback: Callable[[], None]

    def __call__(self) -> None:
        with suppress(AttributeError):  # Bokeh takes the attributes of a document away whose page was closed
            self.document.add_next_tick_callback(self.callback)
