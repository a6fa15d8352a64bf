"""Ribbons from parent to child: their width and colour run smoothly from one end to the other."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

__all__ = ["Ribbons", "joined", "ribbons"]

_STEPS_PER_PIECE = 3
_LEAST_BENDING, _MOST_BENDING = 5, 0.625
"""How many pieces, and at most what share of them, the bend of a long ribbon takes: as much as its share of the way, but
enough for its shape."""


class Ribbons(NamedTuple):
    """Polygons to fill in this order: a ribbon is cut into pieces, each of one colour.

    Every piece reaches to the end of the next one, which is filled over it. Pieces that only touch would let a hairline of
    the ground through between them; those that overlap a little are darker there, where their edges cover a pixel in part.
    """

    xs: np.ndarray
    """float32 (pieces, corners)."""
    ys: np.ndarray
    """float32 (pieces, corners)."""
    ribbon: np.ndarray
    """int32 (pieces,): which ribbon the piece belongs to."""
    along: np.ndarray
    """float32 (pieces,): where on its ribbon the middle of what is seen of the piece lies, from 0 (parent) to 1 (child)."""


def ribbons(
    start: np.ndarray,
    end: np.ndarray,
    start_width: np.ndarray,
    end_width: np.ndarray,
    *,
    turn: float = np.inf,
    pieces: int = 8,
) -> Ribbons:
    """Return tapered ribbons from `start` to `end`, (N, 2) each, with half-widths (N,) at both ends.

    A ribbon leaves and arrives horizontally: a cubic Bezier whose control points lie half-way across. One that reaches
    further than `turn` makes its bend within `turn` of its start and runs straight from there, so that it stays clear of
    what stands between. Its width is measured vertically, so that many ribbons leaving one node overlap into one band.

    Args:
        start: float (N, 2), in columns and rows of the map, as all lengths here.
        end: float (N, 2).
        start_width: half-widths (N,).
        end_width: half-widths (N,).
        turn: the reach within which a ribbon makes its bend.
        pieces: quadrilaterals per ribbon.
    """
    count = len(start)
    t = np.linspace(0, 1, pieces * _STEPS_PER_PIECE + 1)[None, :]
    reach = end[:, :1] - start[:, :1]
    far = reach > turn
    bend = np.where(far, turn, reach)
    bending = np.clip(bend / np.where(far, reach, 1), min(_LEAST_BENDING / pieces, _MOST_BENDING), _MOST_BENDING)
    split = np.where(far, np.round(bending * pieces) / pieces, 1.0)
    bent, straight = np.minimum(t / split, 1), np.where(far, np.maximum(t - split, 0) / np.maximum(1 - split, 1e-9), 0)
    ease = bent * bent * (3 - 2 * bent)  # the y of that Bezier over its parameter
    across = bend * (1.5 * bent * (1 - bent) + bent**3) + (reach - bend) * straight  # and its x
    x = start[:, :1] + across
    y = start[:, 1:] + (end[:, 1:] - start[:, 1:]) * ease
    way = np.where(far, across / np.where(far, reach, 1), t)
    half = start_width[:, None] + (end_width - start_width)[:, None] * way * way * (3 - 2 * way)
    first = np.arange(pieces) * _STEPS_PER_PIECE
    along = (way[:, first] + way[:, first + _STEPS_PER_PIECE]) / 2
    there = np.minimum(first[:, None] + np.arange(2 * _STEPS_PER_PIECE + 1), pieces * _STEPS_PER_PIECE)
    back = there[:, ::-1]
    xs = np.concatenate([x[:, there], x[:, back]], axis=2)
    ys = np.concatenate([(y - half)[:, there], (y + half)[:, back]], axis=2)
    return Ribbons(
        xs=xs.reshape(count * pieces, 2 * there.shape[1]).astype(np.float32),
        ys=ys.reshape(count * pieces, 2 * there.shape[1]).astype(np.float32),
        ribbon=np.repeat(np.arange(count, dtype=np.int32), pieces),
        along=along.reshape(-1).astype(np.float32),
    )


def joined(parts: Sequence[tuple[np.ndarray, Ribbons]]) -> Ribbons:
    """Return ribbons that were made apart, (which of all each one is, they) per part, in the order of all."""
    ribbon = np.concatenate([rows[piece.ribbon] for rows, piece in parts])
    order = np.argsort(ribbon, kind="stable")
    return Ribbons(
        xs=np.concatenate([piece.xs for _, piece in parts])[order],
        ys=np.concatenate([piece.ys for _, piece in parts])[order],
        ribbon=ribbon[order].astype(np.int32),
        along=np.concatenate([piece.along for _, piece in parts])[order],
    )
