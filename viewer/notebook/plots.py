"""The two plots as parts of Panel: the served pages' figures, which look at themselves without a page around them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import panel as pn
import param
from bokeh.models import ColumnDataSource, HoverTool, Text, WheelZoomTool
from bokeh.plotting import figure
from panel.viewable import Viewer

from viewer.map.scatter_view import Scatterplot
from viewer.map.view import ModelMap
from viewer.notebook.state import NotebookSession, accept, budget_ranges, find_models
from viewer.session.choices import choices

__all__ = ["MapViewer", "PlotViewer", "ScatterplotViewer"]

_ROW, _FRAME, _TALLEST = 26, 130, 1100
"""Pixels of a row of the map, around it, and at most."""
_MOST_LABELS = 120
_NARROWEST = 320
"""Pixels of the window of a phone, less its margins."""


class PlotViewer(Viewer):
    """A plot with the selection; its parameters may be linked to other parts of a page."""

    budget = param.String(
        "", doc="what models must satisfy, as it is typed on the page: 'accuracy >= 90%; size <= 25 MB'"
    )
    color = param.String("", doc="metric shown as colour; `:kind`: the kind of operation; empty: the viewer's choice")
    size = param.String("", doc="metric shown as size; empty: the viewer's choice")
    selected = param.List([], item_type=str, doc="keys of the selected models, in the order they were picked")
    height = param.Integer(460, bounds=(120, None), doc="pixels")

    _fields: tuple[str, ...] = ("color", "size")

    def __init__(self, session: NotebookSession, **values: Any) -> None:
        super().__init__(**values)
        self.session = session
        self._push(self._fields)
        self.view = self._make()
        self._ready()
        session.state.watch(self._state_changed)
        self.param.watch(
            lambda *events: self._push([event.name for event in events]), [*self._fields, "budget", "selected"]
        )

    def _make(self) -> Any:
        raise NotImplementedError

    def _ready(self) -> None:
        """Add to the figure what a page around it would."""

    def _push(self, names: Any) -> None:
        """Bring parameters into the state; those of no meaning here raise an error."""
        values: dict[str, Any] = {name: getattr(self, name) for name in names if name in self._fields}
        values["filters"] = budget_ranges(self.session.results, self.budget)
        accept(self.session, values)
        self.session.state.pick(find_models(self.session.results, self.selected))

    def _state_changed(self, fields: Any) -> None:
        dims = bool({"filters", "dim_dominated"} & set(fields))  # which a page does by itself
        self.view.update({*fields, "color"} if dims else set(fields))
        self._ready()
        self.selected = list(self.session.state.selected)

    @property
    def figure(self) -> figure:
        """Bokeh's figure."""
        plot: figure = self.view.figure
        return plot

    def __panel__(self) -> pn.viewable.Viewable:
        self.figure.update(sizing_mode="stretch_width", height=self.height, min_width=_NARROWEST)
        return pn.pane.Bokeh(self.figure, height=self.height, sizing_mode="stretch_width", min_width=_NARROWEST)

    def _source(self, name: str) -> ColumnDataSource:
        own = self.figure.select_one({"name": name, "type": ColumnDataSource})
        return own or next(each.data_source for each in self.figure.renderers if each.data_source.name == name)

    def _show(self, tooltips: list[tuple[str, str]]) -> None:
        for renderer in self.figure.renderers:
            renderer.visible = True
        for tool in self.figure.toolbar.tools:
            if isinstance(tool, HoverTool):
                tool.tooltips, tool.callback = tooltips, None
        self.figure.toolbar_location = "above"


class ScatterplotViewer(PlotViewer):
    """Any metric against any other, with intervals, the Pareto front and the selection."""

    x = param.String("", doc="metric of the horizontal axis; empty: the viewer's choice")
    y = param.String("", doc="metric of the upright axis; empty: the viewer's choice")
    x_log = param.Boolean(False, doc="logarithmic horizontal axis")
    y_log = param.Boolean(False, doc="logarithmic upright axis")
    dim_dominated = param.Boolean(False, doc="draw models faintly that another beats on both axes")

    _fields = ("color", "size", "x", "y", "x_log", "y_log", "dim_dominated")

    def _make(self) -> Scatterplot:
        return Scatterplot(self.session)

    def front(self) -> list[str]:
        """Return the keys of the models within the budget that no other measurably beats on both axes."""
        return [self.session.results.keys[row] for row in self.view.front()]

    def _ready(self) -> None:
        results, state = self.session.results, self.session.state
        axes = {axis: choices(results).metric(axis, state) for axis in ("x", "y")}
        rows = range(len(results.keys))
        texts = {
            f"{axis}_text": [results.show(metric, row, interval=True) for row in rows] for axis, metric in axes.items()
        }
        names = [results.text.name(key) for key in results.keys]
        self.view.models.data = {**self.view.models.data, "name": names, **texts}
        self._show(
            [("", "@name"), *((results.label(axes[axis]), f"@{axis}_text") for axis in ("y", "x") if axes[axis])]
        )


class MapViewer(PlotViewer):
    """Every model, joined to the one that it was made from."""

    arrange = param.Selector(default="operation", objects=["operation", "step", "time"], doc="columns of the map")

    _fields = ("color", "size", "arrange")

    def _make(self) -> ModelMap:
        return ModelMap(self.session)

    def _ready(self) -> None:
        self.view.begin()
        frame: Mapping[str, Any] = self.session.content["map"]
        rows, columns = max(1, frame["rows"]), max(1, frame["columns"])
        spans = self.figure.x_range, self.figure.y_range
        spans[0].start, spans[0].end = -0.7, columns - 0.3
        spans[1].start, spans[1].end = rows - 0.3, -1.0 - min(3.0, rows / 12)
        self.height = int(min(_TALLEST, _FRAME + _ROW * rows))
        self._name_columns([header["text"] for header in frame["headers"]])
        self._name_marks()
        self._show([("", "@name"), ("made by", "@brief")])
        if not any(isinstance(tool, WheelZoomTool) for tool in self.figure.toolbar.tools):
            self.figure.toolbar.tools.append(WheelZoomTool())

    def _name_columns(self, texts: list[str]) -> None:
        data = {"x": list(range(len(texts))), "y": [-0.75] * len(texts), "text": texts}
        for renderer in self.figure.renderers:
            if renderer.name == "columns":
                renderer.data_source.data = data
                return
        glyph = Text(x="x", y="y", text="text", text_align="center", text_baseline="bottom")
        glyph.update(text_font_size="12px", text_font_style="bold")
        self.figure.add_glyph(ColumnDataSource(data), glyph, name="columns")

    def _name_marks(self) -> None:
        """Label the marks beside themselves, on maps with room for it."""
        nodes = self.view.nodes.data
        count = len(nodes["x"]) if len(nodes["x"]) <= _MOST_LABELS else 0
        labels = self._source("labels")
        labels.data = {
            "x": np.asarray(nodes["x"])[:count],
            "y": np.asarray(nodes["y"])[:count],
            "text": list(nodes["label"])[:count],
            "align": ["left"] * count,
            "dx": [15] * count,
            "dy": [0] * count,
        }
