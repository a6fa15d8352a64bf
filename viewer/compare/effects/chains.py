"""Chains that were run in parts and in other orders: whether the order matters, whether steps work together, and whose share is what.

All contrasts are of models with the same steps but for one exchange, below the same root: paired by instance or session as
everywhere, pooled over seeds first and then over the places (what stands before and after the two steps).
"""

from __future__ import annotations

import math
import re
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from pipeline.core.statistics import independent_sides
from pipeline.measure.contributions import shapley_weights, subsequences
from viewer.compare.effects.effects import Effect, effects, pool
from viewer.compare.effects.places import AppliedPair, step_id, step_texts
from viewer.format.metrics import MeasuredValue
from viewer.results.lineage import Node, StepOutcome
from viewer.results.results import Results

__all__ = ["ChainShares", "Chains", "StepContrast", "chains"]

_SEED = re.compile(r"\[seed=\d+\]|seed=\d+,|,seed=\d+")
"""Of a root that a recipe makes with several seeds."""
_LONGEST = 8
"""Steps of a chain that is looked at in parts: of more there are too many."""

Steps = tuple[str, ...]
"""Ids of operations with parameters, from below the root."""


@dataclass(frozen=True, slots=True)
class StepContrast:
    """Two steps in one order against the other, or together against each alone."""

    first: str
    """Id of a step."""
    second: str
    places: tuple[tuple[tuple[str, ...], ...], ...]
    """For each place, for each seed the keys of the models: two of an order, four of an interaction."""

    @property
    def seeds(self) -> int:
        """Models of the place that has most."""
        return max(len(place) for place in self.places)


@dataclass(frozen=True, slots=True)
class ChainShares:
    """A chain of which every part was run."""

    prefix: Steps
    """What stands above in all of its parts."""
    steps: Steps
    roots: tuple[str, ...]
    """Keys of the roots, one for each seed."""


def chains(results: Results) -> Chains:
    """Return the chains of these results; made once for all visitors."""
    return results.shared(Chains)


class Chains:
    """Orders and parts of the chains of one publication."""

    def __init__(self, results: Results) -> None:
        self._results, self._effects = results, effects(results)
        self._models, self._lineage, self.names = _models(results)
        self.orders = tuple(self._contrasts(_exchanges))
        self.interactions = tuple(self._contrasts(_joined))
        self.shares = tuple(self._whole_chains())

    def order_effect(self, contrast: StepContrast, metric: str) -> Effect | None:
        """Return what changes if the first step comes before the second, not after it."""
        return self._pooled(contrast, metric, lambda keys: self._change(keys[1], keys[0], metric))

    def interaction(self, contrast: StepContrast, metric: str) -> Effect | None:
        """Return by how much two steps together change more than the sum of each alone."""
        return self._pooled(contrast, metric, lambda keys: self._joint(keys, metric))

    def share(self, chain: ChainShares, step: str, metric: str) -> Effect | None:
        """Return a step's Shapley share of what a chain changed: exact over all parts of it, pooled over seeds.

        The interval of one seed is as wide as if the noise of all parts went together: it is never too narrow.
        """
        parts = [self._share_of(root, chain, step, metric) for root in chain.roots]
        return self._effect([part for part in parts if part is not None], chain.roots, metric)

    def total(self, chain: ChainShares, metric: str) -> Effect | None:
        """Return what the whole chain changed."""
        parts = [
            self._change(self._models[root, chain.prefix], self._models[root, (*chain.prefix, *chain.steps)], metric)
            for root in chain.roots
        ]
        return self._effect([part for part in parts if part is not None], chain.roots, metric)

    # ---- what there is
    def _contrasts(
        self, find: Callable[[Steps], Iterator[tuple[str, str, Steps, list[Steps]]]]
    ) -> Iterator[StepContrast]:
        """Gather contrasts by the two steps, then by place, then by seed."""
        groups: dict[tuple[str, str], dict[tuple[str, Steps], list[tuple[str, ...]]]] = defaultdict(
            lambda: defaultdict(list)
        )
        for root, steps in self._models:
            for first, second, place, others in find(steps):
                if all((root, other) in self._models for other in others):
                    keys = tuple(self._models[root, other] for other in (steps, *others))
                    groups[first, second][self._lineage[root], place].append(keys)
        for (first, second), places in groups.items():
            yield StepContrast(first, second, tuple(tuple(seeds) for seeds in places.values()))

    def _whole_chains(self) -> Iterator[ChainShares]:
        """Chains of which all parts are there, without those that are a part of a longer one."""
        groups: dict[tuple[str, Steps, Steps], list[str]] = defaultdict(list)
        for root, steps in sorted(self._models, key=lambda each: -len(each[1])):
            for at in range(max(0, len(steps) - _LONGEST), len(steps) - 1):
                prefix, rest = steps[:at], steps[at:]
                if len(set(rest)) == len(rest) and all(
                    (root, (*prefix, *part)) in self._models for part in subsequences(rest)
                ):
                    groups[self._lineage[root], prefix, rest].append(root)
                    break
        longer: list[tuple[str, Steps, frozenset[str]]] = []
        for (lineage, prefix, rest), roots in groups.items():
            if not any(
                lineage == one and prefix[: len(own)] == own and set(rest) < all_of for one, own, all_of in longer
            ):
                longer.append((lineage, prefix, frozenset(rest)))
                yield ChainShares(prefix, rest, tuple(roots))

    # ---- figures
    def _pooled(
        self, contrast: StepContrast, metric: str, part: Callable[[Sequence[str]], MeasuredValue | None]
    ) -> Effect | None:
        places = []
        for place in contrast.places:
            seeds = [each for keys in place if (each := part(keys)) is not None]
            if seeds:
                places.append(pool(seeds))
        keys = [key for place in contrast.places for seed in place for key in seed]
        return self._effect(places, keys, metric)

    def _effect(self, parts: Sequence[MeasuredValue], keys: Sequence[str], metric: str) -> Effect | None:
        if not parts:
            return None
        rows = [self._results.row[key] for key in keys]
        values = self._results.values(metric)[rows]
        return Effect(
            measured=pool(parts),
            reference=0.0 if self._effects.is_factor(metric) else float(values.mean()),
            parts=tuple(part.value for part in parts),
            rough=bool(self._results.unsure(metric)[rows].any()),
        )

    def _change(self, before: str, after: str, metric: str) -> MeasuredValue | None:
        return self._effects.change(AppliedPair(before, after), metric)

    def _joint(self, keys: Sequence[str], metric: str) -> MeasuredValue | None:
        both, first, second, neither = keys
        with_first, alone = self._change(first, both, metric), self._change(neither, second, metric)
        if with_first is None or alone is None:
            return None
        value = with_first.value - alone.value
        below, above = independent_sides(
            with_first.value, (with_first.low, with_first.high), alone.value, (alone.low, alone.high)
        )
        return MeasuredValue(value, value - float(below), value + float(above))

    def _share_of(self, root: str, chain: ChainShares, step: str, metric: str) -> MeasuredValue | None:
        value = below = above = 0.0
        for part, joined, weight in shapley_weights(chain.steps, step):
            change = self._change(
                self._models[root, (*chain.prefix, *part)], self._models[root, (*chain.prefix, *joined)], metric
            )
            if change is None:
                return None
            value += weight * change.value
            below += weight * (change.value - change.low)
            above += weight * (change.high - change.value)
        return (
            MeasuredValue(value, value - below, value + above) if math.isfinite(below + above) else MeasuredValue(value)
        )


