"""Metrics as the viewer knows them, and their values as people read them: with unit, digits, and the change since the parent."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

from pipeline.core.metric_kinds import TIMED_UNITS, Better, MetricRole, Pairing, counts_a_file
from pipeline.core.statistics import independent_sides
from pipeline.core.units import Multiple, readable_multiple
from viewer.format.numbers import MISSING, FormatSpec, format_number, parse_format

__all__ = [
    "Better",
    "MeasuredValue",
    "MetricChange",
    "MetricInfo",
    "MetricRole",
    "Pairing",
    "behind_value",
    "change",
    "counts_bytes",
    "exact_value",
    "format_change",
    "format_value",
    "told_change",
]

_BYTES = {
    "bytes": r".*",
    "size": "model|file|network|disk|storage|download|checkpoint|artifact|binary|package",
    "memory": "model|peak|max|maximum|total|usage|use|used|footprint|ram|gpu|cpu|runtime",
}
"""Words of which one says that a metric counts bytes, if every word beside it is one of these: a size of vocabularies, batches
or in parameters is none."""
_EMPTY_WORDS = frozenset(["the", "of", "on", "in"])

_CLOCKS = {Pairing.WALL_TIME: "wall", Pairing.CPU_TIME: "cpu"}
_DEFAULT = ".3g"
_LONGEST = 10**15
_GROUPED = 1e5
"""From here on numbers are written in full: 2,219,626 parameters, not 2.21963e+06."""
_READABLE = re.compile(r"(?!and$)[^\s;,]*")
_TELLING = 1000
"""Relative changes beyond this are written as differences: the reference is practically 0."""


@dataclass(frozen=True, slots=True)
class MetricInfo:
    """A metric as the results describe it."""

    name: str
    unit: str = ""
    format: str = ""
    """d3 or Python specification; one that cannot be read counts as ".3g"."""
    better: Better = Better.NEITHER
    primary: bool = False
    low: float | None = None
    """Declared bounds of the scale; None: from the data."""
    high: float | None = None
    description: str = ""
    role: MetricRole = MetricRole.OTHER
    pairing: Pairing = Pairing.NONE

    @property
    def label(self) -> str:
        """The name as people write it: `latency_p50` is "latency p50"."""
        return self.name.replace("_", " ")

    @property
    def clock(self) -> str:
        """The clock that told it, `wall` or `cpu`; empty if none did."""
        if self.pairing in _CLOCKS:
            return _CLOCKS[self.pairing]
        return "wall" if self.role is MetricRole.COST and self.unit in TIMED_UNITS else ""

    @property
    def counts_a_file(self) -> bool:
        """Whether it has no noise where it depends on no runtime, machine or data."""
        return counts_a_file(self.role, self.unit)

    @property
    def is_share(self) -> bool:
        """Whether values are shares of one, shown in percent."""
        return _spec(self.format).type in ("%", "p")

    @property
    def points(self) -> float | None:
        """How many percentage points a change by one is; None of what is not in percent."""
        return 100.0 if self.is_share else 1.0 if self.unit == "%" else None


@dataclass(frozen=True, slots=True)
class MeasuredValue:
    """A value with its 95 % interval; NaN where unknown."""

    value: float
    low: float = math.nan
    high: float = math.nan
    exact: bool = False
    """Whether it has no noise, so that it needs no interval: it counts what is in a file."""

    @property
    def noise(self) -> float:
        """Half the width of the interval; 0 where there is none."""
        width = self.high - self.low
        return width / 2 if math.isfinite(width) else 0.0

    @property
    def ends(self) -> tuple[float, float] | None:
        """What is known of its noise: the ends of its interval; None where nothing is."""
        if math.isfinite(self.low) and math.isfinite(self.high):
            return self.low, self.high
        return (self.value, self.value) if self.exact else None


@dataclass(frozen=True, slots=True)
class MetricChange:
    """The difference of a value from another."""

    absolute: float
    relative: float
    """absolute / |reference|; NaN where the reference is 0."""
    improved: bool | None
    """None where nothing changed, the metric has no better direction, or the change is within the noise or its noise is unknown."""
    low: float
    """Lower end of the 95 % interval of the absolute difference; NaN where its noise is unknown."""
    high: float
    within_noise: bool

    @property
    def noise(self) -> float:
        """Half the width of the interval; 0 where there is none."""
        return (self.high - self.low) / 2 if self.has_known_noise else 0.0

    @property
    def has_known_noise(self) -> bool:
        """Whether it can be told from chance at all."""
        return math.isfinite(self.high - self.low)


@lru_cache(maxsize=256)
def _spec(text: str) -> FormatSpec:
    try:
        return parse_format(text or _DEFAULT)
    except ValueError:
        return parse_format(_DEFAULT)  # an imported file may say anything; its values are shown all the same


def format_value(value: float | None, metric: MetricInfo, *, unit: bool = True) -> str:
    """Write a value: "76.1%", "25.6 MB", "3.21 ms", "—". Bytes and times are shown in a readable multiple of their unit.

    Args:
        value: in the metric's unit; None and NaN are written as a dash.
        metric: its unit and format.
        unit: whether the unit is written, and a readable multiple chosen.
    """
    if value is None or math.isnan(value):
        return MISSING
    spec = _spec(metric.format)
    if not unit:
        return format_number(value, spec)
    multiple = readable_multiple(value, metric.unit)
    if multiple.divisor != 1:
        spec = _spec(_DEFAULT)  # a format for the stored unit (",.0f" of bytes) has the wrong digits once scaled
    return format_number(value / multiple.divisor, _plain(spec, value / multiple.divisor)) + _joined(multiple.unit)


def exact_value(value: float, metric: MetricInfo) -> str:
    """Write a value so that it can be read back, to six digits: "88.25%", "25 MB", "2,219,626"."""
    if metric.is_share and not metric.unit:
        return f"{_in_full(100 * value)}%"
    multiple = readable_multiple(value, metric.unit)
    return _in_full(value / multiple.divisor) + behind_value(multiple)


def behind_value(multiple: Multiple) -> str:
    """Return what stands behind a value; nothing if it could not be read back: a number alone is in the metric's own unit."""
    unit = multiple.unit
    if not unit or not _READABLE.fullmatch(unit):
        return ""
    return unit.removeprefix("1") if unit in ("%", "x") or unit.startswith("1/") else f" {unit}"


