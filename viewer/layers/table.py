"""The Layers page as data: the tree of modules, its rows, and what stands in every cell. Pure."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

__all__ = [
    "HEIGHT",
    "INSIDE",
    "NUMBERS",
    "WIDTH",
    "Row",
    "Shape",
    "bars",
    "flat_rows",
    "matcher",
    "roll_up",
    "show_number",
    "stacked",
    "tree_rows",
]

NUMBERS: dict[str, tuple[str, str]] = {
    "relative_change": ("relative change", ".2%"),
    "mean_abs_change": ("mean |change|", ".3g"),
    "sqnr_db": ("SQNR [dB]", ".1f"),
    "cosine": ("cosine", ".5f"),
    "sparsity": ("sparsity", ".1%"),
    "mean_abs": ("mean |value|", ".3g"),
    "dead_share": ("dead channels", ".1%"),
    "saturated": ("saturated", ".2%"),
    "bits": ("bits", ".3g"),
    "bytes": ("bytes", ",.0f"),
    "macs": ("MACs", ",.0f"),
    "seconds": ("time", ".3g"),
    "time_share": ("share of time", ".1%"),
}
"""Name -> heading and format, in the order of the page."""
ROWS, CLASSES = 35, 6
"""Of stored histograms: below, 32 bins, above, zero; by class of relative change."""
_SUMS = (
    "count",
    "zeros",
    "zero_both",
    "zero_here",
    "zero_there",
    "bytes",
    "macs",
    "abs_sum",
    "seconds",
    "time_share",
)
_IDENTICAL = 160.0
_STEP = 10
WIDTH, HEIGHT = _STEP * (ROWS - 1), 200
"""Of the box that histograms are drawn in."""
INSIDE = _STEP, WIDTH - _STEP
"""Ends of the bins between the limits; what is below and above stands beside them."""


@dataclass(frozen=True, slots=True)
class Row:
    """A line of the table: a module with what is below it, or a single site."""

    name: str
    """Full path."""
    label: str
    depth: int
    site: str | None
    """None for a module."""
    type: str
    children: int = 0
    open: bool = False
    sites: tuple[str, ...] = field(default=())
    """All sites below."""


def matcher(pattern: str) -> tuple[Callable[[str], bool], str]:
    """Return whether a name matches a regular expression, and why the expression is none (empty if it is one).

    What is no expression is looked for as plain text: names may have brackets.
    """
    try:
        compiled = re.compile(pattern, re.IGNORECASE)
    except (re.error, OverflowError, RecursionError) as error:
        place = getattr(error, "pos", None)
        where = "" if place is None else f" at character {place + 1}"
        reason = getattr(error, "msg", str(error)).removesuffix(".")
        return (
            lambda name: pattern.lower() in name.lower(),
            f"No valid expression: {reason}{where}. Taken as plain text.",
        )
    return lambda name: compiled.search(name) is not None, ""


def flat_rows(sites: Iterable[str], types: Mapping[str, str]) -> list[Row]:
    """One row per site."""
    return [Row(site, site, 0, site, types.get(site, ""), sites=(site,)) for site in sites]


def tree_rows(sites: Sequence[str], types: Mapping[str, str], unfolded: set[str]) -> list[Row]:
    """Return the visible rows of the tree of modules, depth first, in the order of the sites.

    Args:
        sites: dotted paths of tensors or modules.
        types: path -> class of the module.
        unfolded: paths of the modules whose content is visible.
    """
    root: dict[str, Any] = {}
    for site in sites:
        node = root
        for part in site.split("."):
            node = node.setdefault(part, {})
        node[""] = site
    rows: list[Row] = []
    stack: list[tuple[str, str, dict[str, Any], int]] = [("", name, node, 0) for name, node in reversed(root.items())]
    while stack:
        above, name, node, depth = stack.pop()
        path = f"{above}.{name}" if above else name
        below = [(child, inner) for child, inner in node.items() if child]
        here = path in unfolded
        contained = tuple(_below(node))
        rows.append(
            Row(path, name, depth, node.get(""), types.get(path, ""), children=len(below), open=here, sites=contained)
        )
        if here:
            stack.extend((path, child, inner, depth + 1) for child, inner in reversed(below))
    return rows


def _below(node: Mapping[str, Any]) -> Iterable[str]:
    stack = [node]
    while stack:
        at = stack.pop()
        if "" in at:
            yield at[""]
        stack.extend(inner for name, inner in at.items() if name)


def roll_up(parts: Sequence[Mapping[str, float | None]]) -> dict[str, float | None]:
    """Return the numbers of a group: sums where they sum, means weighted by size, and nothing where neither is true."""
    total: dict[str, float | None] = {}
    for name in _SUMS:
        present = [part[name] for part in parts if part.get(name) is not None]
        total[name] = sum(present) if present else None  # type: ignore[arg-type]
    weighted = [(part["mean_abs_change"], part["count"]) for part in parts if part.get("mean_abs_change") is not None]
    changed = sum(float(mean) * float(count) for mean, count in weighted if mean is not None and count)
    size = sum(float(count) for _, count in weighted if count)
    total["mean_abs_change"] = changed / size if size else None
    reference = sum(_reference(part) for part in parts)
    total["relative_change"] = changed / reference if reference else None
    return total


def _reference(part: Mapping[str, float | None]) -> float:
    """The sum of the reference's absolute values, from the two ways in which the change is given."""
    mean, relative, count = (part.get(name) for name in ("mean_abs_change", "relative_change", "count"))
    return mean * count / relative if mean and relative and count else 0.0


