"""Number formats of d3 (JavaScript) as Python's, and back.

The two mini-languages share most of their words. What Python lacks:

- SI prefixes (`.3~s`) and rounding to significant digits (`.3r`): values that reach 1000 get thousands separators
  (`,.0f`), others the same number of significant digits (`.3g`).
- `~` (trim zeros): `g` does so, other types keep them.
- `$`, `(`, fill, alignment and width belong to tables of text: dropped.
"""

from __future__ import annotations

import re

_D3 = re.compile(
    r"(?:.?[<>=^])?[-+( ]?[$#]?0?\d*(?P<comma>,?)(?:\.(?P<precision>\d+))?~?(?P<type>[a-zA-Z%]?)", re.ASCII
)
_LARGE = 1000.0


def to_python(d3: str | None, largest: float) -> str:
    """Return the Python format specification for a d3 one, of numbers as large as `largest`; None: a readable default."""
    match = _D3.fullmatch(d3 or "")
    kind, precision = (match["type"], match["precision"]) if match else ("", None)
    comma = "," if match and match["comma"] else ""
    if kind == "%":
        return f"{comma}.{precision or 6}%"
    if kind == "p":
        return f"{comma}.{max(int(precision or 12) - 2, 0)}%"
    if kind == "d":
        return f"{comma}.0f"
    if kind in ("e", "f"):
        return f"{comma}.{precision or 6}{kind}"
    if kind == "g" and precision:
        return f"{comma}.{precision}g"
    return ",.0f" if largest >= _LARGE else f"{comma}.{precision or 4}g"


def to_d3(python: str) -> str:
    """Return the d3 format for a Python one: every number format that Python has, d3 has too."""
    return python.removesuffix("n") + ("g" if python.endswith("n") else "")
