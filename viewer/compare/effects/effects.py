"""Effects: what an operation changed, from parent to child, pooled over seeds and over the places where it was applied.

What is in percent changes by points, sizes and costs by a factor, everything else by a difference. Factors are pooled as logarithms.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from pipeline.core.statistics import CONFIDENCE, Z, cochran_q
from pipeline.measure.uncertain_values import Mean
from viewer.compare.effects.places import AppliedOperation, AppliedPair, AppliedPlace, applied_operations
from viewer.format.metrics import Better, MeasuredValue, MetricRole
from viewer.results.results import Results

__all__ = ["Effect", "Effects", "Heterogeneity", "effects", "pool"]

_MOST_JUDGED = 40
"""Places of one operation whose own intervals are looked at; of more, some from the whole list."""
_ROUNDING = 1e-9


@dataclass(frozen=True, slots=True)
class Heterogeneity:
    """Whether effects differ between places by more than noise."""

    q: float
    p: float
    places: int
    """How many were looked at."""

    @property
    def is_told(self) -> bool:
        """Whether they do: what came before matters."""
        return self.p < 1 - CONFIDENCE


@dataclass(frozen=True, slots=True)
class Effect:
    """What an operation changed in one metric."""

    measured: MeasuredValue
    """The change with its 95 % interval: a difference in the metric's unit, or the logarithm of a factor."""
    reference: float
    """Mean of the parents' values; of a factor, 0."""
    parts: tuple[float, ...]
    """What it is the mean of: changes at places, or with seeds; one where there is one."""
    rough: bool
    """Whether times were taken roughly, or while others used the machine."""
    heterogeneity: Heterogeneity | None = None


def effects(results: Results) -> Effects:
    """Return the effects in these results; made once for all visitors."""
    return results.shared(Effects)