def show_number(name: str, value: float | None) -> str:
    """A number for people."""
    if value is None or math.isnan(value):
        return "—"
    if name == "sqnr_db" and value > _IDENTICAL:
        return "identical"
    if math.isinf(value):
        return "∞" if value > 0 else "-∞"
    if name == "bytes":
        return _bytes(value)
    if name == "seconds":
        return f"{value * 1e6:.3g} µs" if value < 1e-3 else f"{value * 1e3:.3g} ms"  # noqa: PLR2004 - a millisecond
    return f"{value:{NUMBERS[name][1]}}"


def _bytes(value: float) -> str:
    for unit in ("B", "kB", "MB"):
        if value < 1000:  # noqa: PLR2004 - decimal units
            return f"{value:.3g} {unit}" if unit != "B" else f"{value:.0f} B"
        value /= 1000
    return f"{value:.3g} GB"


@dataclass(frozen=True, slots=True)
class Shape:
    """All segments of one class of change, as one SVG path in a box of `WIDTH` x `HEIGHT`: a rectangle for each would
    be a hundred elements per cell."""

    kind: int
    path: str


def bars(counts: Sequence[int]) -> list[Shape]:
    """Return a plain histogram, in a colour of no class of change; zeros are told apart in words."""
    return _shapes([[*[0] * CLASSES, count] for count in counts[: ROWS - 1]])


def stacked(counts: Sequence[int]) -> list[Shape]:
    """Return a histogram of values, its columns split by relative change."""
    return _shapes([list(counts[row * CLASSES : (row + 1) * CLASSES]) for row in range(ROWS - 1)])


def _shapes(rows: list[list[int]]) -> list[Shape]:
    """Heights go with the square root of the counts, so that tails can be seen beside the middle."""
    top = math.sqrt(max((sum(row) for row in rows), default=0) or 1)
    paths: dict[int, list[str]] = {}
    for at, row in enumerate(rows):
        total = sum(row)
        if not total:
            continue
        height, above = HEIGHT * math.sqrt(total) / top, 0
        for kind, count in enumerate(row):
            if count:
                first, last = (round(HEIGHT - height * part / total) for part in (above, above + count))
                above += count
                # nothing that is there has no height at all
                paths.setdefault(kind, []).append(f"M{at * _STEP} {first}v{min(last - first, -1)}h{_STEP - 1}V{first}z")
    return [Shape(kind, "".join(parts)) for kind, parts in sorted(paths.items())]
