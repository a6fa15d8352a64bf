"""Verdicts in words: how many times as small or fast a model is as another, with what is known of the noise."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from pipeline.core.statistics import independent_sides
from viewer.decide.recommendation import tells_losses
from viewer.format.metrics import Better, MetricRole

if TYPE_CHECKING:
    from collections.abc import Sequence

    from viewer.results.results import Results

__all__ = ["gain_text", "loss_texts", "quoted_names", "ratio_text"]

_WORDS = {MetricRole.SIZE: ("smaller", "larger", "as large"), MetricRole.COST: ("faster", "slower", "as fast")}
_OTHERS = ("better", "worse", "the same")


def ratio_text(results: Results, metric: str, key: str, other: str) -> str:
    """Say how many times as small or fast a model is: "1.9 x faster [1.8, 2.0]"; empty where a value is missing or not positive.

    The interval is that of the difference that the Compare page shows. What is within noise, of unknown noise or timed
    roughly is said to be.

    Args:
        results: those of both models.
        metric: of size or of time.
        key: the model.
        other: the one that it is compared with.
    """
    difference = results.difference(metric, key, other)
    reference = results.measured(metric, other).value
    if difference is None or not reference > 0 or not reference + difference.absolute > 0:
        return ""
    less_is_more = results.better(metric) is not Better.HIGHER
    gain, loss, same = _words(results, metric)
    if difference.absolute == 0:
        return same

    value = reference + difference.absolute
    ratio, ends = reference / value, _ratio_ends(results, metric, key, other)
    if not less_is_more:
        ratio, ends = 1 / ratio, (1 / ends[1], 1 / ends[0])
    if ratio < 1:
        ratio, ends, gain = 1 / ratio, (1 / ends[1], 1 / ends[0]), loss
    text = f"{_times(ratio)} {gain}"
    if results.unsure(metric)[[results.row[key], results.row[other]]].any():
        return f"{text} by times that were taken roughly or while others used the machine"
    if difference.within_noise:
        return f"{same} within noise ({_times(ratio)} {gain}{_interval(ends, ratio)})"
    if not difference.has_known_noise:
        return f"{text} (noise unknown)"
    return f"{text}{_interval(ends, ratio)}"


def loss_texts(results: Results, metric: str) -> tuple[str, str]:
    """Return what "no loss" and "loss" in a metric may be called: measurable only where its noise is known.

    Sizes and costs tell nothing of what answers lose: what is worse in them is a disadvantage.

    Args:
        results: those of all models.
        metric: of quality; empty: none is known.
    """
    loss = "loss" if not metric or tells_losses(results, metric) else "disadvantage"
    if not metric or results.has_known_noise(metric):
        return f"no measurable {loss}", f"measurable {loss}"
    return f"no {loss} (noise unknown)", f"{loss} (noise unknown)"


def gain_text(results: Results, metric: str, key: str, other: str) -> str:
    """Return `ratio_text`, or where no ratio can be told the change as the Compare page has it."""
    return ratio_text(results, metric, key, other) or results.change(metric, key, other)["change"]


def _ratio_ends(results: Results, metric: str, key: str, other: str) -> tuple[float, float]:
    """Return the 95 % interval of the other's value by the model's; NaN where it is not known.

    Of times of one session it is that of the speedup, of which the difference was made; of independent values it combines
    their intervals on the logarithmic scale (MOVER: Donner and Zou, 2012).
    """
    mine, theirs = results.measured(metric, key), results.measured(metric, other)
    together = results.difference_together(metric, key, other)
    if together is not None:
        low, high = (theirs.value + end for end in (together.low, together.high))
        return (theirs.value / high, theirs.value / low) if low > 0 else (math.nan, math.nan)
    ends = mine.ends, theirs.ends
    if ends[0] is None or ends[1] is None or min(*ends[0], *ends[1]) <= 0:
        return math.nan, math.nan
    log_ends = [(math.log(low), math.log(high)) for low, high in (ends[1], ends[0])]
    center = math.log(theirs.value), math.log(mine.value)
    below, above = independent_sides(center[0], log_ends[0], center[1], log_ends[1])
    ratio = theirs.value / mine.value
    return ratio * math.exp(-float(below)), ratio * math.exp(float(above))


def _words(results: Results, metric: str) -> tuple[str, str, str]:
    spec = results.spec(metric)
    return _WORDS[spec.role] if spec.role in _WORDS and (spec.clock or spec.role is MetricRole.SIZE) else _OTHERS


def _times(ratio: float) -> str:
    return f"{ratio:,.{_decimals(ratio)}f} ×"  # noqa: RUF001 - the sign of multiplication


def _decimals(ratio: float) -> int:
    """Two or three digits say something of a ratio."""
    return 2 if ratio < 1.95 else int(ratio < 100)  # noqa: PLR2004 - what is shown as 2.0 needs no more


def _interval(ends: Sequence[float], ratio: float) -> str:
    if not all(map(math.isfinite, ends)):
        return ""
    low, high = (f"{end:,.{_decimals(ratio)}f}" for end in ends)
    return f" [{low}, {high}]" if low != high else ""


def quoted_names(names: Sequence[str], most: int = 3) -> str:
    """List names: "a", "a and b", "a, b, c and 4 more"."""
    quoted = [f"“{name}”" for name in names[:most]]
    if len(names) > most:
        return f"{', '.join(quoted)} and {len(names) - most} more"
    return " and ".join([", ".join(quoted[:-1]), quoted[-1]]) if len(quoted) > 1 else "".join(quoted)
