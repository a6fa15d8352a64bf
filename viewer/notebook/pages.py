"""Pages of markup as parts of Panel: table, comparison, behaviours and layers, drawn from the state that their arguments make."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Any

import panel as pn
import param
from panel.viewable import Viewer

from viewer.behaviours.view import Behaviours
from viewer.compare.compare_view import Compare
from viewer.format.templates import asset
from viewer.layers.view import Layers
from viewer.notebook.state import NotebookSession, UnknownModelError, accept, budget_ranges, find_models
from viewer.session.state import LayersState
from viewer.session.view import View
from viewer.table.table_view import TableView

__all__ = ["BehavioursViewer", "CompareViewer", "LayersViewer", "PageViewer", "TableViewer"]

_ROOT = re.compile(r":root(?P<theme>\[data-theme=dark\])?")
_ALONE = """
.bouillon { font: 13px/1.45 "Inter", "Segoe UI", system-ui, sans-serif; color: var(--ink);
  background: var(--paper); padding: 8px; border-radius: 8px; }
.bouillon #pane-page { position: static; padding: 0; overflow: visible; display: block; }
.bouillon .holder { max-height: 640px; overflow: auto; }
.bouillon .sheet :is(thead th, tbody th) button:not([aria-label]) {
  display: inline !important; border: 0; padding: 0; min-height: 0; background: none; text-align: left;
  font: inherit; color: inherit; pointer-events: none;
}
.bouillon :is(.flag, .unseen, .instances) { display: none !important; }
.bouillon .toolbar:not(:has(span:not(.group, .field, .soft))) { display: none; }
"""


class PageViewer(Viewer):
    """A page without its controls: what they would change are parameters here."""

    models = param.List([], item_type=str, doc="models, by name or key; empty: the viewer's choice")
    budget = param.String(
        "", doc="what models must satisfy, as it is typed on the page: 'accuracy >= 90%; size <= 25 MB'"
    )
    base = param.String("", doc="the model that others are compared with; empty: the one nearest a root")
    theme = param.Selector(default="light", objects=["light", "dark"])

    kind: type[View]
    _fields: tuple[tuple[str, str], ...] = ()
    """Parameters -> the fields of the state that they are."""

    def __init__(self, session: NotebookSession, **values: Any) -> None:
        super().__init__(**values)
        self.session = session
        self.view = self.kind(session)
        self._pane = pn.pane.HTML(self.html(), stylesheets=[style_sheet()], sizing_mode="stretch_width", min_width=320)
        self.param.watch(self._redraw, [name for name in self.param if name != "name"])

    def _redraw(self, *events: Any) -> None:
        self._pane.object = self.html()

    def html(self) -> str:
        """Return the markup for the parameters as they are."""
        results = self.session.results
        base = find_models(results, [self.base])[0] if self.base else ""
        values = {field: getattr(self, name) for name, field in self._fields}
        accept(self.session, {**values, "base": base, "filters": budget_ranges(results, self.budget)})
        self.session.state.pick(find_models(results, self.models))
        markup = self.markup().replace(" data-about=", " title=")
        return f'<div class="bouillon" data-theme="{self.theme}"><div id="pane-page">{markup}</div></div>'

    def markup(self) -> str:
        """Return the page's own markup."""
        return self.view.draw_page()

    def __panel__(self) -> pn.viewable.Viewable:
        return self._pane


class TableViewer(PageViewer):
    """Models with parameters and metrics; those of `models` are marked as selected."""

    columns = param.List(
        [], item_type=str, doc="metrics and parameters (`param:quantize.method`); empty: the usual ones"
    )
    where = param.Dict(
        {}, doc="column -> filter, as it is typed on the page: {'param:quantize.bits': '< 8', ' op': 'quantize'}"
    )
    order = param.String("", doc="column that rows are sorted by; empty: as in the map")
    descending = param.Boolean(False)
    group = param.String("", doc="`replicates`: seeds as one row; or `recipe`, `run`, `seed`, `dataset`, `task`")
    rows = param.Integer(50, bounds=(1, 5000), doc="how many are shown at most")

    kind = TableView
    _fields = tuple((name, name) for name in ("columns", "where", "order", "descending", "group"))

    def markup(self) -> str:
        view = self.view
        if not isinstance(view, TableView):
            raise TypeError(type(view))
        self.session.state.within = bool(self.budget)
        markup = view.draw_rows(0, self.rows)
        if problems := view.table().problems:
            raise UnknownModelError(" ".join(problems.values()))
        return markup


class CompareViewer(PageViewer):
    """Models beside a base, metric by metric, with the noise of each change."""

    kind = Compare


class BehavioursViewer(PageViewer):
    """Classes, groups and instances that models treat differently than a base, the most harmed first."""

    rows = param.Selector(default="classes", objects=["classes", "groups", "instances"])
    measure = param.String("error", doc="what is compared")

    kind = Behaviours
    _fields = (("rows", "b_rows"), ("measure", "b_measure"))


class LayersViewer(PageViewer):
    """Sparsity, weights, activations or numbers of every layer against a base."""

    show = param.Selector(default="weights", objects=LayersState.param["show"].objects)
    flat = param.Boolean(True, doc="a flat list instead of the tree")

    kind = Layers
    _fields = (("show", "l_show"), ("flat", "l_flat"))


@lru_cache
def style_sheet() -> str:
    """Return the pages' style sheets as those of one part: they hold inside it, and what asks a server is left out."""
    text = "\n".join(map(asset, ("page.css", "inside.css", "decide.css", "table.css", "report.css"))) + _ALONE
    return _ROOT.sub(lambda match: f".bouillon{match['theme'] or ''}", text)
