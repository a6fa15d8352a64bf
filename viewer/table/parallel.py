"""Parallel coordinates (Inselberg, 1985): the table's columns as upright axes, a line through each model's values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from viewer.format.filter_text import whole_text
from viewer.format.metrics import Better, format_value
from viewer.format.natural_order import natural_sorted
from viewer.map.appearance import appearance
from viewer.results.budget import Range
from viewer.session.choices import choices
from viewer.table.columns import TableColumn
from viewer.table.filters import range_text
from viewer.table.rows import TableRows

__all__ = ["MOST_AXES", "ParallelCoordinates", "UprightAxis", "axis_of"]

MOST_AXES = 12
MOST_APART = 400
"""Lines that are drawn one by one, so that each can be pointed at; more are drawn together, by colour."""
WIDTH, HEIGHT = 100, 1000
"""Of the drawing, per axis and in all; the page stretches it."""
_VALUES = 900
"""Height of the axes; below is the place of models that have no value."""
_NOTHING = 975
_MOST_TICKS = 8
_MOST_LINES = 20_000
_SPREAD = 1000.0
"""Ratio of largest to smallest from which on an axis is logarithmic."""
_COLOR_BITS = 0xE0


@dataclass(frozen=True)
class UprightAxis:
    """One axis: each row's place on it, and what its places stand for."""

    column: TableColumn
    places: np.ndarray
    """Float (N,), 0 at the bottom to 1 at the top; NaN where a row has nothing."""
    low: float
    high: float
    is_log: bool
    words: tuple[str, ...] = ()
    """Of an axis of words: its values, the first at the bottom."""

    def value(self, place: float) -> float:
        """Return the number at a place."""
        if self.is_log:
            return float(self.low * (self.high / self.low) ** place)
        return float(self.low + place * (self.high - self.low))

    def place(self, value: float | None, otherwise: float) -> float:
        """Return the place of a number; the other one for None, and where there is none."""
        if value is None or (self.is_log and value <= 0):
            return otherwise
        return float(np.clip(_shares(np.array([value]), self.low, self.high, is_log=self.is_log)[0], 0.0, 1.0))

    def ticks(self) -> list[tuple[float, str]]:
        """Return places with their texts: the ends of numbers and some between, or the words."""
        if self.words:
            step = -(-len(self.words) // (2 * _MOST_TICKS))
            return [(_word_place(at, len(self.words)), self.words[at]) for at in range(0, len(self.words), step)]
        if self.low == self.high:
            return [(0.5, self._text(self.low))]
        distinct = np.unique(self.places[np.isfinite(self.places)])
        places = distinct if distinct.size <= _MOST_TICKS and _are_apart(distinct) else np.linspace(0, 1, 5)
        return [(float(place), self._text(self.value(float(place)))) for place in places]

    def _text(self, number: float) -> str:
        spec = self.column.spec
        return format_value(number, spec) if spec is not None else f"{number:.6g}"


def axis_of(column: TableColumn, rows: np.ndarray) -> UprightAxis | None:
    """Return the axis of a column over some rows; None where none of them has a value.

    Args:
        column: numbers or words.
        rows: bool (N,): those that the axis must have room for.
    """
    if column.values is None:
        texts = [column.text(row) if among else "" for row, among in enumerate(rows.tolist())]
        words = tuple(natural_sorted(set(texts) - {""}))
        places = {word: _word_place(at, len(words)) for at, word in enumerate(words)}
        spots = np.array([places.get(text, np.nan) for text in texts])
        return UprightAxis(column, spots, 0.0, 1.0, is_log=False, words=words) if words else None
    values = np.where(rows, column.values, np.nan).astype(float)
    measured = values[np.isfinite(values)]
    if not measured.size:
        return None
    low, high = float(measured.min()), float(measured.max())
    is_log = low > 0 and high / low > _SPREAD
    return UprightAxis(column, _shares(values, low, high, is_log=is_log), low, high, is_log)


class ParallelCoordinates:
    """The second look of the table: the same columns, filters, budgets and selection."""

    def __init__(self, table: TableRows, *, dark: bool) -> None:
        self._table, self._dark = table, dark

    @cached_property
    def axes(self) -> list[UprightAxis]:
        """The first columns that any model in scope has a value of."""
        scope = self._table.results.scope
        axes = (axis_of(column, scope) for column in self._table.visible)
        return [axis for axis in axes if axis is not None][:MOST_AXES]

    @cached_property
    def foreground(self) -> np.ndarray:
        """The rows that pass filters and budgets: bool (N,)."""
        passing: np.ndarray = self._table.results.ranking.passing(self._table.state.filters)
        both: np.ndarray = self._table.among & passing
        return both

    def drawing(self) -> dict[str, Any]:
        """Return axes and lines, ready to be drawn by the template."""
        results, state = self._table.results, self._table.state
        heights = self._heights()
        front = np.flatnonzero(self.foreground)
        behind = np.flatnonzero(results.scope & ~self.foreground)
        picked_rows = [results.row[key] for key in (*state.selected, state.card) if key in results.row]
        apart = front.size <= MOST_APART
        colors = self._colors()
        return {
            "axes": [self._axis(axis) for axis in self.axes],
            "width": WIDTH * len(self.axes),
            "height": HEIGHT,
            "behind": _path(heights[behind[:_MOST_LINES]]),
            "groups": [] if apart else _grouped(heights[front], colors[front]),
            "lines": [self._line(row, heights, colors) for row in front.tolist()] if apart else [],
            "chosen": [self._line(row, heights, colors) for row in dict.fromkeys(picked_rows)][:MOST_APART],
            "front": int(front.size),
            "left": len(self._table.visible) - len(self.axes),
            "apart": apart,
            "most_apart": MOST_APART,
            "color": results.label(choices(results).metric("color", state)),
        }

    def _heights(self) -> np.ndarray:
        """Return where each row's line meets each axis, from the top: int (N, axes)."""
        if not self.axes:
            return np.zeros((len(self._table.results.keys), 0), dtype=int)
        places = np.stack([axis.places for axis in self.axes], axis=1)
        inside = np.round((1 - np.nan_to_num(places, nan=0.0)) * _VALUES)
        return np.where(np.isfinite(places), inside, _NOTHING).astype(int)

    def _colors(self) -> np.ndarray:
        results = self._table.results
        return appearance(results).rgb(choices(results).metric("color", self._table.state), dark=self._dark)

    def _line(self, row: int, heights: np.ndarray, colors: np.ndarray) -> dict[str, str]:
        results = self._table.results
        key = results.keys[row]
        color = "#" + bytes(colors[row].tolist()).hex()
        return {"key": key, "name": results.text.name(key), "d": _path(heights[[row]]), "color": color}

    def _axis(self, axis: UprightAxis) -> dict[str, Any]:
        column, state = axis.column, self._table.state
        better = self._table.results.better(column.id) if column.is_metric else Better.NEITHER
        bounds = next(((low, high) for metric, low, high in state.filters if metric == column.id), None)
        band = None if bounds is None else (axis.place(bounds[0], 0.0), axis.place(bounds[1], 1.0))
        return {
            "id": column.id,
            "label": column.label,
            "over": column.over,
            "title": column.title,
            "about": column.about,
            "better": {Better.HIGHER: "better ↑", Better.LOWER: "better ↓"}.get(better, ""),
            "log": axis.is_log,
            "ticks": [{"top": _percent(1 - place), "text": text} for place, text in axis.ticks()],
            "missing": bool((~np.isfinite(axis.places) & self._table.results.scope).any()),
            "band": band
            and {"top": _percent(1 - band[1]), "height": max(0.5, _percent(1 - band[0]) - _percent(1 - band[1]))},
            "where": state.where.get(column.id, ""),
            "problem": self._table.problems.get(column.id, ""),
        }

    # ---- a range that was dragged: `low` and `high` of the message are places on the axis
    def within(self, column: TableColumn, message: Mapping[str, Any]) -> list[int]:
        """Return the rows that pass filters and budgets and lie in a range of an axis."""
        axis = axis_of(column, self._table.results.scope)
        if axis is None:
            return []
        low, high = _ends(message)
        with np.errstate(invalid="ignore"):
            inside = (axis.places >= low) & (axis.places <= high) & self.foreground
        return [int(row) for row in np.flatnonzero(inside)]

    def budget(self, column: TableColumn, message: Mapping[str, Any]) -> list[Range]:
        """Return the budget that a range of a metric's axis stands for; none where it was cleared, or is all of it."""
        axis = axis_of(column, self._table.results.scope)
        low, high = _ends(message)
        bounds = (None, None) if axis is None else _numbers(axis, low, high)
        return [] if bounds == (None, None) else [(column.id, *bounds)]

    def filter_text(self, column: TableColumn, message: Mapping[str, Any]) -> str:
        """Return the filter that a range of an axis stands for, as it would be typed."""
        axis = axis_of(column, self._table.results.scope)
        if axis is None or "low" not in message:
            return ""
        low, high = _ends(message)
        if axis.words:
            some = [word for at, word in enumerate(axis.words) if low <= _word_place(at, len(axis.words)) <= high]
            return "" if len(some) == len(axis.words) else " or ".join(map(whole_text, some))
        return range_text(*("" if bound is None else f"{bound:g}" for bound in _numbers(axis, low, high)))


def _ends(message: Mapping[str, Any]) -> tuple[float, float]:
    """Return a range of places, 0 to 1: pages may send anything."""
    try:
        low, high = float(message.get("low", 0.0)), float(message.get("high", 1.0))
    except (TypeError, ValueError):
        return 0.0, 1.0
    return (min(low, high), max(low, high)) if np.isfinite([low, high]).all() else (0.0, 1.0)


def _numbers(axis: UprightAxis, low: float, high: float) -> tuple[float | None, float | None]:
    """Return the numbers at two places to four digits; None at an end of the axis: no bound."""
    return (
        None if low <= 0 else float(f"{axis.value(low):.4g}"),
        None if high >= 1 else float(f"{axis.value(high):.4g}"),
    )


def _shares(values: np.ndarray, low: float, high: float, *, is_log: bool) -> np.ndarray:
    """Return values as shares of the way from low to high; equal ends are the middle."""
    if high <= low:
        return np.where(np.isfinite(values), 0.5, np.nan)
    if is_log:
        with np.errstate(invalid="ignore", divide="ignore"):
            logs: np.ndarray = np.log(values / low) / np.log(high / low)
        return logs
    shares: np.ndarray = (values - low) / (high - low)
    return shares


def _word_place(at: int, count: int) -> float:
    return 0.5 if count == 1 else at / (count - 1)


def _are_apart(places: np.ndarray) -> bool:
    return bool((np.diff(places) >= 1 / (_MOST_TICKS + 4)).all())


def _percent(share: float) -> float:
    return round(100 * share * _VALUES / HEIGHT, 2)


def _path(heights: np.ndarray) -> str:
    """Return an SVG path through each row's heights; rows that look the same are drawn once."""
    if not heights.size:
        return ""
    rows = np.unique(heights, axis=0) if len(heights) > 1 else heights
    middle = WIDTH // 2
    return "".join(
        f"M{middle} {row[0]}" + "".join(f"l{WIDTH} {step}" for step in np.diff(row).tolist())
        if len(row) > 1
        else f"M{middle - 10} {row[0]}h20"
        for row in rows
    )


def _grouped(heights: np.ndarray, colors: np.ndarray) -> list[dict[str, str]]:
    """Return a path for each of a few colours: thousands of elements would be slow to draw."""
    shades, group = np.unique(colors & _COLOR_BITS, axis=0, return_inverse=True)
    group = group.reshape(-1)
    groups = []
    for at in range(len(shades)):
        members = group == at
        mean = colors[members].mean(axis=0).round().astype(np.uint8)
        groups.append({"color": "#" + bytes(mean.tolist()).hex(), "d": _path(heights[members])})
    return groups
