"""The Behaviours page as data: which instances, which rows, in which order, and what stands in every cell. Pure."""

from __future__ import annotations

import difflib
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from pipeline.core.statistics import holm
from viewer.behaviours.measures import Measure
from viewer.behaviours.statistics import Cells, Members, cells
from viewer.format.numbers import format_number

__all__ = [
    "ALPHA",
    "Brush",
    "Cell",
    "Look",
    "Order",
    "cell",
    "change_text",
    "corrected",
    "edges_of",
    "everything",
    "harm",
    "marked",
    "order_rows",
    "overall",
    "read_brush",
    "relative_text",
]

ALPHA = 0.05
"""A change is told where its p value, corrected for the number of tests, is below."""
_BINS = 20
_ALIKE = 0.5
"""Share of words and spaces that two texts have in common, below which they are shown one after the other."""
_WORD = re.compile(r"\s+|[^\s]+")


@dataclass(frozen=True, slots=True)
class Cell:
    """The content of one model's cell in a row."""

    value: str
    interval: str
    change: str
    tone: str
    """`good`, `bad` or empty: no change, or none that the test tells from chance."""
    bar: float
    """From 0 to 100, like `since` and `to`, the ends of its 95 % interval."""
    count: int
    since: float = 0
    to: float = 0
    range: str = ""
    """The interval alone, in brackets."""
    gain: float | None = None
    """Length of the bar of the change, from -100 to 100, gains positive; None where there is none."""
    certain: bool = False
    """Whether the test tells the change from chance."""


@dataclass(frozen=True, slots=True)
class Look:
    """The way in which all cells of a table are written."""

    measure: Measure
    relative: bool = False
    """Changes are ratios of means."""
    top: float = 1.0
    """The value of a full bar."""
    reach: float = 1.0
    """The change of a full bar."""
    inferred: bool = True
    """Instances say something of others like them: with intervals. Not where they were chosen by their outcome."""
    tests: int = 1
    """So many tests the p values are corrected for."""


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
        brush = Brush(model, float(low), float(high))
    except ValueError:
        return None
    return brush if math.isfinite(brush.low) and math.isfinite(brush.high) else None


def cell(cells: Cells, row: int, look: Look, *, base: bool = False, p: float = math.nan) -> Cell:
    """Put one row of a column into words; `p` is of its change, corrected for `look.tests` tests, NaN without a test.

    Args:
        cells: the column's figures.
        row: which of them.
        look: measure, scale and tests of the table.
        base: whether the column is the base's, which has no change.
        p: of the row's change, corrected for `look.tests` tests; NaN without a test.
    """
    mean, count, form = float(cells.mean[row]), int(cells.count[row]), look.measure.format
    if not count or not math.isfinite(mean):
        return Cell("—", "", "", "", 0, count)
    low, high = (float(part[row]) for part in (cells.low, cells.high))
    bar, since, to = (100 * max(0.0, min(1.0, part / look.top)) if look.top > 0 else 0 for part in (mean, low, high))
    text, ends = format_number(mean, form), [format_number(end, form) for end in (low, high)]
    title, brackets = f"{ends[0]} to {ends[1]} (95 %, {count:,} instances)", f"[{ends[0]}, {ends[1]}]"
    if not look.inferred:
        since, to, title, brackets = 0, 0, f"{count:,} instances", ""
    if base or look.measure.of_pair:
        return Cell(text, title, "", "", bar, count, since, to, brackets)
    change = float(cells.change[row])
    text_now = relative_text(float(cells.relative[row])) if look.relative else change_text(change, look.measure)
    title += f"; change {change_text(change, look.measure)}"
    if math.isfinite(p):
        title += f", p {p:.2g}" + (f" corrected for {look.tests} tests" if look.tests > 1 else "")
    amount = float(cells.relative[row]) if look.relative else change
    return Cell(
        text, title, text_now, _tone(change, p, look.measure), bar, count, since, to, brackets,
        gain=_gain(amount, look), certain=bool(p < ALPHA),
    )  # fmt: skip


def _gain(change: float, look: Look) -> float | None:
    """Return the length of a change's bar: harm is negative; of measures without a direction, a fall."""
    if math.isnan(change):
        return None
    share = max(-1.0, min(1.0, change / look.reach))
    return -100 * share if look.measure.better == "lower" else 100 * share


def _tone(change: float, p: float, measure: Measure) -> str:
    """Colour only what the test tells from chance, so that no colour speaks against a p value."""
    if not p < ALPHA or measure.better == "neither":
        return ""
    return "good" if (change > 0) == (measure.better == "higher") else "bad"


def corrected(columns: Sequence[Cells], *, inferred: bool = True) -> tuple[np.ndarray, int]:
    """Return p values (columns, rows), corrected for their number (Holm), and that number.

    NaN in the first column, the base's, and everywhere where nothing is to be inferred.
    """
    p = np.stack([cells.p for cells in columns])
    p[: 1 if inferred else len(p)] = np.nan
    return holm(p), int(np.isfinite(p).sum())


def change_text(change: float, measure: Measure) -> str:
    """A difference with its sign; of shares in percentage points."""
    if measure.format.endswith("%") and math.isfinite(change):
        return f"{format_number(100 * change, '+.1f')} pp"
    return format_number(change, f"+{measure.format}")


def relative_text(relative: float) -> str:
    """A ratio of means less one, in percent."""
    return format_number(relative, "+.0%") if math.isfinite(relative) else "from 0"


@dataclass(frozen=True, slots=True)
class Order:
    """The order of rows."""

    by: str
    """`change` (signed), its `size`, or the `value`."""
    descending: bool
    """The most harm first; of sizes, the largest."""
    relative: bool
    better: str
    """Whether `lower` or `higher` values are better: what harms is the other direction."""


def harm(values: np.ndarray, order: Order) -> np.ndarray:
    """Return what rows are sorted by, so that more of it is worse, whatever the direction of the measure."""
    if order.by == "size":
        values = np.abs(values)
    elif order.better == "higher":
        values = -values
    return values


def order_rows(cells: Cells | None, names: Sequence[str], order: Order) -> list[int]:
    """Return rows in an order. Those without a number come last, either way.

    Args:
        cells: the column that orders, or None for the names.
        names: of the rows.
        order: what they are sorted by.
    """
    if cells is None:
        rows = sorted(range(len(names)), key=lambda row: names[row])
        return rows[::-1] if order.descending else rows
    change = cells.relative if order.relative else cells.change
    keys = harm(cells.mean if order.by == "value" else change, order)
    finite = np.isfinite(keys)
    rows = np.lexsort((np.arange(len(keys)), -keys if order.descending else keys)).tolist()
    return [row for row in rows if finite[row]] + [row for row in rows if not finite[row] and cells.count[row]]


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
    """Return what became of a text, in parts: ("same" | "gone" | "new", words).

    Texts that have little in common are one part each: their words in turn would be no sentence.
    """
    first, second = _WORD.findall(before), _WORD.findall(after)
    matcher = difflib.SequenceMatcher(None, first, second, autojunk=False)
    if matcher.ratio() < _ALIKE:
        return [(kind, text) for kind, text in (("gone", before), ("new", after)) if text]
    parts: list[tuple[str, str]] = []
    for kind, a, b, c, d in matcher.get_opcodes():
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


def overall(values: np.ndarray, base: np.ndarray, mask: np.ndarray, *, of_pair: bool) -> Cells:
    """Return the one row of all instances shown."""
    return cells(values, base, everything(len(values)), mask, of_pair=of_pair)
