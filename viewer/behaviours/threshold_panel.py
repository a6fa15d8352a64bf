"""The panel of thresholds: which one gives each model the recall, or the precision, of the base."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from pipeline.core.answer_text import AnswerKind
from pipeline.core.statistics import Interval
from viewer.behaviours.instance_filter import members_mask
from viewer.behaviours.queries import Sheet
from viewer.behaviours.thresholds import OperatingPoint, Truth, curve, operating_point, positive_scores, resamples
from viewer.format.metrics import Better, MeasuredValue, MetricInfo, change, format_change, told_change
from viewer.format.numbers import MISSING, format_number
from viewer.format.palette import SERIES

__all__ = ["threshold_panel"]

_PAIR = 2
_SHARE = MetricInfo("share", format=".1%", better=Better.HIGHER)
"""Of recall and precision."""
_STEP = 0.1
"""The precision axis begins at such a multiple below the curves."""


def threshold_panel(
    sheet: Sheet, models: Sequence[str], names: Mapping[str, str], *, positive: str, keep: str
) -> dict[str, Any] | None:
    """Return what the template draws; None where the data have not two classes, or no model has probabilities.

    Args:
        sheet: the answers.
        models: keys, the base first.
        names: model key -> its name.
        positive: the class that is looked for; of any other name the second.
        keep: `recall` or `precision`.
    """
    if len(sheet.classes) != _PAIR or sheet.answer_kind is not AnswerKind.CLASS:
        return None
    target = positive if positive in sheet.classes else sheet.classes[1]
    sheet.load(models)
    code = sheet.code_of(target)  # none where no model gives that answer: then all give the other
    scores = {key: positive_scores(sheet.answers(key), code) for key in models}
    scored = {key: score for key, score in scores.items() if score is not None}
    if not scored:
        return None
    is_positive = members_mask(sheet, target, ())
    base = sheet.answers(models[0]).predicted == code
    truth = Truth(is_positive, base, _weights(sheet))

    def point(key: str) -> OperatingPoint:
        own = sheet.answers(key).predicted == code
        name = ("threshold", models[0], key, target, keep)
        return sheet.computed(name, lambda: operating_point(scored[key], own, truth, keep))

    points = {key: point(key) for key in scored}
    lined = list(scored)[: len(SERIES)]  # as many lines as can be told apart
    other = "precision" if keep == "recall" else "recall"
    return {
        "positive": target,
        "classes": sheet.classes,
        "keep": keep,
        "other": other,
        "base": _figures(base, is_positive),
        "count": f"{int(is_positive.sum()):,} of {sheet.size:,}",
        "rows": [{"key": key, **_row(names[key], points[key], is_base=key == models[0])} for key in scored],
        "chart": _chart({key: curve(scored[key], is_positive) for key in lined}, names, [points[key] for key in lined]),
        "without": [names[key] for key in models if key not in scored],
    }


def _weights(sheet: Sheet) -> np.ndarray:
    weights: np.ndarray = sheet.computed(("resamples",), lambda: resamples(sheet.size))
    return weights


def _figures(says: np.ndarray, positive: np.ndarray) -> dict[str, str]:
    hits = int((says & positive).sum())
    return {
        "recall": _percent(hits / max(1, int(positive.sum()))),
        "precision": _percent(hits / int(says.sum()) if says.any() else math.nan),
    }


def _row(name: str, point: OperatingPoint, *, is_base: bool) -> dict[str, Any]:
    return {
        "name": name,
        "base": is_base,
        "usual": [_percent(value) for value in point.usual],
        "threshold": format_number(point.threshold, ".3f"),
        "recall": _percent(point.recall),
        "precision": _percent(point.precision),
        "rest": _brackets(point.rest),
        **_change(point.difference),
    } | ({"change": "", "tone": ""} if is_base else {})


def _change(difference: Interval | None) -> dict[str, str]:
    """The change against the base, in words that say whether it may be chance, as on every page."""
    if difference is None:
        return {"change": "", "tone": ""}
    measured = MeasuredValue(difference.value, difference.low, difference.high)
    shift = change(measured, MeasuredValue(0.0), _SHARE.better, measured)
    return {"change": "", "tone": ""} if shift is None else told_change(shift, _SHARE, format_change(shift, _SHARE))


def _brackets(interval: Interval | None) -> str:
    return f"[{_percent(interval.low)}, {_percent(interval.high)}]" if interval else ""


def _percent(share: float) -> str:
    return format_number(share, ".1%") if math.isfinite(share) else MISSING


def _chart(
    curves: Mapping[str, Sequence[tuple[float, float]]], names: Mapping[str, str], points: Sequence[OperatingPoint]
) -> dict[str, Any]:
    """Curves in percent of the drawing; the axis of the precision is fitted to them."""
    lowest = min(precision for line in curves.values() for _, precision in line)
    bottom = max(0.0, min(0.9, math.floor(lowest / _STEP) * _STEP))

    def place(recall: float, precision: float) -> tuple[float, float]:
        return 100 * recall, 100 * (1 - precision) / (1 - bottom)

    lines = [
        {
            "key": key,
            "name": names[key],
            "path": " ".join("{:.2f},{:.2f}".format(*place(*each)) for each in line),
            "at": None if math.isnan(point.recall) else "{:.2f} {:.2f}".format(*place(point.recall, point.precision)),
        }
        for (key, line), point in zip(curves.items(), points, strict=True)
    ]
    return {"lines": lines, "bottom": f"{bottom:.0%}"}
