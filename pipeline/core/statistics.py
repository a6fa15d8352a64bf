"""Statistics of measurements: every figure comes with what it is worth.

Functions take and return plain numbers and NumPy arrays. SciPy is imported where it is needed, because it is slow to
import and this module is loaded when metrics are planned.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache, lru_cache
from statistics import NormalDist

import numpy as np

CONFIDENCE = 0.95
_BOUND_CONFIDENCE = 0.99
_FAR = 1e6
"""In place of infinitely many standard errors, where roots are searched."""
_CHUNK = 1 << 22  # elements of one block of resampled values, so that memory stays small


@dataclass(frozen=True, slots=True)
class Interval:
    """An estimate with its two-sided interval (95 % unless said otherwise)."""

    value: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Percentile:
    """A percentile as far as the samples carry it."""

    value: float | None
    """Nearest-rank percentile; None where there are fewer samples than `samples_for_percentile`."""
    bound: float | None
    """With 99 % confidence the true percentile is not above this; None where no sample can serve as such a bound."""


@cache
def samples_for_percentile(percent: float) -> int:
    """Fewest samples with which a percentile may be stated: p50 11, p75 24, p90 64, p95 130, p99 662.

    The rule of MLPerf's early stopping (LoadGen, `early_stopping.cc`): the largest sample is set aside, and the next
    must bound the percentile from above with 99 % confidence: P(at most one of n samples lies above it) <= 1 %.
    """
    below = percent / 100
    n = 2
    while below**n + n * (1 - below) * below ** (n - 1) > 1 - _BOUND_CONFIDENCE:
        n += 1
    return n


def percentile(samples: np.ndarray, percent: float) -> Percentile:
    """Return the nearest-rank percentile, if there are enough samples for it, and its one-sided 99 % bound.

    The bound is the smallest order statistic that lies above the true percentile with 99 % confidence, for independent
    samples of any distribution.
    """
    ordered = np.sort(np.asarray(samples, dtype=np.float64))
    n = len(ordered)
    if n == 0:
        return Percentile(None, None)
    value = float(ordered[max(math.ceil(percent / 100 * n), 1) - 1]) if n >= samples_for_percentile(percent) else None
    return Percentile(value, _upper_bound(ordered, percent / 100))


def _upper_bound(ordered: np.ndarray, below: float) -> float | None:
    from scipy.stats import binom

    n = len(ordered)
    # P(the k-th smallest >= the percentile) = P(fewer than k samples are below it), k counted from 1
    rank = int(binom.ppf(_BOUND_CONFIDENCE, n, below)) + 1
    return float(ordered[rank - 1]) if rank <= n else None


def quantile_interval(samples: np.ndarray, percent: float) -> tuple[float, float] | None:
    """95 % interval of a percentile from order statistics, for any distribution; None with too few samples for it."""
    from scipy.stats import binom

    ordered = np.sort(np.asarray(samples, dtype=np.float64))
    n, tail = len(ordered), (1 - CONFIDENCE) / 2
    if n < samples_for_percentile(percent):
        return None
    low, high = int(binom.ppf(tail, n, percent / 100)), int(binom.ppf(1 - tail, n, percent / 100)) + 1
    return float(ordered[max(low, 1) - 1]), float(ordered[min(high, n) - 1])


Z = NormalDist().inv_cdf(0.5 + CONFIDENCE / 2)
"""Standard errors from the middle of a normal distribution to the ends of its 95 % interval."""


def independent_sides(
    value: np.ndarray | float,
    ends: tuple[np.ndarray | float, np.ndarray | float],
    reference: np.ndarray | float,
    reference_ends: tuple[np.ndarray | float, np.ndarray | float],
) -> tuple[np.ndarray, np.ndarray]:
    """Return how far below and above a difference its interval reaches, from two intervals (MOVER: Donner and Zou, 2012).

    Elementwise, for estimates that are independent of each other.

    Args:
        value: of the first.
        ends: of its interval, low and high.
        reference: of the second, which is subtracted.
        reference_ends: of its interval.
    """
    below = np.hypot(value - ends[0], reference_ends[1] - reference)
    above = np.hypot(ends[1] - value, reference - reference_ends[0])
    return below, above


def wilson(successes: int, count: int) -> Interval:
    """Interval of a share (Wilson, 1927): right also near 0 and 1 and for small counts.

    Raises:
        ValueError: if there is nothing to count.
    """
    if count <= 0:
        raise ValueError("A share of zero observations is not a number")
    low, high = wilson_bounds(np.array(successes), np.array(count))
    return Interval(successes / count, float(low), float(high))


def wilson_bounds(successes: np.ndarray, count: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Lower and upper ends of the 95 % intervals of shares (Wilson, 1927), elementwise; NaN of nothing."""
    share, spread = successes / count, Z * Z / count
    centre = (share + spread / 2) / (1 + spread)
    half = Z / (1 + spread) * np.sqrt(share * (1 - share) / count + spread / (4 * count))
    # at 0 and 1 the formula reaches the edge exactly, rounding does not
    low = np.where(successes == 0, np.minimum(share, 0.0), centre - half)
    high = np.where(successes == count, np.maximum(share, 1.0), centre + half)
    return low, high


