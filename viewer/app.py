"""Puts the results, the state and the views together: the only module that knows them all."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence, Set
from pathlib import Path
from types import MappingProxyType
from typing import Any
from urllib.parse import urlencode

from bokeh.document import Document

from viewer.behaviours.view import Behaviours
from viewer.branch.view import Branch
from viewer.compare.compare_view import Compare
from viewer.compare.details_view import Details
from viewer.compare.effects.view import OperationEffects
from viewer.compare.hover_view import HoverCard
from viewer.decide.rail_view import Rail
from viewer.decide.view import Decide, prepare_decision
from viewer.format.scripts import page_script
from viewer.format.templates import asset, page_template, render
from viewer.layers.view import Layers
from viewer.map.appearance import appearance
from viewer.map.scatter_view import Scatterplot
from viewer.map.view import ModelMap
from viewer.overview.budgets_view import Budgets
from viewer.overview.header import Header
from viewer.overview.help_view import Help
from viewer.overview.notes_view import NotesPage
from viewer.overview.report import ReportView
from viewer.overview.startup import startup_page
from viewer.results.queries import StoreError, snapshot_id
from viewer.results.results import Results, load_results
from viewer.session.author import author_of
from viewer.session.choices import choices
from viewer.session.messages import Bridge, Outbox
from viewer.session.session import VisitorSession
from viewer.session.state import OWN_FIELDS, ViewState
from viewer.session.url import Keys, name_page, read_link, write_link
from viewer.session.view import RESULTS, Action, View
from viewer.table.table_view import TableView

__all__ = ["PAGES", "open_app", "results_path", "warm_cache"]

PAGES: dict[str, type[View] | None] = {
    "decide": Decide,
    "overview": None,  # in the page from the start
    "table": TableView,
    "compare": Compare,
    "effects": OperationEffects,
    "behaviours": Behaviours,
    "layers": Layers,
    "branch": Branch,
    "notes": NotesPage,
    "help": Help,
}
"""Every page: its name in the address, and the view whose `draw_page` makes it."""

_REPORTED: dict[str, type[View]] = {
    "header": Header,
    "map": ModelMap,
    "scatter": Scatterplot,
    "details": Details,
    "card": HoverCard,
    "table": TableView,
}
_POLL_MS = 2000
_SCRIPTS = (
    "page.js",
    "map.js",
    "scatter.js",
    "brush.js",
    "hover.js",
    "export.js",
    "inside.js",
    "history.js",
    "connection.js",
    "about.js",
    "panes.js",
    "table.js",
    "decide.js",
)
_QUIET = frozenset({"theme", RESULTS})
"""Changes that are no step of the browser's history."""
_NO_STEPS = frozenset({"link", "columns_remembered"})
"""Messages that make no step of it: one follows it, the other comes before anything that a person does."""


def results_path(arguments: Sequence[str]) -> Path:
    """The file to show: of `--args FILE`, else the environment's, else the current folder's."""
    return Path(arguments[0] if arguments else os.environ.get("BOUILLON_RESULTS") or "results.duckdb")


def warm_cache(arguments: Sequence[str]) -> None:
    """Read the results before the first visitor comes; what is wrong with them is that visitor's page to say."""
    try:
        results = load_results(results_path(arguments))
    except StoreError:
        return
    appearance(results).prepare()
    fresh = ViewState()
    results.ranking.front(choices(results).metric("x", fresh), choices(results).metric("y", fresh))
    prepare_decision(results)


def open_app(document: Document, arguments: Sequence[str]) -> App | None:
    """Fill a visitor's document; returns None where there is nothing but a page that says what to do."""
    path = results_path(arguments)
    try:
        results = load_results(path)
    except StoreError as problem:
        _plain_page(document, startup_page(path, problem))
        return None
    return App(document, path, results)


