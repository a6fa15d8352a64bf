"""Any metric against any other, with the Pareto front, intervals, and the map's colours, sizes and selection."""

from __future__ import annotations

from collections.abc import Mapping, Set
from typing import ClassVar

import numpy as np
from bokeh.models import BasicTicker, CustomJSTickFormatter, LinearScale, LogScale, LogTicker

from viewer.format.metrics import Better, MetricInfo
from viewer.format.templates import render
from viewer.map.appearance import appearance
from viewer.map.drawing import FAINT, packed
from viewer.map.figures import scatter_plot
from viewer.results.snapshot import MetricColumn
from viewer.session.choices import choices
from viewer.session.messages import SELECTION_FAILED
from viewer.session.session import VisitorSession
from viewer.session.view import RESULTS, Action, View

__all__ = ["TICKS", "Scatterplot", "extent"]

_CROWD = 1000
_MOST_NAMED = 60
_MOST_BARS = 300
"""Intervals of more models than this would be a grey mist."""

TICKS = """
const size = Math.abs(tick), most = Math.max(...ticks.map(Math.abs)), step = Math.abs(ticks[1] - ticks[0]);
// as many digits as tell a tick from the next one
const digits = Math.max(4, Math.min(12, Math.ceil(Math.log10(most / step)) + 1 || 0));
const short = (value) => String(Number(value.toPrecision(digits)));
if (size !== 0 && size < 1e-12) return tick.toExponential(0);
if (percent) return short(tick * 100) + "%";
if (size !== 0 && (size >= 1000 || size < 0.001)) {
  const power = Math.min(4, Math.floor(Math.log10(size) / 3 + 1e-9));
  const prefix = {"-4": "p", "-3": "n", "-2": "µ", "-1": "m", "0": "", "1": "k", "2": "M", "3": "G", "4": "T"}[power];
  return short(tick / 1000 ** power) + prefix;
}
return short(tick);
"""


