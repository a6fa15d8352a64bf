"""Ribbons from parent to child: their width and colour run smoothly from one end to the other."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

__all__ = ["Ribbons", "ribbons"]

_STEPS_PER_PIECE = 3


class Ribbons(NamedTuple):
    """Polygons to fill: a ribbon is cut into pieces, each of one colour."""

    xs: np.ndarray
    """float32 (pieces, corners)."""
    ys: np.ndarray
    """float32 (pieces, corners)."""
    ribbon: np.ndarray
    """int32 (pieces,): which ribbon the piece belongs to."""
    along: np.ndarray
    """float32 (pieces,): where on its ribbon the piece's middle lies, from 0 (parent) to 1 (child)."""


def ribbons(
    start: np.ndarray, end: np.ndarray, start_width: np.ndarray, end_width: np.ndarray, *, pieces: int = 8
) -> Ribbons:
    """Return tapered ribbons from `start` to `end`, (N, 2) each, with half-widths (N,) at both ends.

    A ribbon leaves and arrives horizontally: a cubic Bezier whose control points lie half-way across. Its width is
    measured vertically, so that many ribbons leaving one node overlap into one band.
    """
    count = len(start)
    t = np.linspace(0, 1, pieces * _STEPS_PER_PIECE + 1)
    ease = t * t * (3 - 2 * t)  # the y of that Bezier over its parameter
    across = 1.5 * t * (1 - t) + t**3  # and its x
    x = start[:, :1] + (end[:, :1] - start[:, :1]) * across
    y = start[:, 1:] + (end[:, 1:] - start[:, 1:]) * ease
    half = start_width[:, None] + (end_width - start_width)[:, None] * ease
    first = np.arange(pieces) * _STEPS_PER_PIECE
    steps = first[:, None] + np.arange(_STEPS_PER_PIECE + 1)
    there, back = steps, steps[:, ::-1]
    xs = np.concatenate([x[:, there], x[:, back]], axis=2)
    ys = np.concatenate([(y - half)[:, there], (y + half)[:, back]], axis=2)
    return Ribbons(
        xs=xs.reshape(count * pieces, -1).astype(np.float32),
        ys=ys.reshape(count * pieces, -1).astype(np.float32),
        ribbon=np.repeat(np.arange(count, dtype=np.int32), pieces),
        along=np.tile(((np.arange(pieces) + 0.5) / pieces).astype(np.float32), count),
    )
