"""Curves of a metric against the values of a parameter. Pure: numbers in, a picture's geometry out."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from viewer.format.palette import SERIES

__all__ = ["Curve", "CurveChart", "CurveMark", "CurvePoint", "Tick", "curve_chart"]

WIDTH, HEIGHT = 340.0, 190.0
_LEFT, _RIGHT, _TOP, _BOTTOM = 66.0, 14.0, 10.0, 24.0
_BEFORE = 66.0
"""Pixels from where the models before the operation stand to the first value."""
_APART = 38.0
"""Between labels below the axis."""
_STEPS = (1.0, 2.0, 2.5, 5.0, 10.0)
_TICKS = 4


@dataclass(frozen=True, slots=True)
class CurvePoint:
    """One value of the parameter with what was measured."""

    at: float | None
    """The value; None: before the operation."""
    values: tuple[float, ...]
    """Of each seed."""
    low: float
    """Of the one value's interval, or the least and the largest seed; NaN where nothing is known."""
    high: float
    keys: tuple[str, ...]
    text: str
    """All of it, in words."""
    rough: bool = False
    """Whether times were taken roughly, or while others used the machine."""


@dataclass(frozen=True, slots=True)
class Curve:
    """The points of one lineage, the one before the operation first."""

    name: str
    points: tuple[CurvePoint, ...]


@dataclass(frozen=True, slots=True)
class Tick:
    """A label of an axis, and where it stands."""

    text: str
    at: float


@dataclass(frozen=True, slots=True)
class CurveMark:
    """A point in pixels; `low` and `high` are the ends of its bar."""

    x: float
    y: float
    low: float | None
    high: float | None
    seeds: tuple[float, ...]
    color: str
    is_before: bool
    rough: bool
    keys: tuple[str, ...]
    text: str


@dataclass(frozen=True, slots=True)
class CurveChart:
    """A whole picture, in pixels from its top left corner."""

    lines: list[tuple[str, str]]
    """Points of a polyline, and its colour."""
    marks: list[CurveMark]
    across: list[Tick]
    up: list[Tick]
    before: float | None
    """Where the models before the operation stand."""
    edge: float = _LEFT
    bottom: float = HEIGHT - _BOTTOM
    width: float = WIDTH
    height: float = HEIGHT


def curve_chart(curves: Sequence[Curve], show: Callable[[float], str]) -> CurveChart | None:
    """Lay out the curves; None where nothing was measured.

    Args:
        curves: at most as many as there are colours.
        show: writes a value of the metric.
    """
    points = [point for curve in curves for point in curve.points if _mean(point) is not None]
    values = [point.at for point in points if point.at is not None]
    if not values:
        return None
    has_before = len(values) < len(points)
    ends = [value for p in points for value in (*p.values, p.low, p.high) if math.isfinite(value)]
    up = _ticks(min(ends), max(ends))
    y = _scale((min(*up, *ends), max(*up, *ends)), (HEIGHT - _BOTTOM, _TOP))
    start = _LEFT + (_BEFORE if has_before else 10)
    x = _scale((min(values), max(values)), (start, WIDTH - _RIGHT - 8))
    before = _LEFT + 14 if has_before else None
    marks: list[CurveMark] = []
    lines: list[tuple[str, str]] = []
    for curve, color in zip(curves, SERIES, strict=False):
        own = [_mark(point, (x, y), before or 0.0, color) for point in curve.points if _mean(point) is not None]
        marks += own
        lines.append((" ".join(f"{mark.x:.1f},{mark.y:.1f}" for mark in own if not mark.is_before), color))
    across = _apart([Tick(f"{value:.6g}", x(value)) for value in sorted(set(values))])
    return CurveChart(lines, marks, across, [Tick(show(value), y(value)) for value in up], before)


def _mark(
    point: CurvePoint, scales: tuple[Callable[[float], float], Callable[[float], float]], before: float, color: str
) -> CurveMark:
    x, y = scales
    low, high = (y(end) if math.isfinite(end) else None for end in (point.low, point.high))
    finite = [value for value in point.values if math.isfinite(value)]
    return CurveMark(
        x=before if point.at is None else x(point.at),
        y=y(_mean(point) or 0.0),
        low=low,
        high=high,
        seeds=tuple(y(value) for value in finite) if len(finite) > 1 else (),
        color=color,
        is_before=point.at is None,
        rough=point.rough,
        keys=point.keys,
        text=point.text,
    )


def _mean(point: CurvePoint) -> float | None:
    finite = [value for value in point.values if math.isfinite(value)]
    return sum(finite) / len(finite) if finite else None


def _scale(domain: tuple[float, float], pixels: tuple[float, float]) -> Callable[[float], float]:
    span = domain[1] - domain[0]

    def scale(value: float) -> float:
        share = (value - domain[0]) / span if span else 0.5
        return pixels[0] + share * (pixels[1] - pixels[0])

    return scale


def _ticks(low: float, high: float) -> list[float]:
    """Return a few round numbers from below the lowest value to above the highest."""
    span = (high - low) or abs(high) * 0.1 or 1.0
    power = 10.0 ** math.floor(math.log10(span / _TICKS))
    step = next((power * each for each in _STEPS if power * each * _TICKS >= span), power * 10)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [at * step for at in range(first, max(last, first + 1) + 1)]


def _apart(ticks: Sequence[Tick]) -> list[Tick]:
    """Leave away labels that would stand too near to the one before; the last one stays."""
    labels: list[Tick] = []
    for tick in ticks:
        if labels and tick.at - labels[-1].at < _APART:
            if tick is not ticks[-1]:
                continue
            labels.pop()
        labels.append(tick)
    return labels