class Scatterplot(View):
    """Owns the source `models`: one row per model of the study, in its order."""

    panes: ClassVar[Mapping[str, frozenset[str]]] = {
        "scatter_tools": frozenset({"x", "y", "x_log", "y_log"}),
        "front": frozenset({"x", "y", "x_log", "y_log", "dim_dominated", "filters"}),
    }

    def begin(self) -> None:
        self._send_front()

    def __init__(self, session: VisitorSession) -> None:
        super().__init__(session)
        plot = scatter_plot()
        self.figure, self._sources = plot.figure, plot.sources
        self.models = plot.sources["models"]
        self._echo = False
        self._whole: dict[str, tuple[float, float]] = {}
        self._draw_points()
        self._show_selection()
        self.models.selected.on_change("indices", self._on_selection)

    def actions(self) -> dict[str, Action]:
        return {"front_all": lambda message: self._choose(self.front())}

    def update(self, changed: Set[str]) -> None:
        super().update(changed)
        if changed & {"x", "y", "x_log", "y_log", "color", "size", RESULTS}:
            self._draw_points()
            self._send_front()
        elif changed & {"filters", "dim_dominated"}:
            xs, ys = self._values("x"), self._values("y")
            self._draw_front(xs, ys)
            self._draw_bars(xs, ys)
            self._send_front()
        if changed & {"selected", RESULTS}:
            self._show_selection()

    def _send_front(self) -> None:
        """Tell the page what is named, and the ranges that show all: those it draws may have been moved by hand already."""
        self.session.send("front", {"named": self.labels, "whole": [self._whole["x"], self._whole["y"]]})

    def draw_scatter_tools(self) -> str:
        results, state = self.session.results, self.state
        return render(
            "scatter_tools",
            metrics=results.choices,
            x=choices(results).metric("x", state),
            y=choices(results).metric("y", state),
            x_log=state.x_log,
            y_log=state.y_log,
        )

    def draw_front(self) -> str:
        results, state = self.session.results, self.state
        x, y = choices(results).metric("x", state), choices(results).metric("y", state)
        if not x or not y:
            return ""
        front = self.front()
        directions = [
            f"{results.better(metric)} {results.label(metric)}" for metric in (y, x) if results.direction(metric)
        ]
        within = " within the budget" if state.filters else ""
        text = (
            f"Pareto front{within}: {len(front)} model{'' if len(front) == 1 else 's'}"
            if front
            else f"No Pareto front{within}"
        )
        known = all(results.has_known_noise(metric) for metric in (x, y))
        measurably, unknown = ("measurably ", "") if known else ("", ", by bare values: their noise is unknown")
        why = (
            f"No other model {measurably}has {' or '.join(directions)} without being {measurably}worse in the other{unknown}"
            if directions
            else "Neither metric has a better end"
        )
        labels = [
            {"key": results.keys[row], "name": results.text.name(results.keys[row])} for row in front[:_MOST_NAMED]
        ]
        return render(
            "front",
            text=text,
            why=why,
            can_dim=bool(front),
            dim=state.dim_dominated,
            missing=self._absent(),
            unsure=int(self._unsure().sum()),
            named=labels,
        )

    def front(self) -> list[int]:
        """Rows within the budget that none of these beats on both axes, by x; empty where no axis has a better end."""
        results, state = self.session.results, self.state
        return results.ranking.front(
            choices(results).metric("x", state),
            choices(results).metric("y", state),
            results.ranking.passing(state.filters),
        )

    def _absent(self) -> str:
        """Say how many models have no place in the plot, and why."""
        results = self.session.results
        measured, visible = (
            np.logical_and(*(np.isfinite(values(axis)) for axis in ("x", "y")))
            for values in (self._measured, self._values)
        )
        parts = (
            [(~measured & results.scope).sum(), "not measured"],
            [(measured & ~visible & results.scope).sum(), "not above 0: no place on a log axis"],
            [(visible & results.elsewhere & results.scope).sum(), "of other data sets, on no front of these"],
        )
        return ", ".join(f"{count} {why}" for count, why in parts if count)

    def _measured(self, axis: str) -> np.ndarray:
        return self.session.results.values(choices(self.session.results).metric(axis, self.state))

    def _values(self, axis: str) -> np.ndarray:
        values = self._measured(axis)
        log = getattr(self.state, f"{axis}_log")
        return np.where(values > 0, values, np.nan) if log else values

    def _draw_points(self) -> None:
        results, state = self.session.results, self.state
        xs, ys = self._values("x"), self._values("y")
        crowd = 1.0 if len(results.keys) <= _CROWD else 0.6
        unsure = self._unsure()
        if not unsure.any():
            self._shape("circle")  # before the column of shapes goes
        self.models.data = {
            "x": xs,
            "y": ys,
            "size": (crowd * (5.0 + 12.0 * appearance(results).sizes(choices(results).metric("size", state)))).astype(
                np.float32
            ),
            "color": packed(appearance(results).rgb(choices(results).metric("color", state), dark=self.session.dark)),
            "alpha": np.where(choices(results).visible_rows(state), 0.9, FAINT).astype(np.float32),
            "key": results.keys,
            "parent": results.parent_rows,
        } | ({"marker": np.where(unsure, "diamond", "circle").tolist()} if unsure.any() else {})
        if unsure.any():
            self._shape("marker")
        self._axis("x", xs)
        self._axis("y", ys)
        self._draw_front(xs, ys)
        self._draw_bars(xs, ys)

    def _shape(self, marker: str) -> None:
        """Draw points with one shape, or with those of a column."""
        for renderer in self.figure.renderers:
            if renderer.data_source is self.models:
                renderer.glyph.marker = renderer.selection_glyph.marker = marker

    def _axis(self, name: str, values: np.ndarray) -> None:
        results, state = self.session.results, self.state
        metric = choices(results).metric(name, state)
        log = getattr(state, f"{name}_log")
        axis = self.figure.xaxis[0] if name == "x" else self.figure.yaxis[0]
        axis.axis_label = _axis_label(results.spec(metric)) if metric else ""
        axis.ticker = LogTicker() if log else BasicTicker(desired_num_ticks=6)
        axis.formatter = CustomJSTickFormatter(args={"percent": results.spec(metric).is_share}, code=TICKS)
        setattr(self.figure, f"{name}_scale", LogScale() if log else LinearScale())
        span = getattr(self.figure, f"{name}_range")
        self._whole[name] = extent(np.concatenate([values, self._around(metric)]), log=log)
        span.start, span.end = self._whole[name]

    def _around(self, metric: str) -> np.ndarray:
        """Return what else an axis must have room for: the ends of the scale, and the intervals that are drawn."""
        results = self.session.results
        if not metric:
            return np.array([])
        column = results.column(metric)
        ends = [column.low, column.high] if len(results.keys) <= _MOST_BARS else []
        return np.concatenate([appearance(results).ends(metric), *ends])

    def _unsure(self) -> np.ndarray:
        """Return of which rows one of the axes' figures was timed roughly or while others used the machine."""
        results = self.session.results
        metrics = (choices(results).metric(axis, self.state) for axis in ("x", "y"))
        unsure: np.ndarray = np.logical_or.reduce([results.unsure(metric) for metric in metrics])
        return unsure

    def _draw_front(self, xs: np.ndarray, ys: np.ndarray) -> None:
        """Draw the line through the best of the bare values; the page draws those names of the front that meet no other."""
        results, front = self.session.results, self.front()
        front = [
            row for row in front if np.isfinite(xs[row]) and np.isfinite(ys[row])
        ]  # a log axis has no place for all
        metrics = [choices(results).metric(axis, self.state) for axis in ("x", "y")]
        among = np.zeros(len(results.keys), dtype=bool)
        among[front] = True
        line = results.ranking.outline(metrics[0], metrics[1], among)
        self._sources["front"].data = {"x": xs[line], "y": ys[line]}
        few = front if len(front) <= _MOST_NAMED else []
        names = results.text.short_names([results.keys[row] for row in few])
        self.labels = [
            {"x": float(xs[row]), "y": float(ys[row]), "text": name} for row, name in zip(few, names, strict=True)
        ]

    def _draw_bars(self, xs: np.ndarray, ys: np.ndarray) -> None:
        results, state = self.session.results, self.state
        bars: dict[str, list[float]] = {"x0": [], "y0": [], "x1": [], "y1": []}
        if len(results.keys) <= _MOST_BARS:
            for axis in ("x", "y"):
                metric = choices(results).metric(axis, state)
                if metric:
                    column = results.column(metric)
                    _segments(bars, axis, np.where(choices(results).visible_rows(state), xs, np.nan), ys, column)
        self._sources["bars"].data = bars

    def _on_selection(self, attr: str, old: list[int], new: list[int]) -> None:
        if self._echo:
            return
        with self.session.guarded(SELECTION_FAILED):
            with self.state.together():
                self._choose(new)
            self._show_selection()
        self.session.outbox.send()

    def _choose(self, rows: list[int]) -> None:
        """Select what is not outside the budget."""
        visible = choices(self.session.results).visible_rows(self.state)
        self.state.pick([self.session.results.keys[row] for row in rows if row < len(visible) and visible[row]])

    def _show_selection(self) -> None:
        rows = [self.session.results.row[key] for key in self.state.selected if key in self.session.results.row]
        if rows != self.models.selected.indices:
            self._echo = True
            self.models.selected.indices = rows
            self._echo = False


