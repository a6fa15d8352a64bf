"""The Behaviours page as data: which instances, which rows, in which order, and what stands in every cell. Pure."""

from __future__ import annotations

import difflib
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from viewer.behaviour import Cells, Members, cells
from viewer.behaviour_measures import Measure

__all__ = [
    "Brush", "Cell", "cell", "change_text", "edges_of", "everything", "marked", "order_rows", "overall",
    "read_brush", "relative_text",
]  # fmt: skip

_BINS = 20
_WORD = re.compile(r"\s+|[^\s]+")


@dataclass(frozen=True, slots=True)
class Cell:
    """What one model's cell of a row says."""

    value: str
    interval: str
    change: str
    tone: str
    """`good`, `bad` or empty: no change, or none that the interval tells from zero."""
    bar: float
    """From 0 to 100, like `since` and `to`, the ends of its 95 % interval."""
    count: int
    since: float = 0
    to: float = 0
    range: str = ""
    """The interval alone, in brackets."""


@dataclass(frozen=True, slots=True)
class Brush:
    """A range chosen on a model's histogram."""

    model: str
    low: float
    high: float


def read_brush(text: str) -> Brush | None:
    """Read `model~low~high`; None where it makes no sense."""
    model, _, rest = text.partition("~")
    low, _, high = rest.partition("~")
    try:
        found = Brush(model, float(low), float(high))
    except ValueError:
        return None
    return found if math.isfinite(found.low) and math.isfinite(found.high) else None


def cell(found: Cells, row: int, measure: Measure, *, base: bool, relative: bool, top: float) -> Cell:
    """Put one row of a column into words; `top` is the value of a full bar."""
    mean, count = float(found.mean[row]), int(found.count[row])
    if not count or not math.isfinite(mean):
        return Cell("—", "", "", "", 0, count)
    text = f"{mean:{measure.format}}"
    interval = f"{found.low[row]:{measure.format}} to {found.high[row]:{measure.format}} (95 %, {count:,} instances)"
    low, high = float(found.low[row]), float(found.high[row])
    bar, since, to = (100 * max(0.0, min(1.0, part / top)) if top > 0 else 0 for part in (mean, low, high))
    brackets = f"[{low:{measure.format}}, {high:{measure.format}}]"
    if base or measure.of_pair:
        return Cell(text, interval, "", "", bar, count, since, to, brackets)
    change, least, most = (float(part[row]) for part in (found.change, found.change_low, found.change_high))
    shown = relative_text(float(found.relative[row])) if relative else change_text(change, measure)
    told = count > 1 and (least > 0 or most < 0)
    tone = (
        ""
        if not told or measure.better == "neither"
        else "good"
        if (change > 0) == (measure.better == "higher")
        else "bad"
    )
    interval += (
        f"; change {change_text(change, measure)} ({change_text(least, measure)} to {change_text(most, measure)})"
    )
    return Cell(text, interval, shown, tone, bar, count, since, to, brackets)


def change_text(change: float, measure: Measure) -> str:
    """A difference with its sign; of shares in percentage points."""
    if not math.isfinite(change):
        return "—"
    if measure.format.endswith("%"):
        return f"{100 * change:+.1f} pt"
    return f"{change:+{measure.format}}"


def relative_text(relative: float) -> str:
    """A ratio of means less one, in percent."""
    return f"{relative:+.0%}" if math.isfinite(relative) else "from 0"


def order_rows(found: Cells | None, names: Sequence[str], by: str, *, descending: bool, relative: bool) -> list[int]:
    """Return rows in the order asked for: by the column's change (signed), its size, its value, or by name.

    Rows without a number come last, either way.
    """
    if found is None:
        rows = sorted(range(len(names)), key=lambda row: names[row])
        return rows[::-1] if descending else rows
    change = found.relative if relative else found.change
    keys = {"change": change, "size": np.abs(change), "value": found.mean}[by]
    known = np.isfinite(keys)
    order = np.lexsort((np.arange(len(keys)), -keys if descending else keys))
    return [int(row) for row in order if known[row]] + [
        int(row) for row in order if not known[row] and found.count[row]
    ]


def edges_of(columns: Sequence[np.ndarray]) -> np.ndarray:
    """Return the edges of 20 bins over all columns' finite values, with zero on an edge if they have both signs."""
    finite = [column[np.isfinite(column)] for column in columns]
    finite = [column for column in finite if column.size]
    if not finite:
        return np.linspace(0, 1, _BINS + 1)
    low, high = min(float(c.min()) for c in finite), max(float(c.max()) for c in finite)
    if low < 0 < high:
        reach = max(-low, high)
        return np.linspace(-reach, reach, _BINS + 1)
    if low == high:
        return np.linspace(low - 0.5, high + 0.5, _BINS + 1)
    return np.linspace(low, high, _BINS + 1)


def marked(before: str, after: str) -> list[tuple[str, str]]:
    """Return what became of a text, in parts: ("same" | "gone" | "new", words)."""
    first, second = _WORD.findall(before), _WORD.findall(after)
    parts: list[tuple[str, str]] = []
    for kind, a, b, c, d in difflib.SequenceMatcher(None, first, second, autojunk=False).get_opcodes():
        if kind == "equal":
            parts.append(("same", "".join(first[a:b])))
            continue
        if b > a:
            parts.append(("gone", "".join(first[a:b])))
        if d > c:
            parts.append(("new", "".join(second[c:d])))
    return parts


def everything(size: int) -> Members:
    """One row with every instance once, also where instances have several labels."""
    return Members(np.arange(size), np.zeros(size, np.int64), ("all",))


def overall(values: np.ndarray, base: np.ndarray, shown: np.ndarray, *, of_pair: bool) -> Cells:
    """Return the one row of all instances shown."""
    return cells(values, base, everything(len(values)), shown, of_pair=of_pair)
