"""Results prepared for the views: once per publication, shared by all visitors, never changed."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping
from functools import cached_property
from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np

from viewer.format.metrics import Better, Measured, MetricSpec, change, format_change, format_value
from viewer.format.palette import KINDS, kind_color, scale
from viewer.map.bundles import Bundle, Bundles
from viewer.map.layout import Arrange, Layout, layout
from viewer.results.budget import Budget, Range, passing, sentence, tightest
from viewer.results.lineage import Forest, Node
from viewer.results.paired_difference import Paired
from viewer.results.pareto import front
from viewer.results.queries import Column, Context, Snapshot, load, snapshot_id
from viewer.results.ranking import budgets
from viewer.session.state import AUTO, KIND, NOTHING, ViewState

__all__ = ["Study", "budgets", "open_study"]

_opened: dict[Path, Study] = {}
_opening = Lock()
_MOST_LAYOUTS = 8
_SHORT = 28
_PLAIN = "#5b8db8"
_METRIC_FIELDS = ("color", "size", "x", "y", "goal", "relax")
_ALSO = {"color": (KIND,)}
_FILLED = 0.25
"""Share of its declared range that a metric's values must take for the range to be its scale."""
_QUALITY = re.compile(r"accuracy|f1|exact|score|auc|map\b", re.IGNORECASE)
_COST = re.compile(r"latency|time|seconds|\bms\b", re.IGNORECASE)
_BULK = re.compile(r"size|bytes|param", re.IGNORECASE)
_FIRST_CHOICE = {"color": _QUALITY, "y": _QUALITY, "goal": _QUALITY, "x": _COST, "size": _BULK}


def open_study(path: Path) -> Study:
    """The results as they are published now, read once for all visitors; raises a `StoreError`."""
    where = path.absolute()
    with _opening:
        known = _opened.get(where)
        if known is None or known.snapshot.id != snapshot_id(where):
            known = _opened[where] = Study(load(where))
        return known


