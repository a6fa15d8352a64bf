"""The two figures of the overview, empty: their sources are filled by the views. Canvas, no toolbar, colours from CSS."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

from bokeh.core.properties import expr, value
from bokeh.models import (
    BoxSelectTool,
    Circle,
    ColumnDataSource,
    CustomJS,
    CustomJSExpr,
    GlyphRenderer,
    HoverTool,
    LassoSelectTool,
    Line,
    PanTool,
    Patches,
    Range1d,
    Scatter,
    Segment,
    TapTool,
    Text,
    WheelZoomTool,
)
from bokeh.plotting import figure

__all__ = [
    "ACCENT",
    "FRONT",
    "MODEL_COLUMNS",
    "NODE_COLUMNS",
    "RIBBON_COLUMNS",
    "FigurePool",
    "Plot",
    "fill_pools",
    "map_plot",
    "scatter_plot",
]

NODE_COLUMNS = (
    "x",
    "y",
    "r",
    "color",
    "alpha",
    "edge",
    "edge_width",
    "dash",
    "key",
    "model",
    "members",
    "below",
    "label",
    "brief",
    "name",
    "inside",
)
"""Of `nodes`, what the map draws: a model's row in `model`, or -1 and the rows of a bundle in `members`; in `below` those of
what it hides."""
FRONT = "#c2570c"
"""What is on the Pareto front."""
RIBBON_COLUMNS = ("corners_x", "corners_y", "color", "faint", "parent", "child")
"""Of `ribbons`, one row per piece: a row of the two matrices has its corners; `faint` is its colour outside the budget,
`parent` and `child` are nodes."""
MODEL_COLUMNS = ("x", "y", "size", "color", "alpha", "key", "parent")
"""Of `models`: one row per model of the study, in its order; `parent` is a row, or -1. `marker` is there
too where the shapes of points differ: names of shapes for all are an eighth of what a browser reads of 5,000 models."""
ACCENT = "#e0218a"
"""What is selected or pointed at: a hue that neither the colour scales nor the kinds of operation use."""
_HOVERED = "window.bouillon && bouillon.hovered('{name}', cb_data.index.indices.at(-1) ?? -1)"
_FONT = '"Inter", "Segoe UI", system-ui, "DejaVu Sans", sans-serif'


@dataclass(frozen=True)
class Plot:
    """A figure with its sources by name: asking the figure for them walks through all of its models."""

    figure: figure
    sources: dict[str, ColumnDataSource] = field(default_factory=dict)

    def source(self, name: str, *columns: str) -> ColumnDataSource:
        """Return a source; made with these columns, empty, the first time it is named."""
        if name not in self.sources:
            self.sources[name] = ColumnDataSource({column: [] for column in columns}, name=name)
        return self.sources[name]


def map_plot() -> Plot:
    """Return a plot for `ribbons`, `nodes` and `labels`; x in columns, y in rows downwards, radii in rows."""
    return _MAPS.take()


def scatter_plot() -> Plot:
    """Return a plot for every model as a point, the Pareto front, error bars and what a hover adds."""
    return _SCATTERPLOTS.take()


def fill_pools() -> None:
    """Make plots for the next visitors: it takes longer than everything else on the way to a page."""
    _MAPS.fill()
    _SCATTERPLOTS.fill()


def _map_plot() -> Plot:
    """Draw `ribbons`, `nodes` and `labels`; x in columns, y in rows downwards, radii in rows."""
    plot = _plot("map", Range1d(-1, 8), Range1d(10, -1), x_axis_type=None, y_axis_type=None)
    ribbons = plot.source("ribbons", *RIBBON_COLUMNS)
    shape = {"xs": _rows_of("corners_x"), "ys": _rows_of("corners_y"), "line_color": None}
    _glyph(plot, ribbons, Patches(**shape, fill_color="color"), faint=Patches(**shape, fill_color="faint"))
    node = Circle(
        x="x",
        y="y",
        radius="r",
        radius_dimension="y",
        fill_color="color",
        fill_alpha="alpha",
        line_color="edge",
        line_alpha="alpha",
        line_width="edge_width",
        line_dash="dash",
    )
    ring = Circle(
        x="x",
        y="y",
        radius="r",
        radius_dimension="y",
        fill_color="color",
        fill_alpha="alpha",
        line_color=ACCENT,
        line_width=3.5,
    )
    marks = _glyph(plot, plot.source("nodes", *NODE_COLUMNS), node, selection=ring)
    crown = Circle(x="x", y="y", radius="r", radius_dimension="y", fill_color=None, line_color=FRONT, line_width=2)
    _glyph(plot, plot.source("front_marks", "x", "y", "r"), crown)
    pointer = Circle(x="x", y="y", radius="r", radius_dimension="y", fill_color=None, line_color=ACCENT, line_width=2)
    _glyph(plot, plot.source("pointer", "x", "y", "r"), pointer, over=True)
    _labels(plot, "labels", "map-labels")
    _tools(plot.figure, marks)
    return plot


def _scatter_plot() -> Plot:
    """Draw every model as a point, the Pareto front, error bars and what a hover adds."""
    # the last tick's label reaches beyond its axis by half its width, or half its height
    plot = _plot("scatter", Range1d(0, 1), Range1d(0, 1), min_border_right=22, min_border_top=8)
    for axis in (plot.figure.xaxis[0], plot.figure.yaxis[0]):
        axis.axis_label_text_font_style = "normal"
        axis.axis_label_text_font_size = axis.major_label_text_font_size = "12px"
        axis.axis_label_text_font = axis.major_label_text_font = _FONT
        axis.axis_label_standoff = 3
    for name, color, alpha, width in (
        ("bars", "#8a97a6", 0.55, 1),
        ("front_lines", "#8a97a6", 0.9, 1),
        ("kin", ACCENT, 0.9, 2),
    ):
        line = Segment(x0="x0", y0="y0", x1="x1", y1="y1", line_color=color, line_alpha=alpha, line_width=width)
        _glyph(plot, plot.source(name, "x0", "y0", "x1", "y1"), line, over=name == "kin")
    _glyph(plot, plot.source("front", "x", "y"), Line(x="x", y="y", line_color=FRONT, line_width=1.6, line_dash=[5, 3]))
    point = Scatter(
        x="x",
        y="y",
        size="size",
        fill_color="color",
        fill_alpha="alpha",
        line_color="#5c6b7a",
        line_alpha="alpha",
        line_width=0.6,
    )
    ring = Scatter(
        x="x",
        y="y",
        size="size",
        fill_color="color",
        fill_alpha="alpha",
        line_color=ACCENT,
        line_width=3,
    )
    marks = _glyph(plot, plot.source("models", *MODEL_COLUMNS), point, selection=ring)
    spot = Scatter(x="x", y="y", size="size", fill_color=None, line_color=ACCENT, line_width=2)
    _glyph(plot, plot.source("spot", "x", "y", "size"), spot, over=True)
    _labels(plot, "front_labels", "front-labels")
    _tools(plot.figure, marks)
    wheel = WheelZoomTool(name="wheel")
    plot.figure.toolbar.tools.append(wheel)
    plot.figure.toolbar.active_scroll = wheel
    return plot


def _plot(name: str, x_range: Range1d, y_range: Range1d, **frame: Any) -> Plot:
    """Return an empty figure. Bokeh clears its canvas from half a pixel on: what is drawn before that stays for ever."""
    plot = figure(
        name=name,
        x_range=x_range,
        y_range=y_range,
        sizing_mode="stretch_both",
        toolbar_location=None,
        tools="",
        output_backend="canvas",
        min_border=1,
        outline_line_color=None,
        lod_threshold=None,
        **frame,
    )
    plot.toolbar.logo = None
    return Plot(plot)


def _glyph(
    plot: Plot, source: ColumnDataSource, glyph: Any, *, selection: Any = None, faint: Any = None, over: bool = False
) -> GlyphRenderer:
    """Add a glyph that looks the same whether selected or not, unless told otherwise.

    It is invisible until the page says where the plot is looked at from. What comes and goes with the pointer is drawn
    `over` the plot, on a layer of its own: the plot itself need not be drawn again for it.
    """
    return plot.figure.add_glyph(
        source,
        glyph,
        selection_glyph=selection or glyph,
        nonselection_glyph=faint or glyph,
        muted_glyph=glyph,
        visible=False,
        level="overlay" if over else "glyph",
    )


def _rows_of(column: str) -> Any:
    """Take each row of a matrix as one polygon: a matrix travels as one buffer, a list of arrays as thousands."""
    code = f"""
    const matrix = this.data.{column}, corners = matrix.shape?.[1] ?? 0, found = [];
    const flat = Float32Array.from(matrix);  // a matrix of its own class has no subarray
    for (let at = 0; at < flat.length; at += corners) found.push(flat.subarray(at, at + corners));
    return found;
    """
    return expr(CustomJSExpr(code=code))


def _labels(plot: Plot, source: str, name: str) -> None:
    text = Text(
        x="x",
        y="y",
        text="text",
        text_align="align",
        x_offset="dx",
        y_offset="dy",
        text_font=value(_FONT),
        text_font_size=value("12px"),
        text_baseline=value("middle"),
        background_fill_color=value("#ffffff"),
        background_fill_alpha=0.75,
    )
    _glyph(plot, plot.source(source, "x", "y", "text", "align", "dx", "dy"), text).name = name


def _tools(plot: figure, marks: GlyphRenderer) -> None:
    """Tap, box and lasso act on the marks alone: `TapTool` without renderers would hit ribbons and labels."""
    pan = PanTool(name="pan")
    hover = HoverTool(renderers=[marks], tooltips=None, callback=CustomJS(code=_HOVERED.format(name=plot.name)))
    plot.toolbar.tools = [
        pan,
        BoxSelectTool(name="box", renderers=[marks]),
        LassoSelectTool(name="lasso", renderers=[marks], continuous=False),
        TapTool(renderers=[marks]),
        TapTool(renderers=[marks], gesture="doubletap", mode="replace"),  # two quick clicks on two models are one
        hover,
    ]
    plot.toolbar.active_drag = pan


T = TypeVar("T")


class FigurePool(Generic[T]):
    """A few figures made ahead of the visits that need them. Each is given away once, so that visitors share nothing."""

    def __init__(self, make: Callable[[], T], most: int = 2) -> None:
        self._make = make
        self._most = most
        self._ready: deque[T] = deque()

    def take(self) -> T:
        """Return a figure made ahead; a new one if there is none."""
        try:
            return self._ready.popleft()
        except IndexError:
            return self._make()

    def fill(self) -> None:
        """Make as many as the pool holds."""
        while len(self._ready) < self._most:
            self._ready.append(self._make())


_MAPS = FigurePool(_map_plot)
_SCATTERPLOTS = FigurePool(_scatter_plot)
