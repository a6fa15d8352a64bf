"""A visitor's session: the state, the results at hand, the messages to the page. Views get this and nothing else."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from viewer.session.state import ViewState
from viewer.session.url import Keys

if TYPE_CHECKING:
    from viewer.results.results import Results
    from viewer.session.messages import Outbox

__all__ = ["VisitorSession"]


class VisitorSession:
    """One per visitor; `results` is replaced when new results are published."""

    def __init__(self, path: Path, state: ViewState, results: Results, outbox: Outbox) -> None:
        self.path = path
        self.state = state
        self.outbox = outbox
        self.results = results
        self.keys = Keys(results.forest.nodes)
        self.notices: list[str] = []
        self.dark = False
        """Whether the page's ground is dark, as far as the browser has said."""
        self.repaint: Callable[[], None] = lambda: None
        """Draws everything that has colours of its own again."""

    def renew(self, results: Results) -> None:
        """Work with newer results."""
        self.results = results
        self.keys = Keys(results.forest.nodes)

    def known(self, keys: list[str]) -> list[str]:
        """Return those keys that are models of the results."""
        return [key for key in keys if key in self.results.row]

    def send(self, kind: str, content: Any) -> None:
        """Put something in the next update of the page."""
        self.outbox.add(kind, content)
