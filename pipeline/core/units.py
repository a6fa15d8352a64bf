"""Units of measurement: choosing a readable multiple, and understanding what a person typed."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction

from pipeline.core.errors import BouillonError

__all__ = ["Multiple", "QuantityError", "format_seconds", "multiples", "parse_quantity", "readable_multiple"]


class QuantityError(BouillonError, ValueError):
    """A typed quantity makes no sense in the unit asked for; the message says what would."""


@dataclass(frozen=True, slots=True)
class Multiple:
    """A unit to show values in: shown = stored / divisor."""

    unit: str
    divisor: float


_BYTES = {
    "b": 1.0,
    "byte": 1.0,
    "bytes": 1.0,
    "kb": 1e3,
    "mb": 1e6,
    "gb": 1e9,
    "tb": 1e12,
    "k": 1e3,
    "m": 1e6,
    "g": 1e9,
    "t": 1e12,
    "kib": 2.0**10,
    "mib": 2.0**20,
    "gib": 2.0**30,
    "tib": 2.0**40,
}
_SECONDS = {
    "s": 1.0,
    "sec": 1.0,
    "second": 1.0,
    "seconds": 1.0,
    "ms": 1e-3,
    "us": 1e-6,
    "µs": 1e-6,
    "μs": 1e-6,
    "ns": 1e-9,
    "min": 60.0,
    "minute": 60.0,
    "minutes": 60.0,
    "h": 3600.0,
    "hour": 3600.0,
    "hours": 3600.0,
}
_COUNTS = {"%": 0.01, "k": 1e3, "m": 1e6, "g": 1e9, "b": 1e9, "t": 1e12, "x": 1.0, "": 1.0}
_FAMILIES = (_BYTES, _SECONDS)
_SHOWN = {
    "b": [Multiple("B", 1.0), Multiple("kB", 1e3), Multiple("MB", 1e6), Multiple("GB", 1e9), Multiple("TB", 1e12)],
    "s": [Multiple("ns", 1e-9), Multiple("µs", 1e-6), Multiple("ms", 1e-3), Multiple("s", 1.0)],
}
_OTHERS = {"bytes": "b", "byte": "b", "seconds": "s", "sec": "s"}
_MINUS = "\N{MINUS SIGN}"
_QUANTITY = re.compile(rf"(?P<sign>[-+{_MINUS}]?)(?P<digits>[\d.,_]*\d[\d.,_]*(?:[eE][-+]?\d+)?)\s*(?P<unit>\S*)")
_DIGITS = re.compile(r"(?:\d[\d_]*|[1-9]\d{0,2}(?:,\d{3})+)?(?:\.\d*)?(?:[eE][-+]?\d+)?")
"""Commas between thousands, as they are shown here: "1,500" is fifteen hundred."""
_DECIMAL_COMMA = re.compile(r"\d+,\d+(?:[eE][-+]?\d+)?")


def multiples(unit: str) -> list[Multiple]:
    """Return the multiples that values in `unit` are shown in, smallest first; of most units that unit alone."""
    if unit == "ms":
        return [Multiple(multiple.unit, multiple.divisor * 1000) for multiple in _SHOWN["s"]]
    return _SHOWN.get(_OTHERS.get(unit.casefold(), unit.casefold()), [Multiple(unit, 1.0)])


def readable_multiple(value: float, unit: str) -> Multiple:
    """Choose the multiple of `unit` that gives `value` one to three digits before the point (bytes and seconds only).

    Other units, and values without a size, keep their unit. ms stay ms below a second: 0.4 ms is 400 µs.
    """
    family = multiples(unit)
    if len(family) == 1 or not math.isfinite(value) or value == 0:
        return Multiple(unit, 1.0)
    fitting = [multiple for multiple in family if abs(value) >= multiple.divisor * 0.9995]  # 999.95 kB reads as 1 MB
    return fitting[-1] if fitting else family[0]


def parse_quantity(text: str, unit: str = "", *, share: bool = False) -> float:
    """Return what a person typed, in `unit`: "25 MB" in "B" is 25e6, "90%" in "" is 0.9, "2 s" in "ms" is 2000.

    A number alone is in `unit`; "pp" (percentage points) are percent of a `share`. The result is the float nearest to
    what was typed: 57% is 0.57, which 57 * 0.01 is not.

    Args:
        text: what was typed.
        unit: that of the result; empty for plain numbers and shares.
        share: whether the metric is a share of 1.

    Raises:
        QuantityError: it is no number, its unit does not fit, or it is too large; says which.
    """
    match = _QUANTITY.fullmatch(text.strip())
    if match is None:
        raise QuantityError(f"'{text.strip()}' is not a number{_hint(unit)}")
    digits = match["digits"]
    if _DECIMAL_COMMA.fullmatch(digits) and not _DIGITS.fullmatch(digits):
        better = text.strip().replace(",", ".")
        raise QuantityError(f"'{text.strip()}' has a comma where decimals begin; did you mean '{better}'?")
    if not _DIGITS.fullmatch(digits):
        raise QuantityError(f"'{text.strip()}' is not a number{_hint(unit)}")
    factor = _factor(match["unit"], unit, text, share=share)
    size = _times(re.sub("[,_]", "", digits), factor)
    if not math.isfinite(size):
        raise QuantityError(f"'{text.strip()}' is too large")
    return -size if match["sign"] in ("-", _MINUS) else size


def _times(digits: str, factor: Fraction) -> float:
    plain = float(digits)
    if plain == 0 or math.isinf(plain):  # an exact 1e999999999 would fill the memory
        return plain
    try:
        return float(Fraction(Decimal(digits)) * factor)
    except OverflowError:
        return math.inf


def _factor(typed: str, unit: str, text: str, *, share: bool) -> Fraction:
    low, base = typed.casefold(), unit.casefold()
    if low == "pp" and (share or base == "%"):
        low = "%"
    if low in ("", base):
        return Fraction(1)
    for family in _FAMILIES:
        if base in family and low in family:
            return _exact(family[low]) / _exact(family[base])
    if base == "%" or base not in {*_BYTES, *_SECONDS}:
        return _count_factor(typed, low, base, unit, text)
    raise QuantityError(f"'{text.strip()}': the unit '{typed}' does not fit{_hint(unit)}")


def _count_factor(typed: str, low: str, base: str, unit: str, text: str) -> Fraction:
    prefix = low.removesuffix(base.removeprefix("1")) if base else low  # throughput: "120/s" in "1/s"
    if prefix in _COUNTS and not (base == "%" and low == "%"):
        return _exact(_COUNTS[prefix])
    raise QuantityError(f"'{text.strip()}': the unit '{typed}' does not fit{_hint(unit)}")


def _exact(factor: float) -> Fraction:
    """A factor as it is written: 1e-3 is a thousandth, which no float is."""
    return Fraction(repr(factor))


def _hint(unit: str) -> str:
    base = unit.casefold()
    if base in _BYTES:
        return "; write for example '25 MB' or '25e6'"
    if base in _SECONDS:
        return "; write for example '10 ms' or '0.5 s'"
    return f"; it is measured in '{unit}'" if unit else "; write for example '0.9' or '90%'"


def format_seconds(seconds: float) -> str:
    """`0.4 s`, `12 s`, `3 min 20 s`, `1 h 05 min`."""
    if seconds < 10:  # noqa: PLR2004 - below ten seconds a tenth still says something
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if not minutes:
        return f"{rest} s"
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02} min" if hours else f"{minutes} min {rest:02} s"
