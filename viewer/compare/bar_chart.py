"""Grouped horizontal bars: where everything goes. Pure: values in, a picture's geometry out.

Horizontal, because the groups have long names ("magnitude prune 0.5") and a pane is narrow: names stay readable, and any
number of bars has room. A group is a value of the first variable, a colour one of the second, a facet one of the third.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass

from viewer.format.metrics import MeasuredValue

__all__ = ["Bar", "Chart", "Entry", "Label", "chart", "shortened_label"]

WIDTH, LABEL, VALUE = 230.0, 92.0, 66.0
_WIDEST = 320.0
"""Of a chart with long names."""
_BAR, _THIN, _GAP, _FACET = 15.0, 4.0, 5.0, 20.0
_MANY = 80
_CHARACTER = 6.4
"""Mean width of a character at 12 px, for shortening names."""
_BESIDE = int((LABEL - 6) / _CHARACTER)
_COMPARED = 300
"""Of more names than this, comparing each with all others would take long, and nobody reads them."""


@dataclass(frozen=True, slots=True)
class Entry:
    """A value to draw."""

    key: str
    name: str
    group: str
    color: str
    facet: str
    measured: MeasuredValue


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
    end: float
    """The value's place on the scale."""
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
    above: bool
    """Whether the names of groups begin at x, each on a line of its own; else they end there."""


def chart(entries: Sequence[Entry], colors: Mapping[str, str], show: Callable[[float], str]) -> Chart:
    """Place the entries in their order: facet by facet, group by group, one bar each. Missing values keep their place.

    Very many get bars without numbers, so that they stay one picture.

    Args:
        entries: the bars in their order, those of a facet and of a group side by side.
        colors: `Entry.color` -> CSS colour.
        show: writes a value.
    """
    names = {entry.group for entry in entries}
    above = _crowded(names)  # each name has a line of its own then, above its bars
    width = min(_WIDEST, max(WIDTH, _CHARACTER * max(map(len, names), default=0))) if above else WIDTH
    scale = _scale(entries, 0.0 if above else LABEL, width)
    many = len(entries) > _MANY
    height = _THIN if many else _BAR
    bars: list[Bar] = []
    groups: list[Label] = []
    facets: list[Label] = []
    y = start = 2.0
    facet = group = None
    for entry in entries:
        if entry.facet != facet:
            facet, group = entry.facet, None
            if facet:
                facets.append(_label(facet, 0.0, y + 13, int(width / _CHARACTER)))
                y += _FACET
        if entry.group != group:
            y = max(y + _GAP, start + _BAR) if group is not None else y
            group, start = entry.group, y
            if above and group:
                groups.append(_label(group, 0.0, y + _BAR - 4, int(width / _CHARACTER), names))
                y += _BAR
            elif group:
                groups.append(_label(group, LABEL - 6, y + _BAR - 3, _BESIDE))
        bars.append(_bar(entry, colors[entry.color], show, scale, (y, height)))
        y += height + 1
    return Chart(bars, groups, facets, scale(0.0), width, max(y, start + _BAR) + 3, above)


def _crowded(names: Collection[str]) -> bool:
    """Whether names beside the bars, shortened at their ends, would look the same."""
    return len({name if len(name) <= _BESIDE else name[: _BESIDE - 1] for name in names}) < len(names)


def _scale(entries: Sequence[Entry], margin: float, width: float) -> Callable[[float], float]:
    finite = [v for e in entries for v in (e.measured.value, e.measured.low, e.measured.high) if math.isfinite(v)]
    least, most = min([0.0, *finite]), max([0.0, *finite])
    span = (most - least) or 1.0
    room = width - margin - VALUE

    def scale(value: float) -> float:
        return margin + (value - least) / span * room

    return scale


def _bar(
    entry: Entry, color: str, show: Callable[[float], str], scale: Callable[[float], float], at: tuple[float, float]
) -> Bar:
    finite, zero = math.isfinite(entry.measured.value), scale(0.0)
    end = scale(entry.measured.value) if finite else zero
    low, high = (scale(v) if math.isfinite(v) else None for v in (entry.measured.low, entry.measured.high))
    reach = max(end, zero, high or 0.0)
    return Bar(
        entry.key,
        entry.name,
        color,
        min(end, zero),
        at[0],
        abs(end - zero),
        at[1],
        end,
        show(entry.measured.value) if at[1] == _BAR else "",
        reach + 4,
        low,
        high,
    )


def _label(text: str, x: float, y: float, most: int, others: Collection[str] = ()) -> Label:
    return Label(shortened_label(text, most, others), text, x, y)


def shortened_label(text: str, most: int, others: Collection[str] = ()) -> str:
    """Return at most so many characters of a text: its beginning, or else a part that tells it from all `others`.

    Args:
        text: the whole label.
        most: characters that fit.
        others: labels that it must be told from.
    """
    if len(text) <= most:
        return text
    room = most - 1
    rest = [other for other in others if other != text] if len(others) <= _COMPARED else []
    for tail in (0, room, room // 2, room // 3, 2 * room // 3):  # what is left of the end
        head = text[: room - tail]
        end = text[len(text) - tail :]
        if not any(other.startswith(head) and other.endswith(end) for other in rest):
            return f"{head.rstrip()}…{end.lstrip()}"
    for start in range(1, len(text) - room + 1):
        part = text[start : start + room - 1]
        if not any(part in other for other in rest):
            return f"…{part.strip()}…"
    return text[:room].rstrip() + "…"
