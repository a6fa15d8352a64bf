"""Replicates: models that the same steps made from other seeds, with the mean and the spread of their figures."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from viewer.format.natural_order import NaturalKey, natural_key
from viewer.results.results import Results

__all__ = ["Replicates", "SeedSummary", "summarize_seeds"]

_SEED = "seed"
_SEED_WORDS = re.compile(r"(?: ·)? seed \d+,?")


@dataclass(frozen=True, slots=True)
class SeedSummary:
    """A figure over several seeds: never an interval of one model's."""

    mean: float
    low: float
    """The lowest of the values."""
    high: float
    count: int
    """How many of the models have a value."""


def summarize_seeds(values: np.ndarray, rows: Sequence[int]) -> SeedSummary | None:
    """Return mean, lowest and highest of some rows' values; None where none has one.

    Args:
        values: float (N,), NaN where a row has none.
        rows: those of the seeds.
    """
    measured = values[np.array(rows, dtype=int)]
    measured = measured[np.isfinite(measured)]
    if not measured.size:
        return None
    return SeedSummary(float(measured.mean()), float(measured.min()), float(measured.max()), int(measured.size))


class Replicates:
    """The replicates of one publication's results, made once for all visitors (`Results.shared`).

    Models are replicates of each other if all steps of their lineages have the same operations and parameters but for the
    seed, in the same recipe, on the same data, and their seeds differ.
    """

    def __init__(self, results: Results) -> None:
        self._results = results

    @cached_property
    def _places(self) -> list[tuple[Any, ...]]:
        """What each row shares with its replicates; models of one seed that share it all are told apart by their number."""
        results, experiments = self._results, self._results.experiments
        lineages: dict[str, int] = {}
        numbers: dict[tuple[int, str, NaturalKey], int] = {}
        for node in results.forest:
            parent = results.forest.parent(node.key)
            place = (lineages[parent] if parent is not None else -1, node.op, natural_key(_without_seed(node.params)))
            lineages[node.key] = numbers.setdefault(place, len(numbers))
        shared = zip(*(experiments.texts(facet) for facet in ("recipe", "dataset", "task")), strict=True)
        places: list[tuple[Any, ...]] = []
        twins: dict[tuple[Any, ...], int] = {}
        for key, seed, facts in zip(results.keys, self._seeds, shared, strict=True):
            shared_place = (lineages[key], facts)
            number = twins[shared_place, seed] = twins.get((shared_place, seed), -1) + 1
            places.append((shared_place, number))
        return places

    @cached_property
    def _seeds(self) -> list[str]:
        """The seed of each row: those that steps of its lineage give, else the recipe's; empty where it is unknown."""
        forest, recipes = self._results.forest, self._results.experiments.texts(_SEED)
        given_by: dict[str, str] = {}
        for node in forest:
            parent = forest.parent(node.key)
            before = given_by[parent] if parent is not None else ""
            own = node.params.get(_SEED)
            given_by[node.key] = before if own is None else f"{before}, {own}".removeprefix(", ")
        return [given_by[key] or recipe for key, recipe in zip(self._results.keys, recipes, strict=True)]

    @property
    def exist(self) -> bool:
        """Whether any model has a replicate."""
        return len(set(self._places)) < len(self._places)

    def groups(self, rows: Iterable[int]) -> list[tuple[int, ...]]:
        """Return some rows as groups of replicates, in the order of their first rows; seeds in natural order."""
        members: dict[tuple[Any, ...], list[int]] = {}
        for row in rows:
            members.setdefault(self._places[row], []).append(row)
        return [tuple(sorted(group, key=lambda row: natural_key(self._seeds[row]))) for group in members.values()]

    def seeds(self, rows: Sequence[int]) -> list[str]:
        """Return the seeds of some rows, where they are known."""
        return [self._seeds[row] for row in rows if self._seeds[row]]

    def name(self, rows: Sequence[int]) -> str:
        """Return the name that replicates share: that of one without its seed."""
        name = self._results.text.name(self._results.keys[rows[0]])
        return _SEED_WORDS.sub("", name) if len(rows) > 1 else name


def _without_seed(params: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in params.items() if name != _SEED}
