"""The scatterplot of a decision, drawn on the server: quality against what the model is to be good in, with the bands of
what cannot be told apart. Places are in percent of the picture, so that texts keep their size at any width."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np

from viewer.decide.recommendation import Aim, Recommendation
from viewer.decide.wording import loss_texts
from viewer.format.metrics import Better
from viewer.session.proposals import size_metric

if TYPE_CHECKING:
    from viewer.results.results import Results
    from viewer.session.compared_models import ComparedModel

__all__ = ["DecisionPlot", "decision_plot", "x_metric_of"]

_LEFT, _RIGHT, _TOP, _BOTTOM = 0.0, 100.0, 0.0, 100.0
"""Where the axes end, in percent of the space between the margins."""
_MOST_MARKS = 400
"""More models than this are drawn as a crowd of points; those that matter have marks of their own."""
_MOST_ALIKE = 40
"""Of those that cannot be told apart from the model to ship, so many have marks of their own in a crowd."""
_LOGARITHMIC = 30.0
"""Ratio of largest to smallest from which on the axis across is logarithmic."""
_BELOW = 1.0
"""The upright axis reaches below what matters by so much of its extent; what is farther stands at its end."""
_TICKS = 5


@dataclass(frozen=True, slots=True)
class _Axis:
    low: float
    high: float
    log: bool = False

    def share(self, value: float) -> float:
        """Return a value's place, 0 to 1; what is outside stands at the ends."""
        return float(self.shares(np.array([value]))[0])

    def shares(self, values: np.ndarray) -> np.ndarray:
        """Return the places of values, float64 (N,); NaN where there is none."""
        within = np.clip(values, self.low, self.high)
        low, high = self.low, self.high
        if self.log:
            within, low, high = np.log(within), math.log(low), math.log(high)
        places: np.ndarray = (within - low) / ((high - low) or 1.0)
        return places


@dataclass(frozen=True, slots=True)
class DecisionPlot:
    """What the template draws."""

    x_label: str
    y_label: str
    x_ticks: list[dict[str, Any]]
    y_ticks: list[dict[str, Any]]
    bands: list[dict[str, Any]]
    line: list[dict[str, float]]
    """Segments of the front."""
    crowd: str
    """Path of the models without a mark of their own, in units of 100 by 100."""
    marks: list[dict[str, Any]]
    outside: str
    """What is beyond the axes, in words."""
    unmeasured: int


def decision_plot(
    results: Results, decision: Recommendation, x_metric: str, compared: Sequence[ComparedModel], also: Sequence[int]
) -> DecisionPlot | None:
    """Lay out the scatterplot; None where a model with both figures is missing.

    Args:
        results: those of all models.
        decision: the model to ship.
        x_metric: the metric across; that upright is the quality.
        compared: the models on the rail, with their colours.
        also: rows of other models that matter: those that are named beside the plot.
    """
    xs, ys = results.values(x_metric), results.values(decision.quality)
    here = results.scope & ~results.elsewhere & np.isfinite(xs) & np.isfinite(ys)
    if not x_metric or not decision.quality or x_metric == decision.quality or not here.any():
        return None
    prominent = [row for row in (decision.row, decision.original, *also) if row is not None and here[row]]
    axes = _axes(results, xs, ys, here, prominent or np.flatnonzero(here).tolist())
    along, up = _places(axes, xs, ys)
    rows = np.flatnonzero(here).tolist()
    own = {results.row[each.key]: each for each in compared if each.key in results.row}
    special = {*prominent, *decision.alike[:_MOST_ALIKE], *(row for row in own if here[row])}
    many = len(rows) > _MOST_MARKS
    marked = [row for row in rows if row in special or not many]
    crowd = "".join(f"M{along[row]:.1f} {up[row]:.1f}h0" for row in rows if many and row not in special)
    rows_with_label = list(dict.fromkeys(prominent))
    short = results.text.short_names([results.keys[row] for row in rows_with_label])
    labels = dict(zip(rows_with_label, short, strict=True))
    front = results.ranking.outline(x_metric, decision.quality, decision.within)
    beyond = sum(ys[row] < axes[1].low or ys[row] > axes[1].high for row in rows)
    return DecisionPlot(
        x_label=_axis_text(results, x_metric),
        y_label=_axis_text(results, decision.quality),
        x_ticks=_ticks(axes[0], lambda value: results.show_value(x_metric, value), _across),
        y_ticks=_ticks(axes[1], lambda value: results.show_value(decision.quality, value), _upwards),
        bands=_bands(results, decision, x_metric, axes),
        line=_line([(along[row], up[row]) for row in front if row in set(rows)]),
        crowd=crowd,
        marks=[
            _mark(results, decision, x_metric, row, labels.get(row, ""))
            | {
                "x": round(along[row], 2),
                "y": round(up[row], 2),
                "left": along[row] > (_LEFT + _RIGHT) / 2,
                "compared": own.get(row),
            }
            for row in marked
        ],
        outside=f"{beyond} model{'s' if beyond > 1 else ''} beyond the upright axis, drawn at its end"
        if beyond
        else "",
        unmeasured=int((results.scope & ~results.elsewhere).sum()) - len(rows),
    )