class Study:
    """One publication of the results, seen in one context: rows are models, in the order in which they were made."""

    def __init__(self, snapshot: Snapshot, context: Context | None = None, forest: Forest | None = None) -> None:
        self.snapshot = snapshot
        self.context = context or snapshot.contexts[0]
        self.forest = forest or Forest(snapshot.nodes)
        self.keys = snapshot.keys
        self.row = {key: row for row, key in enumerate(self.keys)}
        self._columns = snapshot.columns[self.context]
        self.metrics = _ordered([spec for spec in snapshot.metrics if spec.name in self._columns])
        self.primary = [spec for spec in self.metrics if spec.primary] or self.metrics
        self._by_name = {spec.name: spec for spec in self.metrics}
        self.choices = [{"name": spec.name, "label": spec.label} for spec in self.metrics]
        self._values = {name: column.value for name, column in self._columns.items()}
        self._paired = Paired(snapshot.path, self.context)
        self._siblings: dict[str, Study] = {}
        self._layouts: dict[tuple[str, tuple[str, ...], tuple[str, ...]], Layout] = {}
        self._colors: dict[tuple[str, bool], np.ndarray] = {}

    def within(self, context_id: str) -> Study:
        """Return the same results in another context; itself if there is no such context."""
        for context in self.snapshot.contexts:
            if context.id == context_id and context != self.context:
                if context_id not in self._siblings:
                    self._siblings[context_id] = Study(self.snapshot, context, self.forest)
                return self._siblings[context_id]
        return self

    def prepare(self) -> None:
        """Do now what the first visitor would wait for."""
        self.layout("operation", (), ())
        _ = self.parent_rows

    # ---- what an address or a control asks for
    def accept(self, values: Mapping[str, Any], pages: Collection[str]) -> tuple[dict[str, Any], list[str]]:
        """Return the values that make sense for these results, and a sentence for each that does not."""
        kept, notices = dict(values), []
        for name in _METRIC_FIELDS:
            if kept.get(name, AUTO) not in {AUTO, NOTHING, *_ALSO.get(name, ()), *self._by_name}:
                notices.append(f"There is no metric '{_clip(kept.pop(name))}' in these results.")
        if kept.get("page", "overview") not in pages:
            notices.append(f"There is no page '{_clip(kept.pop('page'))}'.")
        if "filters" in kept:
            kept["filters"], unknown = self._known_filters(kept["filters"])
            notices += [f"The budget on '{_clip(name)}' was left out: there is no such metric." for name in unknown]
        if "columns" in kept:
            kept["columns"] = [name for name in kept["columns"] if name in self._by_name]
        if kept.get("order", "") not in {"", " name", " op", *self._by_name}:
            notices.append(f"The table cannot be sorted by '{_clip(kept.pop('order'))}'.")
        if kept.get("setting") and kept["setting"] not in {context.id for context in self.snapshot.contexts}:
            notices.append("The runtime, machine or data set of the address is not in these results.")
            kept.pop("setting")
        return kept, notices

    def _known_filters(self, filters: Iterable[Range]) -> tuple[list[Range], list[str]]:
        """One filter per metric: the last one given counts."""
        latest = {metric: (metric, low, high) for metric, low, high in filters}
        return [f for name, f in latest.items() if name in self._by_name], [n for n in latest if n not in self._by_name]

    def chosen(self, field: str, state: ViewState) -> str:
        """Return the metric of a field: the person's choice, else one that suits; empty for none."""
        asked = getattr(state, field)
        if asked == NOTHING:
            return ""
        known = asked in self._by_name or asked in _ALSO.get(field, ())
        return asked if known else self._suiting[field]

    @cached_property
    def _suiting(self) -> dict[str, str]:
        found: dict[str, str] = {}
        for field, wanted in _FIRST_CHOICE.items():
            names = [spec.name for spec in self.primary]
            fitting = [name for name in names if wanted.search(name)]
            free = [name for name in names if name not in found.values()] if field in ("x", "y") else names
            found[field] = next(iter([*fitting, *free, *names]), "")
        return found

    # ---- metrics
    def spec(self, metric: str) -> MetricSpec:
        """Return what a metric means; of one that is not here, that it has no values."""
        return self._by_name.get(metric) or MetricSpec(metric)

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

    def column(self, metric: str) -> Column:
        """Return values and intervals of all rows; NaN where not measured."""
        return self._columns.get(metric) or Column(*(np.full(len(self.keys), np.nan),) * 3)

    def values(self, metric: str) -> np.ndarray:
        """Return the values of all rows; NaN where not measured."""
        return self.column(metric).value

    def measured(self, metric: str, key: str) -> Measured:
        """Return one model's value with its interval."""
        return Measured(*self.column(metric).row(self.row[key]))

    def show(self, metric: str, row: int, *, interval: bool = False) -> str:
        """Write one model's value."""
        text = self.show_value(metric, self.values(metric)[row])
        ends = self.show_interval(metric, row) if interval else ""
        return f"{text} ({ends})" if ends else text

    def show_interval(self, metric: str, row: int) -> str:
        """Write the interval of one model's value; nothing where it has none."""
        _, low, high = self.column(metric).row(row)
        known = np.isfinite(low) and np.isfinite(high)
        return f"{self.show_value(metric, low)} to {self.show_value(metric, high)}" if known else ""

    def show_value(self, metric: str, value: float) -> str:
        """Write a value of a metric."""
        return format_value(value, self.spec(metric))

    def change(self, metric: str, key: str, base: str | None) -> dict[str, str]:
        """Write the change since another model, with its noise, and say whether it is for better or worse."""
        if base is None:
            return {"change": "", "tone": ""}
        spec, mine, other = self.spec(metric), self.measured(metric, key), self.measured(metric, base)
        found = change(mine, other, spec.better, self._paired.difference(metric, key, base, (mine.value, other.value)))
        if found is None:
            return {"change": "", "tone": ""}
        if found.within_noise and found.absolute != 0:
            return {"change": f"within noise ({format_change(found, spec)})", "tone": "soft"}
        return {"change": format_change(found, spec), "tone": {True: "good", False: "bad", None: ""}[found.improved]}

    # ---- rows
    @cached_property
    def parent_rows(self) -> np.ndarray:
        """Row of each row's parent, or -1; int32."""
        parents = (self.forest.parent(key) for key in self.keys)
        return np.array([-1 if key is None else self.row.get(key, -1) for key in parents], dtype=np.int32)

    def passing(self, filters: Iterable[Range]) -> np.ndarray:
        """Return which rows satisfy all filters; one without a value satisfies none on it."""
        return passing(budgets(filters), self._values, len(self.keys))

    def shown(self, state: ViewState) -> np.ndarray:
        """Return which rows are drawn in full: those that pass, and are not dimmed as dominated."""
        passing = self.passing(state.filters)
        return passing & self.undominated(state) if state.dim_dominated else passing

    def undominated(self, state: ViewState) -> np.ndarray:
        """Return which rows are on the Pareto front of the scatterplot, within the budget."""
        mask = np.zeros(len(self.keys), dtype=bool)
        mask[self.front(self.chosen("x", state), self.chosen("y", state), self.passing(state.filters))] = True
        return mask

    def front(self, x: str, y: str, among: np.ndarray | None = None) -> list[int]:
        """Return the rows that none (of those `among`) beats in both metrics, by x; empty where neither has a better end."""
        if not x or not y or {self.better(x), self.better(y)} == {Better.NEITHER}:
            return []
        xs = self.values(x) if among is None else np.where(among, self.values(x), np.nan)
        return front(xs, self.values(y), self.better(x), self.better(y))

    def best(self, metric: str, among: np.ndarray) -> int | None:
        """Return the row with the best value; None if no row has one, or nothing is better."""
        values = np.where(among, self.values(metric), np.nan)
        if not metric or not np.isfinite(values).any() or self.better(metric) is Better.NEITHER:
            return None
        return int(np.nanargmin(values) if self.better(metric) is Better.LOWER else np.nanargmax(values))

    def base_of(self, models: list[str], asked: str) -> str:
        """Return the model to compare with: the one asked for, else the first of those nearest to a root."""
        return asked if asked in models else min(models, key=self.forest.depth)

    # ---- words
    def parameters(self, node: Node) -> list[tuple[str, str]]:
        """Return the operation's parameters as text; those left at None are not worth a line."""
        return [(name.replace("_", " "), _text(value)) for name, value in node.params.items() if value is not None]

    def parameters_text(self, node: Node) -> str:
        """Return the parameters in one line."""
        return ", ".join(f"{name} {value}" for name, value in self.parameters(node))

    @cached_property
    def _telling(self) -> dict[str, list[str]]:
        """Operation -> its parameters that differ between models; the rest is the same wherever it stands."""
        seen: dict[str, dict[str, set[str]]] = {}
        for node in self.forest:
            for name, value in node.params.items():
                seen.setdefault(node.op, {}).setdefault(name, set()).add(_text(value))
        return {op: [name for name, values in by_name.items() if len(values) > 1] for op, by_name in seen.items()}

    def telling_text(self, node: Node) -> str:
        """Return those parameters in one line that tell this model from others of the same operation."""
        given = {name: node.params.get(name) for name in self._telling.get(node.op, [])}
        # numbers first: they are what a sweep is about, and what a narrow column has room for
        names = sorted(given, key=lambda name: not isinstance(given[name], int | float))
        return ", ".join(
            f"{name.replace('_', ' ')} {_joined(given[name])}"
            for name in names
            if given[name] not in (None, [], {}, "")
        )

    def operation(self, key: str) -> str:
        """Return operation and parameters in one line, nested ones by name."""
        node = self.forest[key].brief
        return f"{node.op.replace('_', ' ')} {self.parameters_text(node)}".strip()

    def short_name(self, row: int) -> str:
        """Return a name short enough to stand in a plot."""
        name = self.forest[self.keys[row]].name or self.forest[self.keys[row]].label
        return name if len(name) <= _SHORT else "…" + name[1 - _SHORT :]  # the end of a path tells more than its start

    def filter_texts(self, filters: Iterable[Range]) -> list[str]:
        """Return each filter in words."""
        return [sentence(budget, self.spec(budget.metric)) for budget in budgets(filters)]

    def tightest(self, filters: Iterable[Range]) -> Budget | None:
        """Return the filter without which most models would pass, if none passes all."""
        return tightest(budgets(filters), self._values, len(self.keys))

    # ---- the map, and how models look in it and in the scatterplot
    @cached_property
    def bundles(self) -> Bundles:
        """What may be drawn as one."""
        return Bundles(self.forest)

    def layout(self, arrange: Arrange, opened: Iterable[str], closed: Iterable[str]) -> Layout:
        """Return where everything stands; the latest arrangements are kept for all visitors."""
        wanted = (arrange, tuple(sorted(opened)), tuple(sorted(closed)))
        found = self._layouts.get(wanted)
        if found is None:
            found = layout(self.forest, arrange=arrange, opened=wanted[1], closed=wanted[2], bundles=self.bundles)
            while len(self._layouts) >= _MOST_LAYOUTS:
                self._layouts.pop(next(iter(self._layouts)), None)
            self._layouts[wanted] = found
        return found

    def bundle(self, key: str) -> Bundle | None:
        """Return a bundle by its id."""
        return self.bundles.bundles.get(key)

    def rgb(self, metric: str, *, dark: bool) -> np.ndarray:
        """Return the colour of every row: uint8 (N, 3); the stronger, the better."""
        known = self._colors.get((metric, dark))
        if known is None:
            names = self._ink(metric, dark=dark)
            known = np.frombuffer(bytes.fromhex("".join(name[1:] for name in names)), dtype=np.uint8).reshape(-1, 3)
            self._colors[metric, dark] = known
        return known

    def _ink(self, metric: str, *, dark: bool) -> list[str]:
        if metric == KIND:
            return [kind_color(self.forest[key].kind) for key in self.keys]
        if not metric:
            return [_PLAIN] * len(self.keys)
        low, high = self.ends(metric)
        return scale(self.values(metric), self.better(metric), low=low, high=high, dark=dark)

    @cached_property
    def kinds(self) -> list[str]:
        """The kinds of operation that made the models: those with a colour of their own first."""
        here = {self.forest[key].kind for key in self.keys}
        return [kind for kind in KINDS if kind in here] + sorted(here - set(KINDS))

    def sizes(self, metric: str) -> np.ndarray:
        """Return the size of every row, 0 to 1: its area grows with the metric; without one it is small."""
        if not metric:
            return np.full(len(self.keys), 0.45)
        values = self.values(metric)
        low, high = self.ends(metric)
        share = (values - low) / ((high - low) or 1.0)
        return np.sqrt(np.nan_to_num(np.clip(share, 0.0, 1.0), nan=0.0))

    def ends(self, metric: str) -> tuple[float, float]:
        """Return the ends of a metric's scale: those of its values, or the declared ones if the values fill them.

        A scale of 0 to 1 for values of 0.75 to 0.77 would make all models look the same. No value lies outside.
        """
        values, spec = self.values(metric), self.spec(metric)
        known = values[np.isfinite(values)]
        if not known.size:
            return spec.low or 0.0, 1.0 if spec.high is None else spec.high
        low, high = float(known.min()), float(known.max())
        bottom, top = (
            min(low, spec.low if spec.low is not None else low),
            max(high, spec.high if spec.high is not None else high),
        )
        return (bottom, top) if high - low >= _FILLED * (top - bottom) else (low, high)


def _ordered(specs: list[MetricSpec]) -> list[MetricSpec]:
    """Primary metrics first; those that tell what a model is worth before those that tell what it costs."""
    return sorted(
        specs, key=lambda spec: (not spec.primary, spec.better is Better.NEITHER, not _QUALITY.search(spec.name))
    )


def _joined(value: object) -> str:
    return "+".join(map(_text, value)) if isinstance(value, list) else _text(value)


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.6g}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(_text(each) for each in value) + "]"
    return str(value)


def _clip(text: str, longest: int = 60) -> str:
    return text if len(text) <= longest else text[: longest - 1] + "…"
