"""The distribution of a tensor's values: exact counts and moments, and a histogram that outliers cannot flatten."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

__all__ = ["BINS", "ROWS", "Histogram", "Moments", "Summary", "robust_range", "summarize", "value_blocks", "value_rows"]

BINS = 32
ROWS = BINS + 3
"""Rows of a histogram: below the range, the bins, above the range, exactly zero. NaN and infinities are counted apart."""
BELOW, ABOVE, ZERO = 0, BINS + 1, BINS + 2
BLOCK = 1 << 15
"""Values that are worked on at once: they and their temporaries stay in the processor's cache."""
_SAMPLE = 1 << 16
_TAIL = 0.001
_NEAR = 4.0


@dataclass(frozen=True, slots=True)
class Histogram:
    """Counts of finite values; row 0 holds what is below `low`, the last but one what is above `high`, the last zeros."""

    low: float
    high: float
    counts: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Summary:
    """Of one tensor. Moments are over the finite values, in float64; None where there are none."""

    count: int
    zeros: int
    nans: int
    infs: int
    minimum: float | None
    maximum: float | None
    mean: float | None
    std: float | None
    abs_sum: float
    square_sum: float
    histogram: Histogram


def summarize(values: np.ndarray, *, limits: tuple[float, float] | None = None) -> Summary:
    """Return the distribution of float32 values of any shape; `limits` are those of the histogram (default: robust)."""
    flat = values.reshape(-1)
    low, high = limits or robust_range(flat)
    counts = np.zeros(ROWS, np.int64)
    total = Moments()
    for block in value_blocks(flat):
        finite = total.add(block)
        counts += np.bincount(value_rows(finite, low, high), minlength=ROWS)
    mean = total.sum / total.finite if total.finite else None
    return Summary(
        count=flat.size,
        zeros=int(counts[ZERO]),
        nans=total.nans,
        infs=flat.size - total.finite - total.nans,
        minimum=total.minimum if total.finite else None,
        maximum=total.maximum if total.finite else None,
        mean=mean,
        std=_std(flat, mean, total.finite) if mean is not None else None,
        abs_sum=total.abs_sum,
        square_sum=total.square_sum,
        histogram=Histogram(low, high, tuple(counts.tolist())),
    )


def value_blocks(flat: np.ndarray, size: int = BLOCK) -> Iterator[np.ndarray]:
    """Yield consecutive parts of a flat array."""
    for start in range(0, flat.size, size):
        yield flat[start : start + size]


def value_rows(finite: np.ndarray, low: float, high: float) -> np.ndarray:
    """Return the histogram row of each finite value: uint8, of the same shape.

    Args:
        finite: float32 of any shape, without NaN and infinity.
        low: lower limit of the first bin.
        high: upper limit of the last, above `low`.
    """
    places = finite.astype(np.float64)  # one array, worked on in place: it stays in the cache
    with np.errstate(over="ignore", invalid="ignore"):
        places -= low
        places *= BINS / (high - low)
        np.floor(places, out=places)
        places += 1
        top = finite == np.float32(high)  # infinite for a limit beyond the largest float32, where no value is
    np.clip(places, BELOW, ABOVE, out=places)
    rows: np.ndarray = places.astype(np.uint8)
    if top.any():
        rows[top] = BINS  # the last bin includes its upper edge
    other = (finite != 0).view(np.uint8)  # after a ReLU every second value is zero: arithmetic is faster than a mask
    rows *= other
    rows += (other ^ 1) * np.uint8(ZERO)
    return rows


def robust_range(flat: np.ndarray) -> tuple[float, float]:
    """Return the limits of a histogram: those of the values, but without far outliers.

    The central 99.8 % of the non-zero values set the scale (from 65,536 evenly spaced values); the range reaches to the
    extremes where these are near, within four times that width, and stops at the quantiles otherwise.
    """
    sample = flat[:: max(1, flat.size // _SAMPLE)]
    sample = sample[np.isfinite(sample) & (sample != 0)].astype(np.float64)
    if not sample.size:
        return -1.0, 1.0
    first, last = (float(edge) for edge in np.quantile(sample, [_TAIL, 1 - _TAIL]))
    smallest, largest = float(sample.min()), float(sample.max())
    reach = _NEAR * (last - first)
    low = smallest if smallest >= first - reach else first
    high = largest if largest <= last + reach else last
    if high - low > 1e-6 * max(abs(low), abs(high)):
        return low, high
    width = max(abs(low) * 0.1, math.ulp(0.0) * 2**60)  # one value over and over: a range around it
    return low - width, high + width


class Moments:
    """Sums over blocks in float64: a float32 sum of millions of small values loses them."""

    def __init__(self) -> None:
        self.finite = self.nans = 0
        self.sum = self.abs_sum = self.square_sum = 0.0
        self.minimum, self.maximum = math.inf, -math.inf

    def add(self, block: np.ndarray) -> np.ndarray:
        """Take a block into account and return its finite values."""
        wide = block.astype(np.float64)
        with np.errstate(invalid="ignore"):  # inf - inf
            total = float(wide.sum())
        if not math.isfinite(total):
            finite = np.isfinite(block)
            self.nans += int(np.isnan(block).sum())
            block = block[finite]
            wide = wide[finite]
            total = float(wide.sum())
        if block.size:
            self.finite += block.size
            self.sum += total
            self.square_sum += _squares(wide)
            self.abs_sum += float(np.abs(wide, out=wide).sum())
            self.minimum = min(self.minimum, float(block.min()))
            self.maximum = max(self.maximum, float(block.max()))
        return block


def _std(flat: np.ndarray, mean: float, finite: int) -> float:
    """A second pass: the difference of two large sums would lose a small spread around a large mean."""
    total = 0.0
    for block in value_blocks(flat):
        away = block[np.isfinite(block)].astype(np.float64) - mean
        total += _squares(away)
    return math.sqrt(total / finite)


def _squares(values: np.ndarray) -> float:
    """Without BLAS, whose threads would wait for each other at every block."""
    return float(np.einsum("i,i->", values, values))
