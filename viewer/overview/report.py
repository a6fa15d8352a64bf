"""The current view as one HTML file that opens without Python and without a network."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import numpy as np
from bokeh.embed import file_html
from bokeh.resources import INLINE, Resources

from viewer.format.scripts import page_script
from viewer.format.templates import asset, page_template, render
from viewer.map.view import ModelMap
from viewer.overview.notes_view import note_lines
from viewer.session.notes import Notes
from viewer.session.session import VisitorSession
from viewer.session.view import Action, View

__all__ = ["ReportView", "script_json"]

_MOST_CARDS = 300
_MOST_ROWS = 1000


class ReportView(View):
    """Gathers what the other views would draw, by making them anew from the same state."""

    def __init__(self, session: VisitorSession, makers: Mapping[str, Any]) -> None:
        super().__init__(session)
        self._make = makers

    def actions(self) -> dict[str, Action]:
        return {"report": self._report}

    def _report(self, message: Mapping[str, Any]) -> None:
        self.session.send("save", {"name": "bouillon-report.html", "type": "text/html", "text": self.html()})

    def html(self) -> str:
        """Return the whole file."""
        session = _Quiet(self.session)
        views = {name: make(session) for name, make in self._make.items()}
        panes = {name: markup for view in views.values() for name, markup in view.markup().items()}
        for view in views.values():
            view.begin()
        keys = [node.key for node in self.session.results.forest][:_MOST_CARDS]
        cards = {key: card[1] for key in keys if (card := views["card"].card(key)) is not None}
        theme = "dark" if self.session.dark else "light"  # the plots are in the colours of one: the file keeps to it
        first = {**session.content, "state": {"page": "overview", "theme": theme}}
        table = views["table"].draw_rows(0, _MOST_ROWS)
        page = render(
            "report",
            path=self.session.path.name,
            made=datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
            context=self.session.results.context.text,
            filters=self.session.results.ranking.filter_texts(self.state.filters),
            scope=", ".join(value for values in self.state.only.values() for value in values),
            limits=self._limits(views["table"].total()),
            notes=note_lines(self.session.results, Notes(self.session.path).all()[::-1][:_MOST_ROWS]),
        )
        panes |= {
            "page": table,
            "notice": page,
            "pages": "",
            "actions": "",
            "found": "",
            "side": views["details"].draw_side(),
        }
        left_out = render("left_out", most=_MOST_CARDS) if len(self.session.results.forest.nodes) > _MOST_CARDS else ""
        scripts = ("page.js", "map.js", "scatter.js", "hover.js", "export.js", "about.js")
        variables = {
            "figures": True,
            "panes": panes,
            "theme": theme,
            "page": "overview",
            "page_title": "Bouillon report",
            "css": asset("page.css") + asset("table.css") + asset("report.css"),
            "theme_js": page_script("theme.js"),
            "js": f"window.bouillonFirst={script_json(first)};window.bouillonCards={script_json(cards)};"
            f"window.bouillonLeftOut={script_json(left_out)};" + page_script(*scripts),
            "bokeh_script": "\n".join(
                f"<script>{text}</script>" for text in Resources(mode="inline", components=["bokeh"]).js_raw
            ),
        }
        views["map"].ribbons.selected.indices = _full(views["map"])
        roots = [views["map"].figure, views["scatter"].figure]
        return str(file_html(roots, INLINE, "Bouillon report", template=page_template(), template_variables=variables))

    def _limits(self, rows: int) -> list[str]:
        """Say what of the view the file leaves out; a few thousand models with all their facts would be too much for it."""
        steps, parts = len(self.session.results.forest.nodes), []
        if rows > _MOST_ROWS:
            parts.append(f"The table has the first {_MOST_ROWS:,} of {rows:,} models.")
        if steps > _MOST_CARDS:
            parts.append(f"The facts on hover are those of the first {_MOST_CARDS:,} of {steps:,} models.")
        return parts


def _full(model_map: ModelMap) -> list[int]:
    """Return the ribbons between nodes that are drawn in full, as the page finds them: none selected is all of them."""
    full = np.asarray(model_map.nodes.data["alpha"]) >= 1
    ends = [np.asarray(model_map.ribbons.data[end], dtype=int) for end in ("parent", "child")]
    full_ribbons = full[ends[0]] & full[ends[1]]
    if full_ribbons.all():
        return []
    return np.flatnonzero(full_ribbons).tolist() or [-1]


class _Quiet:
    """The visitor's session, except that updates are collected instead of being sent."""

    def __init__(self, session: VisitorSession) -> None:
        self._session = session
        self.content: dict[str, Any] = {}

    def __getattr__(self, name: str) -> Any:
        return getattr(self._session, name)

    def send(self, kind: str, content: Any) -> None:
        self.content[kind] = content


def script_json(value: Any) -> str:
    """Return JSON that cannot end the script element it stands in."""
    return (
        json.dumps(value, default=_plain)
        .replace("<", "\\u003c")
        .replace("\u2028", "\\u2028")
        .replace("\u2029", "\\u2029")
    )


def _plain(value: Any) -> Any:
    return value.tolist()
