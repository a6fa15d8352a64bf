"""Layers whose outputs changed more on some instances than on others: pure functions on sums per instance.

The measure is that of every comparison of layers, the relative change: the sum of the absolute changes over the sum of
the reference's absolute values. It is taken of each of two sets of instances; a layer stands out where their ratio is
large. How sure that is, is told by exchanging instances between the sets, which is exact for sets of any size; resampling few
instances would call chance a difference three times as often as it says.
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
_VERSION = 2
_EXCHANGES = 2000
_SEED = 0
_LARGEST = 20.0
"""Logarithm of a ratio beyond which none is searched."""
_HALVINGS = 20


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
        if not all(isinstance(raw[part], list) for part in ("changed", "same")):
            raise ValueError("`changed` and `same` must be lists of ids")
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
    """`changed` over `same`, with its 95 % interval; inf where nothing changed on the second set alone, and then without an
    interval (NaN); NaN where nothing changed on either."""
    low: float
    high: float
    p: float
    """P value that the ratio is 1, corrected for the number of layers (Holm); NaN where nothing tells."""


def contrasts(layers: Sequence[LayerSums], is_changed: np.ndarray) -> list[LayerContrast]:
    """Return what every layer changed by on the two sets, the largest ratio first.

    A p value is the share of exchanges of instances between the sets whose ratio is as far from 1; the interval holds the
    ratios that such a test does not reject, if the changes of the first set are divided by them (Good, "Permutation,
    Parametric and Bootstrap Tests of Hypotheses", 3rd ed., 2005, sections 3.1 and 3.3).

    Args:
        layers: sums over the same instances.
        is_changed: bool (instances,): which set each belongs to.
    """
    if not layers:
        return []
    sums = _SetSums(layers, is_changed)
    changed, same = sums.relative
    logs = _log(sums.relative[0], sums.relative[1])
    p = holm(sums.p(np.zeros(len(layers))).tolist())
    ends = zip(sums.end(logs, -1), sums.end(logs, 1), strict=True)
    results = [
        LayerContrast(
            layer.site,
            layer.stage,
            layer.position,
            float(first),
            float(second),
            float(np.exp(log)),
            math.exp(low),
            math.exp(high),
            float(own),
        )
        for layer, first, second, log, (low, high), own in zip(layers, changed, same, logs, ends, p, strict=True)
    ]
    return sorted(results, key=lambda each: (math.isnan(each.ratio), -each.ratio if each.ratio == each.ratio else 0))


class _SetSums:
    """Sums over the two sets, and over sets whose instances are exchanged."""

    def __init__(self, layers: Sequence[LayerSums], is_changed: np.ndarray) -> None:
        self._changes = np.stack([layer.change for layer in layers], axis=1)
        self._is_changed = is_changed
        order = np.random.default_rng(_SEED).random((_EXCHANGES, len(is_changed))).argsort(axis=1)
        self._first = (order < int(is_changed.sum())).astype(np.float64)
        """(exchanges, instances): which belong to the first set."""
        references = np.stack([layer.reference for layer in layers], axis=1)
        whole = references.sum(axis=0)
        own = references[is_changed].sum(axis=0)
        self._references = own, whole - own
        first = self._first @ references
        self._exchanged_references = first, whole - first
        changes = self._changes[is_changed].sum(axis=0), self._changes[~is_changed].sum(axis=0)
        self.relative = _quotient(changes[0], own), _quotient(changes[1], whole - own)
        """Relative change of every layer on each set."""

    def p(self, logs: np.ndarray) -> np.ndarray:
        """Return, of every layer, the p value that the logarithm of its ratio is this one; NaN where nothing tells."""
        scaled = np.where(self._is_changed[:, None], self._changes * np.exp(-logs), self._changes)
        first = self._first @ scaled
        exchanged = _log(
            _quotient(first, self._exchanged_references[0]),
            _quotient(np.maximum(scaled.sum(axis=0) - first, 0), self._exchanged_references[1]),
        )
        seen = np.abs(_log(*self.relative) - logs)
        with np.errstate(invalid="ignore"):
            as_far = (np.abs(exchanged) >= seen * (1 - 1e-9)).sum(axis=0)
        return np.where(np.isnan(seen), np.nan, (1 + as_far) / (1 + _EXCHANGES))

    def end(self, logs: np.ndarray, side: int) -> list[float]:
        """Return, of every layer, the end of its interval on one side, as logarithm; infinite if all are as likely."""
        inner = np.where(np.isfinite(logs), logs, 0.0)
        outer = inner + side * _LARGEST
        is_open = self.p(outer) > 1 - CONFIDENCE
        for _ in range(_HALVINGS):
            middle = (inner + outer) / 2
            is_likely = self.p(middle) > 1 - CONFIDENCE
            inner, outer = np.where(is_likely, middle, inner), np.where(is_likely, outer, middle)
        ends = np.where(is_open, side * math.inf, outer)
        return np.where(np.isfinite(logs), ends, np.nan).tolist()  # type: ignore[no-any-return]  # floats


def _quotient(above: np.ndarray, below: np.ndarray) -> np.ndarray:
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.asarray(above / below, np.float64)


def _log(above: np.ndarray, below: np.ndarray) -> np.ndarray:
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.asarray(np.log(above) - np.log(below), np.float64)
