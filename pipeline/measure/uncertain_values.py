"""Estimates: a value, and how sure it is. Gates, lints, metrics and the viewer take a difference of two models from here.

Every kind answers the same questions: how many standard errors a value lies above a bound (`z`), which interval it has,
and how many observations are behind it.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from statistics import NormalDist
from typing import Protocol

import numpy as np

from pipeline.core.statistics import Interval, Z, paired_share_interval, paired_share_z

__all__ = [
    "Differences",
    "Exact",
    "Mean",
    "PairedShares",
    "Ratio",
    "Share",
    "Spread",
    "UncertainValue",
    "paired_difference",
]

_NORMAL = NormalDist()
_FEWEST = 2
"""Values that have a spread."""
_LARGEST_Z = 37.0
"""Further out, normal probabilities are zero in double precision."""


class UncertainValue(Protocol):
    """A value with what is known of its error."""

    @property
    def value(self) -> float:
        """The best guess."""

    @property
    def count(self) -> int | None:
        """Observations behind it, of which more would tell more; None where that is no matter of their number."""

    def z(self, bound: float) -> float:
        """Return how many standard errors the value lies above `bound`, under the hypothesis that it is the bound."""

    def interval(self, confidence: float) -> Interval:
        """Return the value with its two-sided interval."""


@dataclass(frozen=True, slots=True)
class Exact:
    """A count: of bytes, parameters, operations. It has no error."""

    value: float
    count: int | None = None

    def z(self, bound: float) -> float:
        """Return infinity on the side of the bound where the value is; 0 on it."""
        return math.copysign(math.inf, self.value - bound) if self.value != bound else 0.0

    def interval(self, confidence: float) -> Interval:
        """Return the value alone."""
        return Interval(self.value, self.value, self.value)


@dataclass(frozen=True, slots=True)
class PairedShares:
    """Difference of two shares on the same instances, first less second (Tango, 1998)."""

    only_first: int
    only_second: int
    count: int

    @property
    def value(self) -> float:
        """The difference."""
        return (self.only_first - self.only_second) / self.count

    def z(self, bound: float) -> float:
        """Return the score statistic; a bound that no difference of shares can have is infinitely far."""
        if not -1 < bound < 1:
            return math.copysign(math.inf, -bound)
        return paired_share_z(self.only_first, self.only_second, self.count, bound)

    def interval(self, confidence: float) -> Interval:
        """Return the score interval."""
        return paired_share_interval(self.only_first, self.only_second, self.count, confidence)


@dataclass(frozen=True, slots=True)
class Share:
    """A share of instances (Wilson, 1927)."""

    successes: int
    count: int

    @property
    def value(self) -> float:
        """The share."""
        return self.successes / self.count

    def z(self, bound: float) -> float:
        """Return the score statistic; a bound that no share can have is infinitely far."""
        if not 0 < bound < 1:
            return math.copysign(math.inf, self.value - bound) if self.value != bound else 0.0
        return (self.value - bound) / math.sqrt(bound * (1 - bound) / self.count)

    def interval(self, confidence: float) -> Interval:
        """Return the interval that inverts this statistic."""
        z = _quantile(confidence)
        spread = z * z / self.count
        centre = (self.value + spread / 2) / (1 + spread)
        half = z / (1 + spread) * math.sqrt(self.value * (1 - self.value) / self.count + spread / (4 * self.count))
        return Interval(self.value, max(0.0, centre - half), min(1.0, centre + half))


@dataclass(frozen=True, slots=True)
class Mean:
    """Mean of independent values, one for each instance (Student, 1908)."""

    value: float
    error: float
    """Standard error."""
    count: int

    @classmethod
    def of(cls, values: np.ndarray, *, limit: float | None = None) -> Mean:
        """Take the mean of values, float (N,), N >= 2.

        Args:
            values: one for each instance.
            limit: no value's size is above it, where that is known.
        """
        rows = np.asarray(values, np.float64)
        return cls.of_moments(float(rows.mean()), float(rows.std()), rows.size, limit=limit)

    @classmethod
    def of_moments(cls, mean: float, deviation: float, count: int, *, limit: float | None = None) -> Mean:
        """Take the mean of values that are known by their moments.

        Args:
            mean: of the values.
            deviation: their standard deviation, divided by their number.
            count: their number, 2 or more.
            limit: no value's size is above it, where that is known. Then one pair of values at the limits joins the
                spread, so that the interval holds what rare instances may yet show (Agresti and Min, 2005, Biometrics
                61, do so for right and wrong answers).
        """
        squares, size = count * deviation**2, count
        if limit is not None:
            size = count + 2
            centre = count * mean / size
            squares += count * (mean - centre) ** 2 + (limit - centre) ** 2 + (limit + centre) ** 2
        return cls(mean, math.sqrt(squares / (size - 1) / count), count)

    def z(self, bound: float) -> float:
        """Return Student's statistic, as the normal deviate that is as unlikely."""
        if self.error == 0:
            return Exact(self.value).z(bound)
        from scipy.special import ndtri, stdtr  # a fifth of the time to import `scipy.stats`

        score = (self.value - bound) / self.error
        deviate = -float(ndtri(stdtr(self.count - 1, -abs(score))))
        return math.copysign(min(deviate, _LARGEST_Z), score)

    def interval(self, confidence: float) -> Interval:
        """Return Student's interval."""
        from scipy.special import stdtrit

        half = float(stdtrit(self.count - 1, 0.5 + confidence / 2)) * self.error
        return Interval(self.value, self.value - half, self.value + half)


