"""Grouped horizontal bars: where everything goes. Pure: values in, a picture's geometry out.

Horizontal, because the groups have long names ("magnitude prune 0.5") and a pane is narrow: names stay readable, and any
number of bars has room. A group is a value of the first variable, a colour one of the second, a facet one of the third.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

__all__ = ["Bar", "Chart", "Entry", "Label", "chart"]

WIDTH, LABEL, VALUE = 260.0, 92.0, 52.0
_BAR, _GAP, _FACET = 13.0, 5.0, 18.0
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
    value: float
    low: float = math.nan
    high: float = math.nan


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


def chart(entries: Sequence[Entry], colors: dict[str, str], show: Callable[[float], str]) -> Chart:
    """Place the entries in their order: facet by facet, group by group, one bar each. Missing values keep their place."""
    scale = _scale(entries)
    bars: list[Bar] = []
    groups: list[Label] = []
    facets: list[Label] = []
    y = 2.0
    facet = group = None
    for entry in entries:
        if entry.facet != facet:
            facet, group = entry.facet, None
            if facet:
                facets.append(_label(facet, 0.0, y + 11, int(WIDTH / _CHARACTER)))
                y += _FACET
        if entry.group != group:
            y += _GAP if group is not None else 0.0
            group = entry.group
            groups.append(_label(group, LABEL - 6, y + _BAR - 3, int((LABEL - 6) / _CHARACTER)))
        bars.append(_bar(entry, colors[entry.color], show, scale, y))
        y += _BAR + 1
    return Chart(bars, groups, facets, scale(0.0), WIDTH, y + 3)


def _scale(entries: Sequence[Entry]) -> Callable[[float], float]:
    known = [v for e in entries for v in (e.value, e.low, e.high) if math.isfinite(v)]
    least, most = min([0.0, *known]), max([0.0, *known])
    span = (most - least) or 1.0
    room = WIDTH - LABEL - VALUE

    def scale(value: float) -> float:
        return LABEL + (value - least) / span * room

    return scale


def _bar(entry: Entry, color: str, show: Callable[[float], str], scale: Callable[[float], float], y: float) -> Bar:
    known, zero = math.isfinite(entry.value), scale(0.0)
    end = scale(entry.value) if known else zero
    low, high = (scale(v) if math.isfinite(v) else None for v in (entry.low, entry.high))
    reach = max(end, zero, high or 0.0)
    return Bar(
        entry.key, entry.name, color, min(end, zero), y, abs(end - zero), _BAR, show(entry.value),
        reach + 4, low, high,
    )  # fmt: skip


def _label(text: str, x: float, y: float, most: int) -> Label:
    return Label(text if len(text) <= most else text[: most - 1].rstrip() + "…", text, x, y)
