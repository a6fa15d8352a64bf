"""Experiments: the recipe, run, seed, data set and task of every model, to filter, group, search and colour by."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from viewer.format.natural_order import natural_key

if TYPE_CHECKING:
    from viewer.results.results import Results

__all__ = ["FACETS", "Experiments", "Only"]

FACETS: Mapping[str, str] = {
    "recipe": "Recipe",
    "run": "Run",
    "seed": "Seed",
    "dataset": "Data set",
    "task": "Task",
}
"""What tells experiments apart -> in words."""
Only = Mapping[str, Sequence[str]]
"""Facet -> the values that models may have; one that is not named excludes none."""

_AND = " + "
_NAMED = ("recipe", "dataset", "task")
"""Facets whose values are words, which nothing else means."""


class Experiments:
    """The facets of one publication's models, row by row. A model may have several values: several runs found it."""

    def __init__(self, results: Results) -> None:
        self._results = results
        self._values: dict[str, list[tuple[str, ...]]] = {}

    def values(self, facet: str) -> list[tuple[str, ...]]:
        """Return the values of every row, in natural order."""
        if facet not in self._values:
            read = {
                "recipe": self._recipes,
                "run": self._runs,
                "seed": self._seeds,
                "dataset": lambda key: tuple(self._dataset_names[each] for each in self._data(key)),
                "task": lambda key: tuple(self._results.snapshot.data[each].task for each in self._data(key)),
            }[facet]
            self._values[facet] = [
                tuple(sorted(dict.fromkeys(filter(None, read(key))), key=natural_key)) for key in self._results.keys
            ]
        return self._values[facet]

    def texts(self, facet: str) -> list[str]:
        """Return the values of every row as one text; empty where nothing is known."""
        return [_AND.join(values) for values in self.values(facet)]

    def counts(self, facet: str) -> dict[str, int]:
        """Return how many models have each value, in natural order."""
        counts = Counter(value for values in self.values(facet) for value in values)
        return {value: counts[value] for value in sorted(counts, key=natural_key)}

    @cached_property
    def telling(self) -> list[str]:
        """The facets in which models differ."""
        return [facet for facet in FACETS if len(set(self.values(facet))) > 1]

    def among(self, only: Only) -> np.ndarray:
        """Return which rows have one of the values of every facet named: bool (N,)."""
        mask = np.ones(len(self._results.keys), dtype=bool)
        for facet, values in only.items():
            if facet in FACETS:
                mask &= np.fromiter((not set(values).isdisjoint(own) for own in self.values(facet)), bool, len(mask))
        return mask

    def existing(self, only: Only) -> dict[str, list[str]]:
        """Return what of a choice there is in these results."""
        remaining = {
            facet: [value for value in values if value in self.counts(facet)]
            for facet, values in only.items()
            if facet in FACETS
        }
        return {facet: values for facet, values in remaining.items() if values}

    def words(self, key: str) -> list[str]:
        """Return what a search may find a model by: `recipe=quickstart`, `quickstart`, `seed=7`."""
        row = self._results.row.get(key)
        if row is None:
            return []
        facts = [(facet, value) for facet in FACETS for value in self.values(facet)[row]]
        return [f"{facet}={value}" for facet, value in facts] + [value for facet, value in facts if facet in _NAMED]

    def _recipes(self, key: str) -> Iterable[str]:
        own = str(self._results.forest[key].notes.get("recipe", ""))
        return self._results.snapshot.recipes_of.get(key) or (own,)

    def _runs(self, key: str) -> Iterable[str]:
        return [self._run_names[run] for run in self._results.snapshot.runs_of.get(key, ()) if run in self._run_names]

    def _seeds(self, key: str) -> Iterable[str]:
        seed = self._results.forest[key].notes.get("seed")
        return () if seed is None else (str(seed),)

    def _data(self, key: str) -> Iterable[str]:
        data = self._results.snapshot.datasets.get(key, frozenset())
        return [each for each in data if each in self._results.snapshot.data]

    @cached_property
    def _run_names(self) -> dict[str, str]:
        """When a run started, to the minute; with its id where two started in the same one."""
        runs = self._results.snapshot.runs.values()
        times = {run.id: f"{run.started_at:%Y-%m-%d %H:%M}" for run in runs}
        shared = Counter(times.values())
        return {run: time if shared[time] == 1 else f"{time} {run[-8:]}" for run, time in times.items()}

    @cached_property
    def _dataset_names(self) -> dict[str, str]:
        """A data set's name; with its key where two share it."""
        data = self._results.snapshot.data
        shared = Counter(each.name for each in data.values())
        return {key: each.name if shared[each.name] == 1 else f"{each.name} {key[:8]}" for key, each in data.items()}