def extent(values: np.ndarray, *, log: bool) -> tuple[float, float]:
    """Return an axis's ends, with a margin; constant and absent values have a range too."""
    finite = values[np.isfinite(values) & ((values > 0) | (not log))]
    if finite.size == 0:
        return (1.0, 10.0) if log else (0.0, 1.0)
    low, high = float(finite.min()), float(finite.max())
    if log:
        factor = (high / low) ** 0.06 if high > low else 1.5
        return low / factor, high * factor
    margin = (high - low) * 0.06 or abs(high) * 0.1 or 1.0
    return low - margin, high + margin


def _axis_label(spec: MetricInfo) -> str:
    """Name, unit, and the better end; the arrow turns with the label of the upright axis."""
    arrow = {Better.HIGHER: "  better →", Better.LOWER: "  ← better", Better.NEITHER: ""}[spec.better]
    return f"{spec.label} [{spec.unit}]{arrow}" if spec.unit else f"{spec.label}{arrow}"


def _segments(bars: dict[str, list[float]], axis: str, xs: np.ndarray, ys: np.ndarray, column: MetricColumn) -> None:
    other = "y" if axis == "x" else "x"
    at = ys if axis == "x" else xs
    finite = np.isfinite(column.low) & np.isfinite(column.high) & np.isfinite(xs) & np.isfinite(ys)
    for row in np.flatnonzero(finite):
        bars[f"{axis}0"].append(float(column.low[row]))
        bars[f"{axis}1"].append(float(column.high[row]))
        bars[f"{other}0"].append(float(at[row]))
        bars[f"{other}1"].append(float(at[row]))