class App:
    """One visitor's page."""

    def __init__(self, document: Document, path: Path, results: Results) -> None:
        self._document = document
        self._is_back = False
        """Whether a step of the browser's history is being followed: it makes no new one."""
        self.state = ViewState()
        self._bridge = Bridge(name="bridge")
        outbox = Outbox(self._bridge, self._handle)
        query = _query(document)
        values, notices = read_link(query, Keys(results.forest.nodes))
        values = name_page(values)
        results = results.within(str(values.get("setting", ""))).only(values.get("only", {}))
        accepted, more = choices(results).accept(values, set(PAGES))
        self.state.change(accepted)
        self.session = VisitorSession(path, self.state, results, outbox)
        self.session.notices = notices + more
        self.session.user = author_of(getattr(document.session_context, "request", None))
        self.session.dark = self.state.theme == "dark" or (self.state.theme == "auto" and _prefers_dark(document))
        self.session.repaint = lambda: self._redraw({"color", "theme"})
        self.session.reveal = self._reveal
        self._views = self._make_views()
        self._pages = {name: self._view_of(kind) for name, kind in PAGES.items()}
        self._actions: dict[str, Action] = {}
        own: dict[str, Action] = {"set": self._set, "link": self._link, "view_open": self._open_view}
        for actions in (own, *(view.actions() for view in self._views)):
            clashes = self._actions.keys() & actions.keys()
            if clashes:
                raise RuntimeError(f"Two views handle the same message: {', '.join(sorted(clashes))}")
            self._actions |= actions
        self.state.watch(self._changed)
        self._fill()

    def _make_views(self) -> list[View]:
        self.header = header = Header(self.session)
        self._titles = {name: getattr(kind, "title", name.capitalize()) for name, kind in PAGES.items()}
        header.titles = self._titles
        self.map, self.scatter = ModelMap(self.session), Scatterplot(self.session)
        views: list[View] = [
            header,
            self.map,
            self.scatter,
            Details(self.session),
            Budgets(self.session),
            HoverCard(self.session),
            TableView(self.session),
            ReportView(self.session, _REPORTED),
            Rail(self.session),
        ]
        kinds = {type(view) for view in views}
        return views + [kind(self.session) for kind in PAGES.values() if kind is not None and kind not in kinds]

    def _reveal(self, key: str) -> None:
        """Bring a model into sight: on the map the mark that stands for it, in the table the rows that it is among."""
        layout = appearance(self.session.results).layout(self.state.arrange, self.state.opened, self.state.closed)
        self.session.send("bring", layout.owner.get(key, key))
        table = self._pages[self.state.page]
        if isinstance(table, TableView):
            table.reveal(key)

    def _view_of(self, kind: type[View] | None) -> View | None:
        return next((view for view in self._views if type(view) is kind), None)

    # ---- drawing
    def _fill(self) -> None:
        document, outbox = self._document, self.session.outbox
        with document.models.freeze():  # one walk through all models instead of one per root
            for root in (self.map.figure, self.scatter.figure, self._bridge):
                document.add_root(root)
        page = self._draw_page()  # first: the header tells what failed
        panes = {name: markup for view in self._views for name, markup in view.markup().items()}
        for view in self._views:
            view.begin()
        outbox.add("state", self._shown_state())
        outbox.first()
        document.template_variables.update(_page(panes | {"page": page}, self.state, self._title()))
        document.title = self._title()
        document.template = page_template()
        document.add_periodic_callback(self._look_again, _POLL_MS)

    def _title(self) -> str:
        return f"{self._titles.get(self.state.page, 'Bouillon')} · {self.session.path.name} · Bouillon"

    def _draw_page(self) -> str:
        """Return the open page's markup; of one that cannot be drawn, a way back, as its address would fail again."""
        page, markup = self._pages.get(self.state.page), ""
        if page is not None:
            markup = render(
                "inside_empty",
                title="This page cannot be drawn",
                text="The reason is in the output of the server. The other pages are as they were.",
            )
            with self.session.guarded(f"The page '{self.state.page}' could not be drawn."):
                markup = page.draw_page()
        return markup

    def _changed(self, fields: Set[str]) -> None:
        changed = set(fields)
        if changed & {"setting", "only"}:
            self.session.renew(self.session.results.within(self.state.setting).only(self.state.only))
            changed.add(RESULTS)
        if "page" in changed:
            self.session.send("title", self._title())
        self._redraw(changed, push=not self._is_back and bool(changed - _QUIET))

    def _redraw(self, changed: set[str], *, push: bool = False) -> None:
        for view in self._views:
            with self.session.guarded("A part of the page could not be drawn."):
                view.update(changed)
        page = self._pages.get(self.state.page)
        if "page" in changed or (page is not None and changed & (page.shows | {RESULTS})):
            self.session.send("panes", {"page": self._draw_page()})
        self.session.send("state", self._shown_state())
        self.session.send("link", {"query": write_link(self.state, self.session.keys), "push": push})

    def _shown_state(self) -> dict[str, Any]:
        return {"page": self.state.page, "theme": self.state.theme}

    # ---- what comes from the page
    def _handle(self, kind: str, message: Mapping[str, Any]) -> None:
        action = self._actions.get(kind)
        if action is not None:
            self._is_back = kind in _NO_STEPS
            with self.session.guarded("The viewer could not do that."), self.state.together():
                action(message)

    def _set(self, message: Mapping[str, Any]) -> None:
        """A control of the page was changed: the value is checked like one from an address."""
        field, value = str(message.get("field")), message.get("value")
        text = {True: "1", False: "0"}.get(value, str(value)) if isinstance(value, bool) else str(value)
        self._accept(urlencode({field: text}))

    def _link(self, message: Mapping[str, Any]) -> None:
        """Back or forward in the browser's history: everything the address does not name is as at the start."""
        fresh = ViewState()
        self._accept(str(message.get("query", "")), fresh.values())

    def _open_view(self, message: Mapping[str, Any]) -> None:
        """Open a view that somebody saved; what is a visitor's own stays as it is, whatever the view says."""
        own = {name: self.state.value(name) for name in OWN_FIELDS}
        self._accept(str(message.get("query", "")), ViewState().values(), own)

    def _accept(
        self, query: str, start: Mapping[str, Any] | None = None, end: Mapping[str, Any] = MappingProxyType({})
    ) -> None:
        """Take a query over; `start` has the values of what it does not name, `end` those that count whatever it names."""
        values, notices = read_link(query, self.session.keys)
        if start is not None:
            values = {**start, **name_page(values), **end}
        accepted, more = choices(self.session.results).accept(values, set(PAGES))
        self.state.change(accepted)
        if notices + more:
            self.session.notices = notices + more
            self.session.send("panes", {"notice": self.session.draw_notice()})

    # ---- results that are published while the page is open
    def _look_again(self) -> None:
        if snapshot_id(self.session.path) in (self.session.results.snapshot.id, (0, 0)):
            for view in self._views:
                view.look_again()
            self.session.outbox.send()
            return
        try:
            results = load_results(self.session.path).within(self.state.setting).only(self.state.only)
        except StoreError:
            return  # being replaced by something else: what is on the page stays
        with self.session.guarded("New results could not be shown."):
            self.session.renew(results)
            with self.state.together():
                self.state.change(choices(results).accept(self.state.values(), set(PAGES))[0])
            self._redraw({RESULTS})
        self.session.outbox.send()


