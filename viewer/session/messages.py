"""Messages between the page and the server: one model, two properties, every update in one piece.

The page's own elements are plain HTML: a widget model costs the browser milliseconds before anything is drawn, and there
are a hundred controls. Markup is made on the server from templates that escape every value.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from bokeh.core.properties import Any as AnyValue
from bokeh.model import DataModel

__all__ = ["SELECTION_FAILED", "Bridge", "Outbox", "whole_number"]

SELECTION_FAILED = "The viewer could not select that."
"""Begins what a visitor is told when a click on a plot failed."""


def whole_number(message: Mapping[str, Any], name: str, default: int = 0) -> int:
    """Return a whole number of a message; the default where it is missing or none: pages may send anything."""
    try:
        return int(message.get(name, default))
    except (TypeError, ValueError, OverflowError):
        return default


class Bridge(DataModel):
    """The ends of the wire; `viewer/static/page.js` holds the other ones."""

    message = AnyValue(default=None, help="what a person did: {number, kind, ...}; from the page")
    update = AnyValue(
        default=None,
        help="what changed: {kind: content, number} and, if a message asked, `answers`: its number; to the page",
    )
    first = AnyValue(default=None, help="the update that the page starts with")


class Outbox:
    """Collects what changed while a message is handled, and sends it as one update."""

    def __init__(self, bridge: Bridge, handle: Callable[[str, Mapping[str, Any]], None]) -> None:
        self._bridge = bridge
        self._handle = handle
        self._pending: dict[str, Any] = {}
        self._count = 0
        self._is_answering = False
        bridge.on_change("message", self._arrived)

    def add(self, kind: str, content: Any) -> None:
        """Put something in the next update; panes and columns of values are merged, other kinds replaced."""
        if kind in ("panes", "values"):
            self._pending.setdefault(kind, {}).update(content)
        else:
            self._pending[kind] = content

    def send(self) -> None:
        """Send what was collected, if anything; numbered, as a property that is set to what it is already tells nobody.

        While a message is handled everything waits for the answer: one update, whoever adds to it.
        """
        if self._pending and not self._is_answering:
            self._count += 1
            self._bridge.update, self._pending = {**self._pending, "number": self._count}, {}

    def first(self) -> None:
        """Make what was collected so far the page's start."""
        self._bridge.first, self._pending = self._pending, {}

    def _arrived(self, attr: str, old: Any, new: Any) -> None:
        if isinstance(new, Mapping) and isinstance(new.get("kind"), str):
            self._is_answering = True
            try:
                self._handle(new["kind"], {name: _encodable(value) for name, value in new.items()})
            finally:
                self._is_answering = False
            self.add("answers", whole_number(new, "number"))
            self.send()


def _encodable(value: Any) -> Any:
    """Replace halves of characters, which JavaScript's strings may hold and neither addresses, files nor SQL can."""
    return value.encode("utf-8", "replace").decode() if isinstance(value, str) else value