def _models(results: Results) -> tuple[dict[tuple[str, Steps], str], dict[str, str], dict[str, str]]:
    """Models by their root and the steps below it; what roots are called but for their seeds; and what each step is called."""
    forest = results.forest
    numbers: dict[str, str] = {}
    models: dict[tuple[str, Steps], str] = {}
    first: dict[tuple[str, str], Node] = {}
    at: dict[str, tuple[str, Steps]] = {}
    for node in forest:  # parents come before their children
        parent = forest.parent(node.key)
        if parent is None:
            at[node.key] = node.key, ()
            own = step_id(node.op, {name: value for name, value in node.params.items() if name != "seed"})
            numbers[node.key] = _SEED.sub("", f"{node.name} {node.title} {own}")
        elif parent in at and len(at[parent][1]) < 2 * _LONGEST:
            own = step_id(node.op, node.params)
            at[node.key] = at[parent][0], (*at[parent][1], own)
            first.setdefault((node.op, own), node)
        if node.key in at and node.key in results.row and node.outcome is StepOutcome.DONE:
            models.setdefault(at[node.key], node.key)
    texts = step_texts(results, first)
    return models, numbers, {own: f"{op.replace('_', ' ')} {texts[op, own]}".strip() for op, own in first}


def _exchanges(steps: Steps) -> Iterator[tuple[str, str, Steps, list[Steps]]]:
    """Pairs of neighbours, each once, and the chain with the two exchanged."""
    for at in range(len(steps) - 1):
        first, second = steps[at : at + 2]
        if first < second:
            before, after = steps[:at], steps[at + 2 :]
            yield first, second, (*before, "", *after), [(*before, second, first, *after)]


def _joined(steps: Steps) -> Iterator[tuple[str, str, Steps, list[Steps]]]:
    """Pairs of neighbours, and the chain with each alone and with neither."""
    for at in range(len(steps) - 1):
        first, second = steps[at : at + 2]
        before, after = steps[:at], steps[at + 2 :]
        if first != second:
            yield (
                first,
                second,
                (*before, "", *after),
                [(*before, first, *after), (*before, second, *after), (*before, *after)],
            )
