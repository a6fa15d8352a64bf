"""Differences of tensors: the same values in two models, compared one by one."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from pipeline.layers.stats.histogram import BLOCK, ROWS, Summary, value_blocks, value_rows

__all__ = ["CLASSES", "EDGES", "Difference", "compare"]

EDGES = (0.0, 0.01, 0.1, 0.5, 1.0)
"""Relative change |new - old| / |old|: unchanged, up to 1 %, up to 10 %, up to 50 %, below 100 %, and 100 % or more."""
CLASSES = len(EDGES) + 1
_EXACT = 1 << 17
"""Tensors with more values have their value-by-change counts taken from evenly spaced parts, about `_SAMPLE` in all."""
_SAMPLE, _PART = 1 << 15, 1 << 12
_LANES = 256
"""Values of a block that are added up side by side."""
_TINY = 1e-24
"""Squares of a float32 that add up to less may have vanished one by one."""


@dataclass(frozen=True, slots=True)
class Difference:
    """Of a tensor to the same tensor of a reference. Pairs in which either value is not finite are counted and left out.

    `sqnr_db` is 10 log10 of the reference's energy over the difference's (signal-to-quantization-noise ratio): inf where
    nothing changed, -inf where the reference is all zeros. `cosine` is None where one side is all zeros.
    """

    count: int
    nonfinite: int
    zero_both: int
    zero_here: int
    """Zero in the model only."""
    zero_there: int
    """Zero in the reference only."""
    mean_abs_change: float | None
    relative_change: float | None
    """Sum of the absolute changes over the sum of the reference's absolute values; None where that is zero."""
    sqnr_db: float | None
    cosine: float | None
    counts: tuple[int, ...]
    """Value by relative change: `ROWS` x `CLASSES`, row by row, in the rows of the model's own histogram."""
    counted: int
    """Pairs behind `counts`: all of `count`, or a sample of large tensors."""


def compare(
    new: np.ndarray, old: np.ndarray, *, limits: tuple[float, float], summaries: tuple[Summary, Summary] | None = None
) -> Difference:
    """Compare float32 arrays of one shape.

    Args:
        new: of any shape.
        old: of the same shape.
        limits: (low, high) of the new one's histogram.
        summaries: those of (new, old), if they are at hand: of finite tensors their sums need not be taken again, which makes
            the comparison twice as fast.

    Raises:
        ValueError: the shapes differ.
    """
    if new.shape != old.shape:
        raise ValueError(f"Only equal shapes can be compared, not {new.shape} and {old.shape}")
    trusted = None if summaries is None or any(side.nans or side.infs for side in summaries) else summaries
    exact = new.size <= _EXACT
    every = 1 if exact else math.ceil(new.size / BLOCK / (_SAMPLE / _PART))
    sums = _Sums(limits, trusted)
    with np.errstate(divide="ignore", invalid="ignore", over="ignore", under="ignore"):
        for index, (a, b) in enumerate(zip(value_blocks(new.reshape(-1)), value_blocks(old.reshape(-1)), strict=True)):
            sums.add(a, b, cross=0 if index % every else BLOCK if exact else _PART)
    if trusted is not None:
        sums.trust(*trusted)
    return sums.result(new.size)