@dataclass(frozen=True, slots=True)
class Differences:
    """What two models' values differ by on the same instances, as far as its estimate needs it."""

    count: int
    mean: float
    deviation: float
    """Standard deviation, divided by the count."""
    won: int
    """Instances with a difference of exactly 1."""
    lost: int
    """Instances with a difference of exactly -1."""
    same: int
    """Instances without a difference."""
    largest: float
    """Size of the largest."""

    @classmethod
    def of(cls, values: np.ndarray) -> Differences:
        """Sum up differences, finite, (N,), N >= 1."""
        rows = np.asarray(values, np.float64)
        won, lost, same = (int((rows == at).sum()) for at in (1, -1, 0))
        return cls(rows.size, float(rows.mean()), float(rows.std()), won, lost, same, float(np.abs(rows).max()))


def paired_difference(differences: Differences, *, is_share: bool = False) -> PairedShares | Mean | None:
    """Return the difference of two models that gates, lints, metrics and the viewer judge by.

    Of right and wrong answers it is that of two shares, else the mean of the differences.

    Args:
        differences: of the values of the same instances.
        is_share: whether the metric is shown in percent, so that no value is above 1 unless one has been seen.

    Returns:
        None of a single difference that is none of right and wrong answers: nothing tells its spread.
    """
    if differences.won + differences.lost + differences.same == differences.count:
        return PairedShares(differences.won, differences.lost, differences.count)
    if differences.count < _FEWEST:
        return None
    limit = 1.0 if is_share and differences.largest <= 1 else None
    return Mean.of_moments(differences.mean, differences.deviation, differences.count, limit=limit)


@dataclass(frozen=True, slots=True)
class Spread:
    """A value of which only its 95 % interval is stored: each half of it is that of a normal distribution."""

    value: float
    low: float
    high: float
    count: int | None = None

    def z(self, bound: float) -> float:
        """Return the distance to the bound in standard errors of the side that faces it."""
        distance = self.value - bound
        half = (self.value - self.low) if distance > 0 else (self.high - self.value)
        return Z * distance / half if half > 0 else Exact(self.value).z(bound)

    def interval(self, confidence: float) -> Interval:
        """Return the interval, scaled to another confidence."""
        scale = _quantile(confidence) / Z
        return Interval(
            self.value, self.value - scale * (self.value - self.low), self.value + scale * (self.high - self.value)
        )


@dataclass(frozen=True, slots=True)
class Ratio:
    """A monotone function of a ratio with its 95 % interval, which is normal in the logarithm."""

    logarithm: Spread
    figure_of: Callable[[float], float]
    """Ratio -> the value that is judged."""
    ratio_of: Callable[[float], float]
    """Its inverse; NaN of what it never gives."""
    count: int | None = None

    @property
    def value(self) -> float:
        """The judged value at the ratio."""
        return self.figure_of(math.exp(self.logarithm.value))

    def z(self, bound: float) -> float:
        """Return the distance in standard errors of the logarithm."""
        ratio = self.ratio_of(bound)
        rising = self.figure_of(2.0) > self.figure_of(1.0)
        if not ratio > 0 or not math.isfinite(ratio):
            return math.copysign(math.inf, self.value - bound)
        return self.logarithm.z(math.log(ratio)) * (1 if rising else -1)

    def interval(self, confidence: float) -> Interval:
        """Return the interval of the judged value."""
        ends = self.logarithm.interval(confidence)
        low, high = sorted((self.figure_of(math.exp(ends.low)), self.figure_of(math.exp(ends.high))))
        return Interval(self.value, low, high)


def _quantile(confidence: float) -> float:
    return _NORMAL.inv_cdf(0.5 + confidence / 2)
