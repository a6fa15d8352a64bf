"""Results prepared for the views: once per publication, shared by all visitors, never changed."""

from __future__ import annotations

import re
from collections.abc import Callable, Hashable, Iterable
from functools import cached_property, partial
from pathlib import Path
from threading import Lock
from typing import Any, TypeVar

import numpy as np

from viewer.format.metrics import (
    Better,
    MeasuredValue,
    MetricChange,
    MetricInfo,
    MetricRole,
    change,
    format_change,
    format_value,
    told_change,
)
from viewer.results.experiments import Experiments, Only
from viewer.results.lineage import Forest
from viewer.results.model_text import ModelText
from viewer.results.paired_difference import Paired
from viewer.results.queries import load_snapshot, snapshot_id
from viewer.results.ranking import Ranking
from viewer.results.snapshot import BROKEN, MetricColumn, Setting, Snapshot

__all__ = ["Results", "load_results"]

T = TypeVar("T")

_cache: dict[Path, Results] = {}
_opening = Lock()
_ROLES = list(MetricRole)
_MOST_SCOPES = 16
"""Choices of experiments whose rankings are kept for all visitors."""


def load_results(path: Path) -> Results:
    """The results as they are published now, read once for all visitors; raises a `StoreError`."""
    where = path.absolute()
    with _opening:
        results = _cache.get(where)
        if results is None or results.snapshot.id != snapshot_id(where):
            results = _cache[where] = Results(load_snapshot(where))
        return results


