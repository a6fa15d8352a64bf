"""Effects in words: their verdicts are those of two models, by the same functions."""

from __future__ import annotations

import math
from dataclasses import dataclass

from viewer.compare.effects.effects import Effect, Heterogeneity
from viewer.format.metrics import MeasuredValue, MetricChange, MetricInfo, change, format_change, told_change
from viewer.format.numbers import MISSING

__all__ = ["EffectText", "describe_effect", "factor_text"]

_TIMES = "\N{MULTIPLICATION SIGN}"
_LEAST_P = 0.001
"""Smaller ones are written as smaller."""
_SMALL, _LARGE = 0.0995, 99.5
"""Factors beyond these have digits that tell, not decimals."""


@dataclass(frozen=True, slots=True)
class EffectText:
    """An effect as a cell of the table has it."""

    change: str = MISSING
    """Empty where only the spread tells something."""
    tone: str = ""
    """`good`, `bad`, `soft` or empty."""
    spread: str = ""
    """From the least to the largest of what it is the mean of."""
    caution: str = ""
    """Why its mean does not tell all; empty where nothing is known against it."""


def describe_effect(effect: Effect | None, metric: MetricInfo, *, is_factor: bool) -> EffectText:
    """Write an effect with its noise, its verdict and its spread.

    Args:
        effect: None: not measured.
        metric: what changed.
        is_factor: whether the effect is the logarithm of a factor.
    """
    difference = _difference(effect, effect.measured, metric) if effect else None
    if effect is None or difference is None:
        return EffectText()
    text = factor_text(effect.measured) if is_factor else format_change(difference, metric)
    verdict = told_change(difference, metric, text, rough=effect.rough)
    caution = _caution(effect.heterogeneity, text)
    if caution and difference.within_noise:  # what differs between places by more than noise is not within it
        verdict = {"change": "", "tone": "soft"}
    is_nothing = is_factor and factor_text(MeasuredValue(effect.measured.value)) == factor_text(MeasuredValue(0.0))
    spread = ""
    if len(effect.parts) > 1 and max(effect.parts) > min(effect.parts):
        ends = [_bare(effect, end, metric, is_factor=is_factor) for end in (min(effect.parts), max(effect.parts))]
        spread = " to ".join(ends) if ends[0] != ends[1] else ""
    tone = "" if is_nothing and verdict["tone"] != "soft" else verdict["tone"]
    return EffectText(verdict["change"], tone, spread, caution)


def factor_text(logarithm: MeasuredValue) -> str:
    """Write a factor with its interval from their logarithms: a sign and "0.26 [0.25, 0.27]"."""
    value, *ends = (_factor(each) for each in (logarithm.value, logarithm.low, logarithm.high))
    has_interval = math.isfinite(logarithm.high - logarithm.low) and ends != [value, value]
    return f"{_TIMES}{value} [{', '.join(ends)}]" if has_interval else f"{_TIMES}{value}"


def _factor(logarithm: float) -> str:
    if not math.isfinite(logarithm):
        return MISSING
    factor = math.exp(min(logarithm, 300.0))
    return f"{factor:.2f}" if _SMALL <= factor < _LARGE else f"{factor:.2g}" if factor < _SMALL else f"{factor:.3g}"


def _bare(effect: Effect, value: float, metric: MetricInfo, *, is_factor: bool) -> str:
    if is_factor:
        return factor_text(MeasuredValue(value))
    difference = _difference(effect, MeasuredValue(value), metric)
    return format_change(difference, metric) if difference else MISSING


def _difference(effect: Effect, measured: MeasuredValue, metric: MetricInfo) -> MetricChange | None:
    after = MeasuredValue(effect.reference + measured.value)
    return change(after, MeasuredValue(effect.reference), metric.better, measured)


def _caution(differing: Heterogeneity | None, mean: str) -> str:
    if differing is None or not differing.is_told:
        return ""
    p = f"p < {_LEAST_P}" if differing.p < _LEAST_P else f"p = {differing.p:.2g}"
    return (
        f"Effects at {differing.places} places differ by more than their noise (Cochran's Q = {differing.q:.3g}, {p}): what came "
        f"before matters, and the mean, {mean}, speaks for none of them. Unfold the row to see each."
    )
