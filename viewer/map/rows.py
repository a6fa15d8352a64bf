"""Rows of the model map: subtrees packed under each other as closely as their outlines allow.

An edge leaves its parent's row in the gap right of the parent and then runs straight along the child's row. A subtree
therefore takes, in every column from the one after its parent to its last, the rows between its outline's top and bottom;
outlines never overlap, so no two nodes overlap, no edge passes through a node, and no two edges cross.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

__all__ = ["pack"]


@dataclass(slots=True)
class _Outline:
    """Least and greatest row per column. The lists run from the rightmost column to the leftmost, so that it grows at the end."""

    top: list[int] = field(default_factory=list)
    bottom: list[int] = field(default_factory=list)
    shift: int = 0
    """To be added to all rows: moving a whole subtree costs nothing."""

    def extend(self, row: int, columns: int) -> None:
        self.top.extend([row - self.shift] * columns)
        self.bottom.extend([row - self.shift] * columns)


def pack(columns: Sequence[int], parents: Sequence[int]) -> list[int]:
    """Return the row of every item, from 0; items in preorder, `parents[i]` the index of the parent or -1 (a root).

    `columns[i]` is greater than the column of the parent. A parent stands in the row of its middle child. Takes time in
    proportion to the items and the columns that edges span, as in Reingold & Tilford, "Tidier drawings of trees", 1981.
    """
    children: list[list[int]] = [[] for _ in parents]
    roots: list[int] = []
    for item, parent in enumerate(parents):
        (roots if parent < 0 else children[parent]).append(item)
    offset = [0] * len(parents)  # of an item's frame in its parent's
    own = [0] * len(parents)  # an item's row in its own frame
    outline: dict[int, _Outline] = {}
    for item in range(len(parents) - 1, -1, -1):
        shape = _stack(children[item], outline, offset)
        own[item] = _middle([offset[child] + own[child] for child in children[item]])
        start = -1 if parents[item] < 0 else columns[parents[item]]
        shape.extend(own[item], columns[item] - start)
        outline[item] = shape
    _stack(roots, outline, offset)
    return _absolute(parents, offset, own)


def _stack(items: list[int], outline: dict[int, _Outline], offset: list[int]) -> _Outline:
    """Put subtrees under each other; all outlines end (on the left) in the same column."""
    if not items:
        return _Outline()
    shape = outline.pop(items[0])
    for item in items[1:]:
        below = outline.pop(item)
        overlap = min(len(shape.top), len(below.top))
        gap = max(shape.bottom[-k] - below.top[-k] for k in range(1, overlap + 1)) + shape.shift - below.shift + 1
        offset[item] = gap
        below.shift += gap
        shape = _union(shape, below, overlap)
    return shape


def _union(upper: _Outline, lower: _Outline, overlap: int) -> _Outline:
    """Merge the shorter outline into the longer: over a whole tree that adds up to linear time."""
    move = lower.shift - upper.shift
    if len(upper.top) >= len(lower.top):
        for k in range(1, overlap + 1):
            upper.bottom[-k] = lower.bottom[-k] + move
        return upper
    for k in range(1, overlap + 1):
        lower.top[-k] = upper.top[-k] - move
    return lower


def _middle(rows: list[int]) -> int:
    """Return the row nearest to the middle of the first and the last; the upper one of two."""
    if not rows:
        return 0
    middle = (rows[0] + rows[-1]) / 2
    return min(rows, key=lambda row: (abs(row - middle), row))


def _absolute(parents: Sequence[int], offset: list[int], own: list[int]) -> list[int]:
    frame: list[int] = []
    for item, parent in enumerate(parents):
        frame.append(offset[item] + (0 if parent < 0 else frame[parent]))
    rows = [frame[item] + own[item] for item in range(len(parents))]
    least = min(rows, default=0)
    return [row - least for row in rows]