class Effects:
    """The effects of one publication's operations; what was asked for before is kept for all visitors."""

    def __init__(self, results: Results) -> None:
        self._results = results
        self._of_places: dict[tuple[str, AppliedPlace], Effect | None] = {}
        self._of_operations: dict[tuple[str, str], Effect | None] = {}
        self._means: dict[str, dict[str, float]] = {}
        self._factors: dict[str, bool] = {}
        self._values: dict[str, list[float]] = {}

    @cached_property
    def operations(self) -> list[AppliedOperation]:
        """All operations that made a model in scope, with their places."""
        return applied_operations(self._results)

    @cached_property
    def by_id(self) -> dict[str, AppliedOperation]:
        """Them by their ids."""
        return {each.id: each for each in self.operations}

    def is_factor(self, metric: str) -> bool:
        """Whether a metric changes by factors: sizes and costs that are never 0."""
        if metric not in self._factors:
            spec, values = self._results.spec(metric), self._results.values(metric)
            positive = bool((values[np.isfinite(values)] > 0).all())
            takes_factors = spec.role in (MetricRole.SIZE, MetricRole.COST) and spec.points is None
            self._factors[metric] = takes_factors and positive
        return self._factors[metric]

    def of_place(self, place: AppliedPlace, metric: str) -> Effect | None:
        """Return what happened at one place, pooled over its seeds; None where it was not measured."""
        name = metric, place
        if name not in self._of_places:
            self._of_places[name] = self._pooled_pairs(place.pairs, metric)
        return self._of_places[name]

    def of_operation(self, operation: AppliedOperation, metric: str) -> Effect | None:
        """Return what an operation did, pooled over its places; None where it was measured at none."""
        name = operation.id, metric
        if name not in self._of_operations:
            self._of_operations[name] = self._pooled_places(operation, metric)
        return self._of_operations[name]

    def means(self, metric: str) -> dict[str, float]:
        """Return the mean change of every operation by its id, as rows are sorted by: without those not measured."""
        if metric not in self._means:
            self._means[metric] = dict(self._bare_means(metric))
        return self._means[metric]

    def harm(self, metric: str, value: float) -> float:
        """Return what is larger, the worse a change is; of a metric without a better end, the larger it is."""
        better = self._results.better(metric)
        return abs(value) if better is Better.NEITHER else -value if better is Better.HIGHER else value

    # ---- pooling
    def _bare_means(self, metric: str) -> Iterator[tuple[str, float]]:
        for operation in self.operations:
            changes = list(self._bare_changes(operation, metric).values())
            if changes:
                yield operation.id, sum(changes) / len(changes)

    def _bare_changes(self, operation: AppliedOperation, metric: str) -> dict[AppliedPlace, float]:
        """Return the mean change at each place by the bare values; without places where no pair has both."""
        values, row = self._scaled(metric), self._results.row
        means: dict[AppliedPlace, float] = {}
        for place in operation.places:
            changes = [values[row[pair.child]] - values[row[pair.parent]] for pair in place.pairs]
            finite = [change for change in changes if math.isfinite(change)]
            if finite:
                means[place] = sum(finite) / len(finite)
        return means

    def _scaled(self, metric: str) -> list[float]:
        """Return the values of all rows as they are pooled: logarithms of what changes by factors."""
        if metric not in self._values:
            values = self._results.values(metric)
            self._values[metric] = (np.log(values) if self.is_factor(metric) else values).tolist()
        return self._values[metric]

    def _pooled_pairs(self, pairs: Sequence[AppliedPair], metric: str) -> Effect | None:
        changes = [(pair, each) for pair in pairs if (each := self.change(pair, metric)) is not None]
        if not changes:
            return None
        rows = [self._results.row[key] for pair, _ in changes for key in (pair.parent, pair.child)]
        parents = [float(self._results.values(metric)[self._results.row[pair.parent]]) for pair, _ in changes]
        return Effect(
            measured=pool([each for _, each in changes]),
            reference=0.0 if self.is_factor(metric) else float(np.mean(parents)),
            parts=tuple(each.value for _, each in changes),
            rough=bool(self._results.unsure(metric)[rows].any()),
        )

    def change(self, pair: AppliedPair, metric: str) -> MeasuredValue | None:
        """Return the paired change from parent to child, as everywhere else; as a logarithm where it is a factor."""
        difference = self._results.difference(metric, pair.child, pair.parent)
        if difference is None:
            return None
        if not self.is_factor(metric):
            return MeasuredValue(difference.absolute, difference.low, difference.high)
        before = float(self._results.values(metric)[self._results.row[pair.parent]])
        value, low, high = (
            _logarithm(1 + each / before) for each in (difference.absolute, difference.low, difference.high)
        )
        return MeasuredValue(value, low, high)

    def _pooled_places(self, operation: AppliedOperation, metric: str) -> Effect | None:
        changes = self._bare_changes(operation, metric)
        measured, step = list(changes), max(1.0, len(changes) / _MOST_JUDGED)
        some = [measured[int(at * step)] for at in range(min(len(measured), _MOST_JUDGED))]
        samples = [effect for place in some if (effect := self.of_place(place, metric)) is not None]
        if len(samples) <= 1:
            return samples[0] if samples else None
        is_all = len(some) == len(measured)
        values = [each.measured.value for each in samples] if is_all else list(changes.values())
        rough = any(each.rough for each in samples)
        return Effect(
            measured=pool([each.measured for each in samples], values),
            reference=float(np.mean([each.reference for each in samples])),
            parts=tuple(values),
            rough=rough,
            heterogeneity=None if rough else _heterogeneity([each.measured for each in samples]),
        )


def pool(parts: Sequence[MeasuredValue], values: Sequence[float] = ()) -> MeasuredValue:
    """Return the mean of changes at places, or with seeds, with its 95 % interval over them: Student's.

    It is never narrower than the mean of their own intervals: all are of the same instances, or of one machine, so that what
    blurs one may blur all alike (as Knapp and Hartung, 2003, Statistics in Medicine 22, never let it be narrower than noise
    within the parts makes it).

    Args:
        parts: one or more, of which the noise within is taken; where that of one is unknown, so is that of the mean.
        values: of all, where `parts` are some of them.
    """
    if len(parts) == 1 and not values:
        return parts[0]
    rows = np.array(values or [part.value for part in parts])
    mean = float(rows.mean())
    below = float(np.mean([part.value - part.low for part in parts]))
    above = float(np.mean([part.high - part.value for part in parts]))
    over = Mean.of(rows).interval(CONFIDENCE)
    if not math.isfinite(below + above):
        return MeasuredValue(mean)
    return MeasuredValue(mean, min(over.low, mean - below), max(over.high, mean + above))


def _heterogeneity(parts: Sequence[MeasuredValue]) -> Heterogeneity | None:
    """Return whether the parts differ by more than their own noise; None where fewer than two have a known one."""
    errors = np.array([(part.high - part.low) / (2 * Z) for part in parts])
    noisy = np.isfinite(errors) & (errors > _ROUNDING)
    if noisy.sum() <= 1:
        return None
    q, p = cochran_q(np.array([part.value for part in parts])[noisy], errors[noisy])
    return Heterogeneity(q, p, int(noisy.sum()))


def _logarithm(factor: float) -> float:
    return math.log(factor) if factor > 0 else math.nan