def x_metric_of(results: Results, decision: Recommendation, default: str) -> str:
    """Return the metric across: that of the aim, or where the aim is the best quality, a size or the scatterplot's own."""
    if decision.aim is not Aim.BEST:
        return decision.objective
    return size_metric(results) or default


def _axes(
    results: Results, xs: np.ndarray, ys: np.ndarray, here: np.ndarray, prominent: Sequence[int]
) -> tuple[_Axis, _Axis]:
    """Return both axes: across all models, upright those that matter and what is not far below them."""
    across, sound = xs[here], here & results.sound
    log = bool(across.min() > 0 and across.max() / across.min() > _LOGARITHMIC)
    low, high = float(across.min()), float(across.max())
    if log:
        margin = (high / low) ** 0.05
        x_axis = _Axis(low / margin, high * margin, log=True)
    else:
        margin = (high - low) * 0.06 or abs(high) * 0.1 or 1.0
        x_axis = _Axis(low - margin, high + margin)
    all_ys = ys[sound] if sound.any() else ys[here]
    some = ys[list(prominent)]
    bottom, top = float(some.min()), float(some.max())
    reach = (top - bottom) * _BELOW
    bottom, top = max(float(all_ys.min()), bottom - reach), min(float(all_ys.max()), top + reach)
    margin = (top - bottom) * 0.08 or abs(top) * 0.02 or 1.0
    return x_axis, _Axis(bottom - margin, top + margin)


def _across(share: float) -> float:
    return _LEFT + share * (_RIGHT - _LEFT)


def _upwards(share: float) -> float:
    return _BOTTOM - share * (_BOTTOM - _TOP)


def _places(axes: tuple[_Axis, _Axis], xs: np.ndarray, ys: np.ndarray) -> tuple[list[float], list[float]]:
    return list(map(_across, axes[0].shares(xs).tolist())), list(map(_upwards, axes[1].shares(ys).tolist()))


def _ticks(axis: _Axis, write: Callable[[float], str], place: Callable[[float], float]) -> list[dict[str, Any]]:
    """Return round values along an axis with their texts; of values with one text the first."""
    ticks: dict[str, dict[str, Any]] = {}
    for value in _round_values(axis):
        text = write(value)
        ticks.setdefault(text, {"at": round(place(axis.share(value)), 2), "text": text})
    return list(ticks.values())


def _round_values(axis: _Axis) -> list[float]:
    if axis.log:
        powers = range(math.floor(math.log10(axis.low)), math.ceil(math.log10(axis.high)) + 1)
        few = (1, 2, 5) if len(powers) <= 3 else (1,)  # noqa: PLR2004 - so many decades have room for more
        values = [digit * 10.0**power for power in powers for digit in few]
        return [value for value in values if axis.low <= value <= axis.high]
    step = (axis.high - axis.low) / _TICKS
    size = 10.0 ** math.floor(math.log10(step)) if step > 0 else 1.0
    step = next(size * each for each in (1, 2, 2.5, 5, 10) if size * each >= step)
    first = math.ceil(axis.low / step)
    return [step * at for at in range(first, first + 2 * _TICKS) if step * at <= axis.high]