def _query(document: Document) -> str:
    context = document.session_context
    arguments = getattr(getattr(context, "request", None), "arguments", None) or {}
    pairs = [(name, value.decode("utf-8", "replace")) for name, values in arguments.items() for value in values]
    return urlencode(pairs)


def _prefers_dark(document: Document) -> bool:
    """Return whether the browser said on an earlier visit that its ground is dark; it says so again once the page is open."""
    request = getattr(document.session_context, "request", None)
    return (getattr(request, "cookies", None) or {}).get("bouillon_ground") == "dark"


def _plain_page(document: Document, markup: str) -> None:
    document.template = page_template()
    document.title = "No results · Bouillon"
    document.template_variables.update(
        figures=False,
        panes={"startup": markup},
        theme="auto",
        page="",
        page_title="No results · Bouillon",
        css=asset("page.css"),
        theme_js=page_script("theme.js"),
    )


def _page(panes: Mapping[str, str], state: ViewState, title: str) -> dict[str, Any]:
    return {
        "figures": True,
        "panes": panes,
        "theme": state.theme,
        "page": state.page,
        "page_title": title,
        "css": asset("page.css")
        + asset("inside.css")
        + asset("decide.css")
        + asset("effects.css")
        + asset("branch.css")
        + asset("table.css"),
        "theme_js": page_script("theme.js"),
        "js": page_script(*_SCRIPTS),
        "bokeh_script": _BOKEH,
    }


_BOKEH = '<script src="static/js/bokeh.min.js"></script>'
"""BokehJS without widgets, tables, WebGL and Panel's own models: a third of what a browser would have to read."""
