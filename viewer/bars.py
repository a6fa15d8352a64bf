"""Grouped horizontal bars: where everything goes. Pure: values in, a picture's geometry out.

Horizontal, because the groups have long names ("magnitude prune 0.5") and a pane is narrow: names stay readable, and any
number of bars has room. A group is a value of the first variable, a colour one of the second, a facet one of the third.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass

from viewer.metrics import Measured

__all__ = ["Bar", "Chart", "Entry", "Label", "chart"]

WIDTH, LABEL, VALUE = 260.0, 92.0, 52.0
_BAR, _THIN, _GAP, _FACET = 13.0, 4.0, 5.0, 18.0
_MANY = 80
_CHARACTER = 5.3
"""Mean width of a character at 10 px, for shortening names."""


@dataclass(frozen=True, slots=True)
class Entry:
    """A value to draw."""

    key: str
    name: str
    group: str
    color: str
    facet: str
    measured: Measured


@dataclass(frozen=True, slots=True)
class Label:
    """A name of a group or facet; `full` where it had to be shortened."""

    text: str
    full: str
    x: float
    y: float


@dataclass(frozen=True, slots=True)
class Bar:
    """One bar with its number and its interval, in pixels."""

    key: str
    name: str
    color: str
    x: float
    y: float
    width: float
    height: float
    text: str
    text_x: float
    low: float | None
    high: float | None


@dataclass(frozen=True, slots=True)
class Chart:
    """A whole picture, in pixels from its top left corner."""

    bars: list[Bar]
    groups: list[Label]
    facets: list[Label]
    zero: float
    width: float
    height: float


def chart(entries: Sequence[Entry], colors: Mapping[str, str], show: Callable[[float], str]) -> Chart:
    """Place the entries in their order: facet by facet, group by group, one bar each. Missing values keep their place.

    Very many get bars without numbers, so that they stay one picture.
    """
    scale = _scale(entries)
    many = len(entries) > _MANY
    height = _THIN if many else _BAR
    bars: list[Bar] = []
    groups: list[Label] = []
    facets: list[Label] = []
    y = start = 2.0
    facet = group = None
    names = {entry.group for entry in entries}
    for entry in entries:
        if entry.facet != facet:
            facet, group = entry.facet, None
            if facet:
                facets.append(_label(facet, 0.0, y + 11, int(WIDTH / _CHARACTER)))
                y += _FACET
        if entry.group != group:
            y = max(y + _GAP, start + _BAR) if group is not None else y
            group, start = entry.group, y
            groups.append(_label(group, LABEL - 6, y + _BAR - 3, int((LABEL - 6) / _CHARACTER), names))
        bars.append(_bar(entry, colors[entry.color], show, scale, (y, height)))
        y += height + 1
    return Chart(bars, groups, facets, scale(0.0), WIDTH, max(y, start + _BAR) + 3)


def _scale(entries: Sequence[Entry]) -> Callable[[float], float]:
    known = [v for e in entries for v in (e.measured.value, e.measured.low, e.measured.high) if math.isfinite(v)]
    least, most = min([0.0, *known]), max([0.0, *known])
    span = (most - least) or 1.0
    room = WIDTH - LABEL - VALUE

    def scale(value: float) -> float:
        return LABEL + (value - least) / span * room

    return scale


def _bar(
    entry: Entry, color: str, show: Callable[[float], str], scale: Callable[[float], float], at: tuple[float, float]
) -> Bar:
    known, zero = math.isfinite(entry.measured.value), scale(0.0)
    end = scale(entry.measured.value) if known else zero
    low, high = (scale(v) if math.isfinite(v) else None for v in (entry.measured.low, entry.measured.high))
    reach = max(end, zero, high or 0.0)
    return Bar(
        entry.key, entry.name, color, min(end, zero), at[0], abs(end - zero), at[1],
        show(entry.measured.value) if at[1] == _BAR else "",
        reach + 4, low, high,
    )  # fmt: skip


def _label(text: str, x: float, y: float, most: int, others: Collection[str] = ()) -> Label:
    """Shorten at the end; at the start, where `others` would look the same."""
    if len(text) <= most:
        return Label(text, text, x, y)
    begin = text[: most - 1]
    alike = any(other != text and other.startswith(begin) for other in others)
    return Label("…" + text[1 - most :].lstrip() if alike else begin.rstrip() + "…", text, x, y)