class Results:
    """One publication of the results, seen in one context: rows are models, in the order in which they were made."""

    def __init__(self, snapshot: Snapshot, context: Setting | None = None, whole: Results | None = None) -> None:
        """`whole`: the same publication, seen in another context or with all models in scope."""
        self.snapshot = snapshot
        self.context = context or snapshot.contexts[0]
        self.forest: Forest = whole.forest if whole else Forest(snapshot.nodes)
        self.keys = snapshot.keys
        self.row = {key: row for row, key in enumerate(self.keys)}
        self._columns = snapshot.columns[self.context]
        self.metrics = _ordered([spec for spec in snapshot.metrics if spec.name in self._columns])
        self._by_name = {spec.name: spec for spec in self.metrics}
        self.choices = [{"name": spec.name, "label": spec.label} for spec in self.metrics]
        self.columns_by_name = {name: column.value for name, column in self._columns.items()}
        is_same_context = whole is not None and whole.context == self.context
        self._paired: Paired = whole._paired if whole and is_same_context else Paired(snapshot.path, self.context)
        self._siblings: dict[str, Results] = whole._siblings if whole else {self.context.id: self}
        self.experiments: Experiments = whole.experiments if whole else Experiments(self)
        self.scope = np.ones(len(self.keys), dtype=bool)
        """The rows that a person wants to see, bool (N,)."""
        self._whole = whole if whole and is_same_context else self
        self._narrow: dict[Hashable, Results] = {}
        self._unsure: dict[str, np.ndarray] = {}
        self._known_noise: dict[str, bool] = {}
        self._parts: dict[object, Any] = {}

    def within(self, context_id: str) -> Results:
        """Return the same results in another context, with all models; of no name the fullest, of an unknown one its own."""
        first = self.snapshot.contexts[0] if not context_id else self.context
        context = next((each for each in self.snapshot.contexts if each.id == context_id), first)
        if context.id not in self._siblings:
            self._siblings[context.id] = Results(self.snapshot, context, self)
        return self._siblings[context.id]

    def only(self, choice: Only) -> Results:
        """Return the same results with those models alone in scope that a choice of experiments names."""
        whole = self._whole
        known = whole.experiments.existing(choice)
        if not known:
            return whole
        name = tuple(sorted((facet, tuple(sorted(values))) for facet, values in known.items()))
        if name not in whole._narrow:
            while len(whole._narrow) >= _MOST_SCOPES:
                whole._narrow.pop(next(iter(whole._narrow)), None)
            narrow = Results(self.snapshot, self.context, whole)
            narrow.scope = whole.experiments.among(known)
            whole._narrow[name] = narrow
        return whole._narrow[name]

    def shared(self, part: Callable[[Results], T]) -> T:
        """Return what `part` makes of these results; it is made once, for all visitors."""
        if part not in self._parts:
            self._parts[part] = part(self)
        value: T = self._parts[part]
        return value

    @cached_property
    def ranking(self) -> Ranking:
        """Ranks these results."""
        return Ranking(self)

    @cached_property
    def text(self) -> ModelText:
        """Writes about these models."""
        return ModelText(self)

    # ---- metrics
    @cached_property
    def primary(self) -> list[MetricInfo]:
        """The metrics that people see first; of other experiments' only where there are no others."""
        primary = [spec for spec in self.metrics if spec.primary] or self.metrics
        return [spec for spec in primary if self.is_at_hand(spec.name)] or primary

    def is_at_hand(self, metric: str) -> bool:
        """Whether a model in scope, and of the data at hand, has a value."""
        return bool(np.isfinite(self.values(metric)[self.scope & ~self.elsewhere]).any())

    def spec(self, metric: str) -> MetricInfo:
        """Return what a metric means; of one that is not here, that it has no values."""
        return self._by_name.get(metric) or MetricInfo(metric)

    def label(self, metric: str) -> str:
        """Return its name for people."""
        return self.spec(metric).label

    def better(self, metric: str) -> Better:
        """Return the direction in which it improves."""
        return self.spec(metric).better

    def direction(self, metric: str) -> str:
        """Return that in words."""
        better = self.better(metric)
        return "" if better is Better.NEITHER else f"{better.value} is better"

    def about(self, metric: str) -> str:
        """Say what it is and which way is better; empty where nobody has described it."""
        spec, direction = self.spec(metric), self.direction(metric)
        sentences = [f"{text[0].upper()}{text[1:].rstrip('.')}." for text in (spec.description, direction) if text]
        return " ".join(sentences) if spec.description else ""

    def column(self, metric: str) -> MetricColumn:
        """Return values and intervals of all rows; NaN where not measured."""
        return self._columns.get(metric) or MetricColumn.empty(len(self.keys))

    def values(self, metric: str) -> np.ndarray:
        """Return the values of all rows; NaN where not measured."""
        return self.column(metric).value

    def measured(self, metric: str, key: str) -> MeasuredValue:
        """Return one model's value with its interval."""
        return self.column(metric).measured(self.row[key])

    def show(self, metric: str, row: int, *, interval: bool = False) -> str:
        """Write one model's value.

        Args:
            metric: its name.
            row: the model's.
            interval: whether its interval follows, where there is one.
        """
        text = self.show_value(metric, self.values(metric)[row])
        ends = self.show_interval(metric, row) if interval else ""
        return f"{text} ({ends})" if ends else text

    def show_interval(self, metric: str, row: int) -> str:
        """Write the interval of one model's value; nothing where it has none."""
        _, low, high = self.column(metric).row(row)
        finite = np.isfinite(low) and np.isfinite(high)
        return f"{self.show_value(metric, low)} to {self.show_value(metric, high)}" if finite else ""

    def show_value(self, metric: str, value: float) -> str:
        """Write a value of a metric."""
        return format_value(value, self.spec(metric))

    def figure(self, metric: str, key: str, base: str | None) -> dict[str, str]:
        """Write a model's value and its change since another model, with one interval: the change's where it has one."""
        change = self.change(metric, key, base)
        return {"value": self.show(metric, self.row[key], interval=not re.search("[±[]", change["change"])), **change}

    def change(self, metric: str, key: str, base: str | None) -> dict[str, str]:
        """Write the change since another model, with its noise, and say whether it is for better or worse.

        Args:
            metric: its name.
            key: the model's.
            base: that of the other model; None: nothing to say.

        Returns:
            `change`, a text, and `tone`: `good`, `bad`, `soft` (within noise, of unknown noise, or timed roughly) or empty.
        """
        difference = None if base is None else self.difference(metric, key, base)
        if difference is None:
            return {"change": "", "tone": ""}
        spec = self.spec(metric)
        rough = bool(self.unsure(metric)[[self.row[key], self.row[base or key]]].any())
        return told_change(difference, spec, format_change(difference, spec), rough=rough)

    def confirmed(self, metric: str, key: str) -> dict[str, str]:
        """Write a model's figure on instances that no choice had seen, and the tone; empty texts where nobody has looked."""
        figure = self.snapshot.confirmed.get((key, self.context.target, self.context.dataset_key, metric))
        if figure is None:
            return {"text": "", "tone": ""}
        show = partial(self.show_value, metric)
        ends = "" if figure.low is None or figure.high is None else f" [{show(figure.low)}, {show(figure.high)}]"
        choice = "" if figure.choice is None else f", chosen at {show(figure.choice)} among {figure.among:,}"
        look = "" if figure.look == 1 else f", at look {figure.look}"
        within = {True: ": within noise", False: ": differs by more than chance", None: ""}[figure.within_noise]
        tone = "bad" if figure.within_noise is False else "soft"
        return {"text": f"confirmed at {show(figure.value)}{ends}{choice}{look}{within}", "tone": tone}

    def difference(self, metric: str, key: str, other: str) -> MetricChange | None:
        """Return what a model differs by from another, as well as it is known; None where one has no value."""
        mine, theirs = self.measured(metric, key), self.measured(metric, other)
        return change(mine, theirs, self.better(metric), self.difference_together(metric, key, other))

    def difference_together(self, metric: str, key: str, other: str) -> MeasuredValue | None:
        """Return the difference of two models that were measured together; None where they were not."""
        values = self.measured(metric, key).value, self.measured(metric, other).value
        return self._paired.difference(self.spec(metric), key, other, values)

    def has_known_noise(self, metric: str) -> bool:
        """Whether anything tells a metric's differences from chance: an interval, exactness, or paired measurements."""
        if metric not in self._known_noise:
            low, high = self.column(metric).ends
            self._known_noise[metric] = bool(np.isfinite(high - low).any()) or self._paired.covers(self.spec(metric))
        return self._known_noise[metric]

    def unsure(self, metric: str) -> np.ndarray:
        """Return of which rows a time was taken roughly or while others used the machine: bool (N,); of no other metric."""
        clock = self.spec(metric).clock
        if clock not in self._unsure:
            keys = self.snapshot.unsure.get((self.context.target, self.context.device, clock), frozenset())
            self._unsure[clock] = np.fromiter((key in keys for key in self.keys), dtype=bool, count=len(self.keys))
        return self._unsure[clock]

    @cached_property
    def sound(self) -> np.ndarray:
        """The rows that may be recommended, bool (N,): all but those that always answer the same, or with NaN."""
        broken = {key for key, lints in self.snapshot.lints.items() if any(lint.rule in BROKEN for lint in lints)}
        return np.fromiter((key not in broken for key in self.keys), dtype=bool, count=len(self.keys))

    @cached_property
    def elsewhere(self) -> np.ndarray:
        """The rows of other experiments, bool (N,): of other data sets than that at hand, or of recipes without a known one.

        A model that was measured on no data set is taken to be of those of its tree, and else of its recipe.
        """
        groups = self._data_of_rows
        here = self.context.dataset_key
        if self.context.recipe:
            recipes = (self.forest[key].notes.get("recipe") for key in self.keys)
            away = (recipe != self.context.recipe for recipe in recipes)
        else:
            has_data = any(groups)
            away = (bool(here) and here not in own if own else bool(here) and has_data for own in groups)
        return np.fromiter(away, dtype=bool, count=len(self.keys))

    def mixture(self, keys: Iterable[str]) -> str:
        """Name the data sets of some models, or their recipes where these are unknown; empty if they share them."""
        names = {
            " + ".join(sorted(self.snapshot.data[each].name for each in own if each in self.snapshot.data))
            or str(self.forest[key].notes.get("recipe", ""))
            for key in keys
            if key in self.row and (own := self._data_of_rows[self.row[key]]) is not None
        }
        return ", ".join(sorted(filter(None, names))) if len(names) > 1 else ""

    @cached_property
    def _data_of_rows(self) -> list[frozenset[str]]:
        """The data sets that each row's model is about."""
        datasets = self.snapshot.datasets
        by_root: dict[str, set[str]] = {}
        by_recipe: dict[str, set[str]] = {}
        for key in self.keys:
            by_root.setdefault(self.forest.root(key), set()).update(datasets.get(key, ()))
            recipe = str(self.forest[key].notes.get("recipe", ""))
            by_recipe.setdefault(recipe, set()).update(datasets.get(key, ()))
        return [
            datasets.get(key)
            or frozenset(by_root[self.forest.root(key)])
            or frozenset(by_recipe[str(self.forest[key].notes.get("recipe", ""))])
            for key in self.keys
        ]

    # ---- rows
    @cached_property
    def parent_rows(self) -> np.ndarray:
        """Row of each row's parent, or -1; int32."""
        parents = (self.forest.parent(key) for key in self.keys)
        return np.array([-1 if key is None else self.row.get(key, -1) for key in parents], dtype=np.int32)

    def base_of(self, models: list[str], preference: str) -> str:
        """Return the model to compare with: the one asked for, else the first of those nearest to a root."""
        return preference if preference in models else min(models, key=self.forest.depth)


def _ordered(specs: list[MetricInfo]) -> list[MetricInfo]:
    """Primary metrics first, by role: those that tell what a model is worth before those that tell what it costs."""
    return sorted(specs, key=lambda spec: (not spec.primary, spec.better is Better.NEITHER, _ROLES.index(spec.role)))