class _Sums:
    """Sums over blocks of pairs: within a block in float32, of the blocks in float64.

    A block's sum is taken again in float64 where float32 could not hold it: too large, too small, or not a number.
    """

    def __init__(self, limits: tuple[float, float], summaries: tuple[Summary, Summary] | None) -> None:
        self.limits, self.light = limits, summaries is not None
        self.dense = summaries is not None and not min(side.zeros for side in summaries)
        """One side has no zeros, so both never are: nothing to count."""
        self.finite = self.counted = 0
        self.zero_new = self.zero_old = self.zero_both = 0
        self.absolute = self.squares = self.old_absolute = self.old_squares = self.new_squares = 0.0
        self.counts = np.zeros(ROWS * CLASSES, np.int64)
        self._change, self._scratch = np.empty(BLOCK, np.float32), np.empty(BLOCK, np.float32)

    def add(self, new: np.ndarray, old: np.ndarray, *, cross: int) -> None:
        """Take one block into account; of its first `cross` values also value by change."""
        change: np.ndarray = self._change[: new.size]
        np.subtract(new, old, out=change)
        squares, absolute = _sums(change, self._scratch[: new.size])
        if absolute != 0 and not _TINY < squares < math.inf:
            new, old = _both_finite(new, old)
            change = new.astype(np.float64) - old
            squares, absolute = _sums(change, np.empty_like(change))
        self.finite += new.size
        self.squares += squares
        self.absolute += absolute
        if not self.dense:
            self._zeros(new, old)
        if not self.light:
            self._energies(new, old)
        if cross and new.size:
            part = slice(0, cross)
            self.counted += new[part].size
            joint = value_rows(new[part], *self.limits).astype(np.int64) * CLASSES + _classes(change[part], old[part])
            self.counts += np.bincount(joint, minlength=ROWS * CLASSES)

    def trust(self, new: Summary, old: Summary) -> None:
        """Take the sums of each side from their summaries."""
        self.zero_new, self.zero_old = new.zeros, old.zeros
        self.new_squares, self.old_squares, self.old_absolute = new.square_sum, old.square_sum, old.abs_sum

    def result(self, size: int) -> Difference:
        """Finish."""
        some = self.finite > 0
        # the sum of products follows from the squares; in float64 the cancellation costs nothing that shows
        products = (self.new_squares + self.old_squares - self.squares) / 2
        norms = math.sqrt(self.new_squares) * math.sqrt(self.old_squares)
        return Difference(
            count=size,
            nonfinite=size - self.finite,
            zero_both=self.zero_both,
            zero_here=self.zero_new - self.zero_both,
            zero_there=self.zero_old - self.zero_both,
            mean_abs_change=self.absolute / self.finite if some else None,
            relative_change=self.absolute / self.old_absolute if self.old_absolute > 0 else None,
            sqnr_db=decibels(self.old_squares, self.squares) if some else None,
            cosine=max(-1.0, min(1.0, products / norms)) if norms > 0 else None,
            counts=tuple(self.counts.tolist()),
            counted=self.counted,
        )

    def _zeros(self, new: np.ndarray, old: np.ndarray) -> None:
        new_zero, old_zero = new == 0, old == 0
        if not self.light:
            self.zero_new += int(np.count_nonzero(new_zero))
            self.zero_old += int(np.count_nonzero(old_zero))
        np.logical_and(new_zero, old_zero, out=new_zero)
        self.zero_both += int(np.count_nonzero(new_zero))

    def _energies(self, new: np.ndarray, old: np.ndarray) -> None:
        scratch = np.empty(new.shape, np.float64)
        self.new_squares += _sums(new.astype(np.float64), scratch)[0]
        squares, absolute = _sums(old.astype(np.float64), scratch)
        self.old_squares += squares
        self.old_absolute += absolute


def decibels(signal: float, noise: float) -> float:
    """10 log10(signal / noise): inf without noise, -inf without signal."""
    if noise == 0:
        return math.inf
    return 10 * math.log10(signal / noise) if signal > 0 else -math.inf


def _both_finite(new: np.ndarray, old: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    finite = np.isfinite(new) & np.isfinite(old)
    return new[finite], old[finite]


def _sums(values: np.ndarray, scratch: np.ndarray) -> tuple[float, float]:
    """Sums of the squares and of the absolute values; no value has more than some hundreds added to it in float32."""
    whole = values.size - values.size % _LANES
    np.abs(values, out=scratch)
    squares = absolute = 0.0
    for part in (scratch[:whole].reshape(-1, _LANES), scratch[whole:].reshape(1, -1)):
        squares += float(np.add.reduce(np.vecdot(part, part)))
        absolute += float(np.add.reduce(np.add.reduce(part, axis=0)))  # whole rows at a time: as fast as memory
    return squares, absolute


def _classes(change: np.ndarray, old: np.ndarray) -> np.ndarray:
    """Return the class of each relative change; a value that was zero and is not any more changed by 100 % or more."""
    ratio = np.abs(change / old)  # 0/0 is NaN, which is above nothing
    bins: np.ndarray = (ratio > EDGES[0]).astype(np.uint8)
    for edge in EDGES[1:-1]:
        bins += ratio > edge
    bins += ratio >= EDGES[-1]
    return bins
