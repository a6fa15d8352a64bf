"""Layers whose outputs changed more on some instances than on others: pure functions on sums per instance.

The measure is that of every comparison of layers, the relative change: the sum of the absolute changes over the sum of
the reference's absolute values. It is taken of each of two sets of instances; a layer stands out where their ratio is
large, and instances are resampled to say how sure that is.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from pipeline.core.statistics import CONFIDENCE, holm

__all__ = ["FEWEST", "MOST", "InstanceSets", "LayerContrast", "LayerSums", "contrasts", "sums_of"]

MOST = 64
"""Instances of each set that are run."""
FEWEST = 5
"""Instances of each set without which nothing can be said."""
_VERSION = 1
_RESAMPLES = 2000
_SEED = 0


@dataclass(frozen=True, slots=True)
class InstanceSets:
    """Ids of two sets of instances of a data set's evaluation split."""

    dataset_key: str
    changed: tuple[str, ...]
    same: tuple[str, ...]

    @classmethod
    def parse(cls, text: str) -> InstanceSets:
        """Read what `text` wrote.

        Raises:
            ValueError: if it is something else, one set has too few instances, or an instance is in both.
        """
        raw = json.loads(text)
        if not isinstance(raw, dict) or not {"dataset", "changed", "same"} <= raw.keys():
            raise ValueError("the instances must be JSON with `dataset`, `changed` and `same`")
        sets = cls(str(raw["dataset"]), tuple(map(str, raw["changed"])), tuple(map(str, raw["same"])))
        if set(sets.changed) & set(sets.same):
            raise ValueError("an instance is in both sets")
        if min(len(set(sets.changed)), len(set(sets.same))) < FEWEST:
            raise ValueError(f"each set must have {FEWEST} instances or more")
        return sets

    def text(self) -> str:
        """As JSON."""
        return json.dumps({"dataset": self.dataset_key, "changed": self.changed, "same": self.same})

    def sample(self) -> InstanceSets:
        """Return `MOST` of each set at most: always the same ones, whatever their order."""
        return InstanceSets(self.dataset_key, _sample(self.changed), _sample(self.same))

    def key(self, model: str, reference: str) -> str:
        """Return a digest of everything that the contrast of two models on these instances depends on."""
        parts = [_VERSION, MOST, model, reference, self.dataset_key, *map(sorted, (set(self.changed), set(self.same)))]
        return hashlib.sha256(json.dumps(parts).encode()).hexdigest()


def _sample(ids: Sequence[str]) -> tuple[str, ...]:
    ordered = sorted(set(ids))
    if len(ordered) <= MOST:
        return tuple(ordered)
    places = np.random.default_rng(_SEED).choice(len(ordered), MOST, replace=False)
    return tuple(ordered[at] for at in sorted(places.tolist()))


@dataclass(frozen=True, slots=True)
class LayerSums:
    """Of one layer: what its outputs changed by, instance by instance."""

    site: str
    stage: str
    position: int
    change: np.ndarray
    """float64 (instances,): sums of the absolute changes."""
    reference: np.ndarray
    """float64 (instances,): sums of the reference's absolute values."""


def sums_of(
    new: tuple[np.ndarray, np.ndarray], old: tuple[np.ndarray, np.ndarray], instance: np.ndarray, count: int
) -> tuple[np.ndarray, np.ndarray]:
    """Return the sums of absolute changes and of the reference's absolute values, float64 (count,) each.

    Values that are not finite in both are left out.

    Args:
        new: values of the model, float32 (rows, places), and which of them it has.
        old: those of the reference.
        instance: int (rows,): the instance that each row belongs to.
        count: number of instances.
    """
    values, others = new[0].astype(np.float64), old[0].astype(np.float64)
    both = new[1] & old[1] & np.isfinite(values) & np.isfinite(others)
    with np.errstate(invalid="ignore"):
        change = np.where(both, np.abs(values - others), 0).sum(axis=1)
        reference = np.where(both, np.abs(others), 0).sum(axis=1)
    return (
        np.bincount(instance, change, minlength=count),
        np.bincount(instance, reference, minlength=count),
    )


@dataclass(frozen=True, slots=True)
class LayerContrast:
    """One layer's relative change on the two sets."""

    site: str
    stage: str
    position: int
    changed: float
    same: float
    ratio: float
    """`changed` over `same`, with its 95 % bootstrap interval; inf where nothing changed on the second set alone, NaN
    where nothing changed on either."""
    low: float
    high: float
    p: float
    """P value that the ratio is 1, corrected for the number of layers (Holm); NaN where nothing tells."""


def contrasts(layers: Sequence[LayerSums], is_changed: np.ndarray) -> list[LayerContrast]:
    """Return what every layer changed by on the two sets, the largest ratio first.

    Intervals are percentiles of resampled instances, of each set by itself (Efron, 1979); p values are those of the
    logarithm of the ratio, whose standard error the resamples give.

    Args:
        layers: sums over the same instances.
        is_changed: bool (instances,): which set each belongs to.
    """
    if not layers:
        return []
    generator = np.random.default_rng(_SEED)
    change = np.stack([layer.change for layer in layers], axis=1)
    reference = np.stack([layer.reference for layer in layers], axis=1)
    whole, resampled = [], []
    for rows in (np.flatnonzero(is_changed), np.flatnonzero(~is_changed)):
        weights = generator.multinomial(len(rows), np.full(len(rows), 1 / len(rows)), _RESAMPLES).astype(np.float64)
        whole.append(_quotient(change[rows].sum(axis=0), reference[rows].sum(axis=0)))
        resampled.append(_quotient(weights @ change[rows], weights @ reference[rows]))
    ratios, ratio = _quotient(*resampled), _quotient(*whole)
    p = holm([_p(float(value), column) for value, column in zip(ratio, ratios.T, strict=True)])
    results = [
        LayerContrast(
            layer.site,
            layer.stage,
            layer.position,
            float(first),
            float(second),
            float(value),
            *_ends(column),
            float(own),
        )
        for layer, first, second, value, column, own in zip(layers, *whole, ratio, ratios.T, p, strict=True)
    ]
    return sorted(results, key=lambda each: (math.isnan(each.ratio), -each.ratio if each.ratio == each.ratio else 0))


def _quotient(above: np.ndarray, below: np.ndarray) -> np.ndarray:
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.asarray(above / below, np.float64)


def _ends(ratios: np.ndarray) -> tuple[float, float]:
    finite = ratios[~np.isnan(ratios)]
    if not finite.size:
        return math.nan, math.nan
    low, high = np.quantile(finite, [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2], method="nearest")
    return float(low), float(high)


def _p(ratio: float, resampled: np.ndarray) -> float:
    """Two-sided, by the normal approximation of the logarithm; NaN where either set shows no change at all."""
    usable = resampled[np.isfinite(resampled) & (resampled > 0)]
    if not (math.isfinite(ratio) and ratio > 0) or usable.size < len(resampled):
        return math.nan
    error = float(np.log(usable).std())
    if error == 0:
        return 1.0 if ratio == 1 else 0.0
    return math.erfc(abs(math.log(ratio)) / error / math.sqrt(2))