def _in_full(value: float) -> str:
    return f"{value:,.0f}" if _GROUPED <= abs(value) < _LONGEST else f"{value:.6g}"


def _plain(spec: FormatSpec, value: float) -> FormatSpec:
    """Avoid what people cannot read: 17320 in ".2g" as 1.7e+4, and 0.5 in ".3~s" as 500m."""
    if spec.type in ("g", "G", "") and 10 ** (spec.precision or 6) <= abs(value) < _LONGEST:
        return replace(spec, type="f", precision=0, comma=True)
    if spec.type == "s" and 10**-4 <= abs(value) < 10**3:
        return _spec(_DEFAULT)
    return spec


def change(
    value: MeasuredValue, reference: MeasuredValue, better: Better, difference: MeasuredValue | None = None
) -> MetricChange | None:
    """Compare two measurements; None where one of them is missing.

    Args:
        value: with its interval.
        reference: what it is compared with, in the same unit.
        better: the direction that counts as improvement.
        difference: that of the two, where they were measured together; its interval counts then.
    """
    absolute = value.value - reference.value
    if not math.isfinite(absolute):
        return None
    if difference is not None:
        absolute, low, high = difference.value, difference.low, difference.high
    elif value.ends is not None and reference.ends is not None:
        below, above = independent_sides(value.value, value.ends, reference.value, reference.ends)
        low, high = absolute - float(below), absolute + float(above)
    else:
        low = high = math.nan
    within = low <= 0 <= high and high > low
    improved: bool | None = None
    if absolute != 0 and not within and math.isfinite(high - low) and better is not Better.NEITHER:
        improved = (absolute > 0) == (better is Better.HIGHER)
    relative = absolute / abs(reference.value) if reference.value else math.nan
    return MetricChange(absolute, relative, improved, low, high, within)


