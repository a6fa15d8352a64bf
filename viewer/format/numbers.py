"""Numbers as text by a format specification: d3's and Python's, which share one grammar.

`[[fill]align][sign][symbol][0][width][,][.precision][~][type]`; of d3's types e, f, g, r, s, %, p, d, b, o, x, X and none,
of Python's e, E, f, F, g, G, %, d and none. Where the two differ, this module does what reads best: `g` and `p` drop
trailing zeros as Python's `g` does, `d` rounds as d3's does, and minus is the minus sign.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from decimal import Decimal

__all__ = ["MISSING", "FormatSpec", "format_number", "parse_format"]

MISSING = "—"
"""What stands for a value that is not there."""

_GRAMMAR = re.compile(
    r"(?:(?P<fill>.)?(?P<align>[<>=^]))?(?P<sign>[-+( ])?(?P<symbol>[$#])?(?P<zero>0)?(?P<width>\d+)?"
    r"(?P<comma>[,_])?(?:\.(?P<precision>\d+))?(?P<trim>~)?(?P<type>[a-zA-Z%])?"
)
_TYPES = frozenset("eEfFgGrs%pdboxX")
_MOST_DIGITS = 20
_WIDEST = 100
_PREFIXES = ("q", "r", "y", "z", "a", "f", "p", "n", "µ", "m", "", "k", "M", "G", "T", "P", "E", "Z", "Y", "R", "Q")
_ONES = _PREFIXES.index("")
_MINUS = "\N{MINUS SIGN}"


@dataclass(frozen=True, slots=True)
class FormatSpec:
    """A parsed specification."""

    type: str = ""
    precision: int | None = None
    trim: bool = False
    sign: str = "-"
    comma: bool = False
    fill: str = " "
    align: str = ">"
    width: int = 0
    dollar: bool = False


def parse_format(text: str) -> FormatSpec:
    """Parse a d3 or Python format specification; raises `ValueError` that quotes it."""
    match = _GRAMMAR.fullmatch(text.strip())
    if match is None or (match["type"] and match["type"] not in _TYPES):
        raise ValueError(f"'{text}' is no number format; known are for example '.3g', '.1%', ',.0f' and '.3~s'")
    zero = match["zero"] is not None
    return FormatSpec(
        type=match["type"] or "",
        precision=None if match["precision"] is None else min(int(match["precision"]), _MOST_DIGITS),
        trim=match["trim"] is not None,
        sign=match["sign"] or "-",
        comma=match["comma"] is not None,
        fill="0" if zero and not match["align"] else match["fill"] or " ",
        align="=" if zero and not match["align"] else match["align"] or ">",
        width=min(int(match["width"] or 0), _WIDEST),
        dollar=match["symbol"] == "$",
    )


def format_number(value: float | None, spec: str | FormatSpec = "") -> str:
    """Write a number; "—" for None and NaN, "∞" for infinity."""
    if value is None or math.isnan(value):
        return MISSING
    spec = parse_format(spec) if isinstance(spec, str) else spec
    body = "∞" if math.isinf(value) else _body(abs(value), spec)
    negative = value < 0 and any(c in "123456789abcdefABCDEF∞" for c in body)
    before, after = _signs(spec.sign, negative=negative)
    return _pad(before + ("$" if spec.dollar else ""), body + after, spec)


def _body(size: float, spec: FormatSpec) -> str:
    if spec.type == "s":
        return _si(size, spec)
    digits, suffix = _digits(size, spec)
    return _finish(digits, spec) + suffix


def _digits(size: float, spec: FormatSpec) -> tuple[str, str]:
    """Return the digits of a non-negative number, and what follows them."""
    precision = spec.precision
    match spec.type:
        case "":
            return _tidy(f"{size:.{12 if precision is None else max(1, precision)}g}"), ""
        case "%":
            return f"{100 * Decimal(float(size)):.{6 if precision is None else precision}f}", "%"
        case "p":
            return _strip_zeros(_significant(size, precision, times=100)), "%"
        case "r":
            return _significant(size, precision), ""
        case "d" | "b" | "o" | "x" | "X":
            return format(round(size), spec.type), ""
        case _:
            return _tidy(f"{size:.{6 if precision is None else precision}{spec.type}}"), ""


def _significant(size: float, precision: int | None, *, times: int = 1) -> str:
    """Write in plain decimals, rounded to significant digits; decimal, as the largest floats have no room to round up."""
    precision = max(1, 6 if precision is None else precision)
    if size == 0:
        return "0"
    rounded = times * Decimal(f"{size:.{precision - 1}e}")
    return f"{rounded:.{max(0, precision - 1 - rounded.adjusted())}f}"


def _power(size: float, precision: int) -> int:
    """Return the decimal exponent after rounding: 999.9 to three digits is 10^3."""
    return int(f"{size:.{precision - 1}e}".split("e")[1])


def _si(size: float, spec: FormatSpec) -> str:
    """Significant digits with an SI prefix: 25600000 with ".3s" is 25.6M."""
    precision = max(1, 6 if spec.precision is None else spec.precision)
    if size == 0:
        return _finish(f"{0:.{precision - 1}f}", spec)
    power = _power(size, precision)
    third = max(-_ONES, min(len(_PREFIXES) - 1 - _ONES, power // 3))
    decimals = max(0, precision - 1 - (power - 3 * third))
    rounded = float(f"{size:.{precision - 1}e}")  # 11 to one digit is 10
    return _finish(f"{rounded / 1000.0**third:.{decimals}f}", spec) + _PREFIXES[_ONES + third]


def _finish(digits: str, spec: FormatSpec) -> str:
    if spec.trim:
        digits = _strip_zeros(digits)
    whole, dot, rest = digits.partition(".")
    if spec.comma and whole.isdigit():
        whole = f"{int(whole):,}"
    return whole + dot + rest


def _strip_zeros(text: str) -> str:
    mantissa, e, power = text.partition("e")
    return (mantissa.rstrip("0").rstrip(".") if "." in mantissa else mantissa) + e + power


def _tidy(text: str) -> str:
    """Write Python's exponents as people do: 1e-07 as 1e-7."""
    return re.sub(r"([eE])([+-])0*(\d)", lambda m: m[1] + (_MINUS if m[2] == "-" else "+") + m[3], text)


def _signs(sign: str, *, negative: bool) -> tuple[str, str]:
    if negative:
        return ("(", ")") if sign == "(" else (_MINUS, "")
    return {"+": "+", " ": " "}.get(sign, ""), ""


def _pad(before: str, body: str, spec: FormatSpec) -> str:
    missing = spec.width - len(before) - len(body)
    if missing <= 0:
        return before + body
    match spec.align:
        case "<":
            return before + body + spec.fill * missing
        case "^":
            return spec.fill * (missing // 2) + before + body + spec.fill * (missing - missing // 2)
        case "=":
            return before + spec.fill * missing + body
        case _:
            return spec.fill * missing + before + body
