"""A visitor's session: the state, the results at hand, the messages to the page. Views get this and nothing else."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from viewer.format.templates import render
from viewer.session.state import ViewState
from viewer.session.url import Keys

if TYPE_CHECKING:
    from viewer.results.results import Results
    from viewer.session.messages import Outbox

__all__ = ["VisitorSession"]

_log = logging.getLogger(__name__)


class VisitorSession:
    """One per visitor; `results` is replaced when new results are published."""

    def __init__(self, path: Path, state: ViewState, results: Results, outbox: Outbox) -> None:
        self.path = path
        self.state = state
        self.outbox = outbox
        self.results = results
        self.keys = Keys(results.forest.nodes)
        self.notices: list[str] = []
        self.user = ""
        """The name of the visitor, under which notes and views are kept; empty: who runs this program."""
        self.dark = False
        """Whether the page's ground is dark, as far as the browser has said."""
        self.repaint: Callable[[], None] = lambda: None
        """Draws everything that has colours of its own again."""
        self.reveal: Callable[[str], None] = lambda key: None
        """Brings a model into sight on the page that is open."""

    def renew(self, results: Results) -> None:
        """Work with newer results."""
        self.results = results
        self.keys = Keys(results.forest.nodes)

    def known_models(self, keys: list[str]) -> list[str]:
        """Return those keys that are models of the results."""
        return [key for key in keys if key in self.results.row]

    def send(self, kind: str, content: Any) -> None:
        """Put something in the next update of the page."""
        self.outbox.add(kind, content)

    def draw_notice(self) -> str:
        """Return the markup of what the visitor has to be told."""
        return render("notice", notices=self.notices)

    @contextmanager
    def guarded(self, failure: str) -> Iterator[None]:
        """Keep the page alive whatever fails: a sentence on it, and the traceback in the server's log.

        An error that left here would reach Bokeh, which answers it with nothing that a visitor sees.
        """
        try:
            yield
        except Exception:  # noqa: BLE001 - whatever it is, the page lives on
            _log.exception("The viewer failed: %s", failure)
            self.notices = [f"{failure} The reason is in the output of the server."]
            self.send("panes", {"notice": self.draw_notice()})