def format_change(difference: MetricChange, metric: MetricInfo) -> str:
    """Write a change: what is in percent in percentage points ("-1.2 pp"), others relative ("+3.4%"), with noise ("+1.2 ± 0.3 pp",
    and "+1.2 pp [0.7, 1.9]" where the interval is not symmetric).

    "no change" where the values are equal; the difference in the metric's unit where the relative change says nothing.
    """
    if difference.absolute == 0:
        return "no change"
    if metric.points is not None:
        return _with_noise(difference, metric.points, " pp")
    if not abs(difference.relative) < _TELLING:
        return ("+" if difference.absolute > 0 else "") + format_value(difference.absolute, metric)
    scale = 100 * difference.relative / difference.absolute
    if not math.isfinite(scale):  # a change of a value that is hardly more than zero
        return f"{100 * difference.relative:+.0f}%"
    return _with_noise(difference, scale, "%")


def told_change(difference: MetricChange, metric: MetricInfo, text: str, *, rough: bool = False) -> dict[str, str]:
    """Say of a change whether it is for better or worse, as far as its noise lets that be told.

    Args:
        difference: the change.
        metric: what it is of.
        text: the change as it is written, with its noise.
        rough: whether a time that it is of was taken roughly or while others used the machine.

    Returns:
        `change`, a text, and `tone`: `good`, `bad`, `soft` (within noise, of unknown noise, or timed roughly) or empty.
    """
    if difference.within_noise and difference.absolute != 0:
        return {"change": f"within noise ({text})", "tone": "soft"}
    if not difference.has_known_noise and difference.absolute != 0 and metric.better is not Better.NEITHER:
        return {"change": f"noise unknown ({text})", "tone": "soft"}
    if rough:
        return {"change": f"timed roughly ({text})", "tone": "soft"}
    is_seen = any(digit in text for digit in "123456789")  # what is written as nothing is no verdict
    return {"change": text, "tone": {True: "good", False: "bad", None: ""}[difference.improved] if is_seen else ""}


def _with_noise(difference: MetricChange, scale: float, unit: str) -> str:
    value, low, high = (scale * each for each in (difference.absolute, difference.low, difference.high))
    digits = math.floor(math.log10(abs(value)))
    decimals = max(0, min(2, -digits)) if digits < 0 else int(digits <= 1)
    text = format_number(value, f"+.{decimals}f")
    if not difference.has_known_noise or max(value - low, high - value) < 0.5 * 10**-decimals:
        return f"{text}{unit}"
    below, above = f"{value - low:.{decimals}f}", f"{high - value:.{decimals}f}"
    if below == above:
        return f"{text} ± {below}{unit}"
    ends = ", ".join(format_number(end, f"+.{decimals}f") for end in (low, high))
    return f"{text}{unit} [{ends}]"


def _joined(unit: str) -> str:
    if unit in ("", "%", "x", "\N{MULTIPLICATION SIGN}"):
        return unit
    return unit.removeprefix("1") if unit.startswith("1/") else f" {unit}"


def counts_bytes(metric: str, files: Sequence[str] = ()) -> bool:
    """Whether its name alone says that a metric counts bytes.

    Args:
        metric: its name.
        files: ends of names that say which imported file a metric is of, and nothing of what it counts.
    """
    name = metric.removesuffix(next(filter(metric.endswith, files), ""))
    words = set(re.findall(r"[^\W_]+", name.casefold())) - _EMPTY_WORDS
    return any(
        word in words and all(re.fullmatch(beside, each) for each in words - {word}) for word, beside in _BYTES.items()
    )