def bootstrap_mean(values: np.ndarray, *, resamples: int = 1000, seed: int = 0) -> Interval:
    """Mean with its percentile-bootstrap interval (Efron, 1979).

    For paired data give the differences per pair. NaN and infinities make the interval undefined and are refused.

    Raises:
        ValueError: if a value is not finite, or there is none.
    """
    values = np.asarray(values, dtype=np.float64)
    if values.size == 0 or not np.isfinite(values).all():
        raise ValueError(
            f"A bootstrap needs finite values, got {values.size} with {int((~np.isfinite(values)).sum())} not finite"
        )
    generator = np.random.default_rng(seed)
    block = max(1, _CHUNK // values.size)
    means = np.concatenate(
        [
            values[generator.integers(0, values.size, (min(block, resamples - done), values.size))].mean(axis=1)
            for done in range(0, resamples, block)
        ]
    )
    low, high = np.quantile(means, [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2])
    return Interval(float(values.mean()), float(low), float(high))


def mcnemar(first: np.ndarray, second: np.ndarray) -> float:
    """Exact two-sided p value that two models are right equally often on the same instances (McNemar, 1947).

    Only the instances on which one is right and the other wrong count; their split is compared with a fair coin.
    """
    first, second = np.asarray(first, dtype=bool), np.asarray(second, dtype=bool)
    return float(mcnemar_of_counts(np.array((first & ~second).sum()), np.array((~first & second).sum())))


def mcnemar_of_counts(only_first: np.ndarray, only_second: np.ndarray) -> np.ndarray:
    """Exact two-sided p values (McNemar, 1947) from counts of instances that one model alone has right, elementwise.

    1 where the two never differ.
    """
    from scipy.special import bdtr  # a fifth of the time to import `scipy.stats`

    total = only_first + only_second
    p = 2 * bdtr(np.minimum(only_first, only_second), total, 0.5)
    p_values: np.ndarray = np.where(total > 0, np.minimum(p, 1.0), 1.0)
    return p_values


def cochran_q(values: np.ndarray, errors: np.ndarray) -> tuple[float, float]:
    """Return Cochran's Q of estimates, and the p value that all are of one and the same thing (Cochran, 1954, Biometrics 10).

    For independent estimates; of those that share instances, whose errors go together, too few are told apart.

    Args:
        values: the estimates, (N,), N >= 2.
        errors: their standard errors, all positive.
    """
    from scipy.special import chdtrc

    weights = 1 / np.square(np.asarray(errors, np.float64))
    middle = float((weights * values).sum() / weights.sum())
    q = float((weights * np.square(values - middle)).sum())
    return q, float(chdtrc(len(weights) - 1, q))


def holm(p_values: Sequence[float] | np.ndarray) -> np.ndarray:
    """P values of many tests, adjusted so that the chance of any false alarm keeps its level (Holm, 1979).

    In the shape and order given; NaN stays NaN: no test.
    """
    flat = np.asarray(p_values, np.float64).reshape(-1)
    tests = int(np.isfinite(flat).sum())
    order = np.argsort(flat, kind="stable")[:tests]  # NaN comes last
    adjusted = np.full_like(flat, np.nan)
    adjusted[order] = np.minimum(np.maximum.accumulate(flat[order] * np.arange(tests, 0, -1)), 1)
    return adjusted.reshape(np.shape(p_values))


def benjamini_hochberg(p_values: Sequence[float]) -> np.ndarray:
    """P values adjusted to control the share of false alarms among all alarms (Benjamini and Hochberg, 1995)."""
    p = np.asarray(p_values, dtype=np.float64)
    order = np.argsort(p, kind="stable")
    scaled = p[order] * len(p) / np.arange(1, len(p) + 1)
    adjusted = np.minimum.accumulate(scaled[::-1])[::-1]
    return _in_place(np.minimum(adjusted, 1), order)


def _in_place(values: np.ndarray, order: np.ndarray) -> np.ndarray:
    back = np.empty_like(values)
    back[order] = values
    return back


def expected_calibration_error(confidence: np.ndarray, correct: np.ndarray, *, bins: int = 15) -> float:
    """Mean distance of confidence and accuracy over equal-width bins, weighted by their size (Naeini et al., 2015).

    Bins are (low, high], as in Guo et al., 2017.

    Args:
        confidence: probability of each prediction, (N,), 0 to 1.
        correct: bool (N,).
        bins: their number.

    Returns:
        0 to 1; 0 is perfectly calibrated.
    """
    confidence, correct = np.asarray(confidence, dtype=np.float64), np.asarray(correct, dtype=np.float64)
    which = np.clip(np.ceil(confidence * bins).astype(int) - 1, 0, bins - 1)
    gaps = np.bincount(which, weights=confidence - correct, minlength=bins)
    return float(np.abs(gaps).sum() / len(confidence))


def paired_share_z(only_first: int, only_second: int, count: int, difference: float) -> float:
    """Score statistic of the difference of two shares on the same instances (Tango, 1998, Statistics in Medicine 17).

    Standard normal where the first share is truly `difference` larger than the second, however few instances the two
    differ on: the variance is that under this hypothesis, so that equal answers are no proof of equality.

    Args:
        only_first: instances that count for the first alone.
        only_second: instances that count for the second alone.
        count: all instances.
        difference: the hypothesis, in [-1, 1].
    """
    if difference < 0:
        return -paired_share_z(only_second, only_first, count, -difference)
    linear = difference * (2 * count - only_first + only_second) - (only_first + only_second)
    constant = only_second * difference * (1 - difference)
    second = (math.sqrt(linear * linear + 8 * count * constant) - linear) / (4 * count)
    variance = count * (2 * second + difference * (1 - difference))
    distance = only_first - only_second - count * difference
    if variance <= 0:
        return math.copysign(math.inf, distance) if distance else 0.0
    return distance / math.sqrt(variance)


@lru_cache(maxsize=1 << 14)
def paired_share_interval(only_first: int, only_second: int, count: int, confidence: float = CONFIDENCE) -> Interval:
    """Difference of two shares on the same instances, first less second, with its score interval (Tango, 1998).

    Raises:
        ValueError: if there is nothing to count.
    """
    if count <= 0:
        raise ValueError("A share of zero observations is not a number")
    from scipy.optimize import brentq

    value, z = (only_first - only_second) / count, NormalDist().inv_cdf(0.5 + confidence / 2)

    def end(side: float) -> float:
        def excess(difference: float) -> float:
            score = paired_share_z(only_first, only_second, count, difference)
            return min(max(score, -_FAR), _FAR) + side * z

        return value if value == side else float(brentq(excess, value, side))

    return Interval(value, end(-1.0), end(1.0))
