"""Colours: one per kind of operation, and scales for metrics that know which end is better.

A kind's colour is fixed, never a matter of its position: hiding a kind must not recolour the others. The hues are Okabe
and Ito's (2008), without their yellow and black, which vanish on white and on black; slate and brown stand in. People with
any of the common forms of colour blindness can tell them apart: tested by simulation.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias

import numpy as np

from viewer.format.metrics import Better

__all__ = ["KINDS", "MISSING", "SERIES", "blend", "kind_color", "rank_shares", "scale"]

KINDS = {
    "base": "#4d5864",
    "prune": "#d55e00",
    "quantize": "#0072b2",
    "factorize": "#cc79a7",
    "cluster": "#8a3b1a",
    "calibrate": "#009e73",
    "finetune": "#56b4e9",
    "restore": "#e69f00",
}
"""Kind of operation -> colour, on light and dark ground."""
MISSING = "#9aa3ad"
"""For models without a value, and for kinds that nobody knows."""
SERIES = ("#0072b2", "#e69f00", "#009e73", "#cc79a7", "#56b4e9", "#d55e00", "#8a3b1a", "#4d5864")
"""For values that are to be told apart, in this order."""
# Perceptually uniform from worse to better; the worse end keeps its contrast to the ground, so nothing disappears.
_LIGHT = ("#b9d3e6", "#8fbcd9", "#5f9fc9", "#3a80b4", "#1f6199", "#11457a", "#0a2c55")
_DARK = ("#24425c", "#2b5f86", "#347eae", "#4b9dc9", "#77bad9", "#a8d5e5", "#dcf0f2")


Values: TypeAlias = Sequence[float] | np.ndarray


def kind_color(kind: str) -> str:
    """Return the colour of a kind of operation."""
    return KINDS.get(kind, MISSING)


def scale(
    values: Values, better: Better, *, low: float | None = None, high: float | None = None, dark: bool = False
) -> list[str]:
    """Return one colour per value: the better, the stronger (darker on light ground, lighter on dark).

    The scale runs over `low` to `high`, by default over the finite values; equal values get its middle, and values
    that are missing or not finite get `MISSING`.

    Args:
        values: numbers (N,).
        better: which end is strong; without a direction, the higher.
        low: lower end of the scale; None: the smallest finite value.
        high: upper end; None: the largest.
        dark: whether the ground is dark.

    Returns:
        CSS colours (N,).
    """
    array = np.asarray(values, dtype=np.float64)
    finite = array[np.isfinite(array)]
    if not finite.size:
        return [MISSING] * len(array)
    bottom = float(finite.min()) if low is None else low
    top = float(finite.max()) if high is None else high
    share = (
        np.clip((array - bottom) / (top - bottom), 0, 1) if top > bottom else np.where(np.isfinite(array), 0.5, np.nan)
    )
    if better is Better.LOWER:
        share = 1 - share
    return blend(_DARK if dark else _LIGHT, share)


def rank_shares(values: Values) -> np.ndarray:
    """Return how far each value is through the others by rank, 0 to 1: one outlier does not make all others alike.

    Equal values have one share, that of their middle; where all are equal it is 0.5, of what is missing NaN. Float64 (N,).
    """
    array = np.asarray(values, dtype=np.float64)
    shares = np.full(array.shape, np.nan)
    finite = np.isfinite(array)
    distinct, which, count = np.unique(array[finite], return_inverse=True, return_counts=True)
    middle = np.cumsum(count) - (count - 1) / 2
    if len(distinct) == 1:
        shares[finite] = 0.5
    elif len(distinct):
        shares[finite] = ((middle - middle[0]) / (middle[-1] - middle[0]))[which]
    return shares


def blend(stops: Sequence[str], share: Sequence[float] | np.ndarray) -> list[str]:
    """Return the colours at `share` (0 to 1) of the way through evenly spaced stops; NaN gives `MISSING`."""
    where = np.asarray(share, dtype=np.float64)
    finite = np.isfinite(where)
    place = np.where(finite, where, 0.0) * (len(stops) - 1)
    channels = np.array([_channels(stop) for stop in stops], dtype=np.float64)
    mixed = [np.interp(place, np.arange(len(stops)), channels[:, band]) for band in range(3)]
    rounded = np.stack(mixed, axis=1).round().astype(int)
    return [f"#{r:02x}{g:02x}{b:02x}" if ok else MISSING for (r, g, b), ok in zip(rounded, finite, strict=True)]


def _channels(color: str) -> tuple[int, int, int]:
    return int(color[1:3], 16), int(color[3:5], 16), int(color[5:7], 16)