def _bands(
    results: Results, decision: Recommendation, x_metric: str, axes: tuple[_Axis, _Axis]
) -> list[dict[str, Any]]:
    """Return where the models lie that cannot be told apart: from the original in quality, from the one to ship across.

    Each says in words from which, and in what; from a broken original no sound model may be. Where nothing is known of the
    noise, nothing says what cannot be told apart.
    """
    bands = []
    if decision.original is not None and decision.aim is not Aim.BEST and results.has_known_noise(decision.quality):
        order = results.ranking.order(decision.quality, decision.original)
        values = results.values(decision.quality)
        alike = (order == 0) & np.isfinite(values) & results.scope & ~results.elsewhere & results.sound
        if alike.any():
            low, high = (axes[1].share(float(end)) for end in (values[alike].min(), values[alike].max()))
            text = _alike_text(results, decision.quality, decision.original)
            bands.append(_rectangle((0.0, 1.0), (low, high)) | {"text": text})
    metric = x_metric if decision.objective == x_metric else decision.quality
    if decision.row is not None and decision.alike and results.has_known_noise(metric):
        values = results.values(metric)[[decision.row, *decision.alike]]
        axis = axes[0] if metric == x_metric else axes[1]
        ends = axis.share(float(values.min())), axis.share(float(values.max()))
        rectangle = _rectangle(ends, (0.0, 1.0)) if metric == x_metric else _rectangle((0.0, 1.0), ends)
        bands.append(rectangle | {"text": _alike_text(results, metric, decision.row)})
    return bands


def _alike_text(results: Results, metric: str, row: int) -> str:
    return f"cannot be told apart from {results.text.name(results.keys[row])} in {results.label(metric)}"


def _rectangle(across: tuple[float, float], up: tuple[float, float]) -> dict[str, float]:
    start, stop = (_across(share) for share in across)
    bottom, top = (_upwards(share) for share in up)
    pad = 1.2  # percent: room for the marks themselves
    start, stop = (max(_LEFT, start - pad), min(_RIGHT, stop + pad)) if across != (0.0, 1.0) else (start, stop)
    top, bottom = (max(_TOP, top - pad), min(_BOTTOM, bottom + pad)) if up != (0.0, 1.0) else (top, bottom)
    return {"x": round(start, 2), "y": round(top, 2), "width": round(stop - start, 2), "height": round(bottom - top, 2)}


def _line(points: Sequence[tuple[float, float]]) -> list[dict[str, float]]:
    return [
        {"x1": round(a[0], 2), "y1": round(a[1], 2), "x2": round(b[0], 2), "y2": round(b[1], 2)}
        for a, b in pairwise(points)
    ]


def _mark(results: Results, decision: Recommendation, x_metric: str, row: int, label: str) -> dict[str, Any]:
    key = results.keys[row]
    figures = " · ".join(
        f"{results.label(metric)} {results.show(metric, row, interval=True)}" for metric in (decision.quality, x_metric)
    )
    kind, note = _kind(results, decision, x_metric, row)
    return {
        "key": key,
        "kind": kind,
        "text": f"{results.text.name(key)}: {figures}{note}",
        "label": label,
        "first": row == decision.row,
    }


def _kind(results: Results, decision: Recommendation, x_metric: str, row: int) -> tuple[str, str]:
    """Return how a model is drawn, and what is said of it."""
    if not results.sound[row]:
        return "broken", " · broken"
    if not decision.within[row]:
        return "outside", " · outside the budget"
    if not decision.lossless[row]:
        return "worse", f" · {loss_texts(results, decision.quality)[1]} of {results.label(decision.quality)}"
    if results.unsure(x_metric)[row]:
        return "rough", " · timed roughly or while others used the machine"
    return "fit", ""


def _axis_text(results: Results, metric: str) -> str:
    better = results.better(metric)
    return results.label(metric) + ("" if better is Better.NEITHER else f" ({better.value} is better)")
