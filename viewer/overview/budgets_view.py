"""Budgets: what a model must satisfy, how many do, which budget is the tight one, and what relaxing it would bring."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from itertools import combinations
from typing import Any, ClassVar, NamedTuple

import numpy as np

from viewer.format.templates import render
from viewer.map.appearance import appearance
from viewer.overview.budget_text import (
    BudgetError,
    check_budget,
    parse_bound,
    parse_budgets,
    shown_units,
    write_bound,
    write_budgets,
)
from viewer.overview.near_miss import near_miss
from viewer.overview.relaxation import relaxing
from viewer.results.budget import Budget, End, Range, histogram, nearest_miss
from viewer.results.ranking import budgets
from viewer.session.choices import choices
from viewer.session.messages import whole_number
from viewer.session.view import RESULTS, Action, SideView

__all__ = ["Budgets"]

_TYPED = "budget-text"
"""Id of the field that has the whole budget."""


class _Refused(NamedTuple):
    """The last text that could not be read: it stays in its field, with the reason below."""

    field: str
    text: str
    problem: str


class Budgets(SideView):
    """The filters of the state, with their histograms."""

    name = "budgets"
    shows: ClassVar[frozenset[str]] = frozenset({"filters", "budgets", "goal", "relax"})

    def __init__(self, session: Any) -> None:
        super().__init__(session)
        self._rejection: _Refused | None = None

    def actions(self) -> dict[str, Action]:
        return {
            "budget_type": self._type,
            "range": self._range,
            "bound": self._bound,
            "filter_add": self._add,
            "filter_drop": self._drop,
            "filter_clear": lambda message: self._apply([]),
            "filter_metric": self._metric,
            "budget_save": self._save,
            "budget_load": self._load,
            "budget_drop": self._forget,
        }

    def draw_side(self) -> str:
        results, state = self.session.results, self.state
        passing = results.ranking.passing(state.filters)
        goal = choices(results).metric("goal", state)
        used = [metric for metric, _, _ in state.filters]
        return render(
            "budgets",
            metrics=results.choices,
            used=used,
            more=len(used) < len(results.metrics),
            text=self._value_text(_TYPED, write_budgets(budgets(state.filters), results.spec)),
            refused=self._rejection,
            example=self._example(),
            filters=[self._filter(index, each, passing) for index, each in enumerate(state.filters)],
            total=int(results.scope.sum()),
            passing=int(passing.sum()),
            goal=goal,
            goal_label=results.label(goal),
            goals=[c for c in results.choices if results.better(c["name"]) != "neither"],
            best=self._best(goal, passing),
            tightest=self._tightest(),
            near=near_miss(results, state.filters, some=bool(passing.any())),
            budgets=[
                {
                    "name": name,
                    "text": ", ".join(results.ranking.filter_texts(filters)),
                    "current": filters == state.filters,
                }
                for name, filters in sorted(state.budgets.items())
            ],
            relaxing=relaxing(results, state),
        )

    def _best(self, goal: str, passing: np.ndarray) -> dict[str, Any] | None:
        results = self.session.results
        best = results.ranking.best(goal, passing)
        if best is None:
            return None
        return {
            "key": results.keys[best.row],
            "name": results.text.name(results.keys[best.row]),
            "value": results.show(goal, best.row, interval=True),
            "alike": [(results.keys[row], results.text.name(results.keys[row])) for row in best.alike],
        }

    def _value_text(self, field: str, text: str) -> str:
        return self._rejection.text if self._rejection is not None and self._rejection.field == field else text

    def _example(self) -> str:
        """Return a budget that about half of the models meet on each of two metrics."""
        results = self.session.results
        metrics = [metric for metric in results.primary if results.direction(metric.name)]
        names = {choices(results).metric(field, self.state) for field in ("goal", "size")}
        examples = []
        for metric in [metric for metric in metrics if metric.name in names]:
            finite = results.values(metric.name)[np.isfinite(results.values(metric.name))]
            if finite.size:
                middle = float(f"{np.median(finite):.2g}")
                examples.append(Budget(metric.name, *((middle, None) if metric.better == "higher" else (None, middle))))
        return write_budgets(examples, results.spec)

    def _tightest(self) -> str:
        results = self.session.results
        budget = results.ranking.tightest(self.state.filters)
        if budget is None:
            return ""
        words, freed = self._words(budget), self._without(budget.metric)
        return f"Tightest: {words}. Without it, {freed} would pass." if freed else self._several_tight()

    def _several_tight(self) -> str:
        """Say which two budgets leave nothing together, or which one alone asks for more than there is."""
        results, all_ = self.session.results, budgets(self.state.filters)
        alone = "No single budget is the reason."
        if all_[2:]:  # of two, nothing would be left
            one, other = max(combinations(all_, 2), key=lambda pair: self._without(*(each.metric for each in pair)))
            if freed := self._without(one.metric, other.metric):
                return f"{alone} Without both {self._words(one)} and {self._words(other)}, {freed} would pass."
        near = {budget: nearest_miss(budget, results.values(budget.metric)) for budget in all_}
        furthest = max(all_, key=lambda budget: near[budget][1])
        value, _ = near[furthest]
        has = (
            f"the nearest has {results.show_value(furthest.metric, value)}"
            if np.isfinite(value)
            else "none has a value"
        )
        return f"{alone} Furthest from any model: {self._words(furthest)} ({has})."

    def _words(self, budget: Budget) -> str:
        return self.session.results.ranking.filter_texts([(budget.metric, budget.low, budget.high)])[0]

    def _without(self, *metrics: str) -> int:
        """Return the number of models that would pass without the budgets on some metrics."""
        return int(
            self.session.results.ranking.passing(each for each in self.state.filters if each[0] not in metrics).sum()
        )

    def _filter(self, index: int, filter_: Range, passing: np.ndarray) -> dict[str, Any]:
        results = self.session.results
        metric, low, high = filter_
        edges, counts, within = histogram(results.values(metric), passing, span=appearance(results).ends(metric))
        most = max(counts, default=1) or 1
        step = 100 / len(counts) if counts else 0.0
        start = 0.0 if low is None else _fraction(edges, low)
        stop = 1.0 if high is None else _fraction(edges, high)
        return {
            "metric": metric,
            "label": results.label(metric),
            "low": self._value_text(f"low-{index}", write_bound(low, "low", results.spec(metric))),
            "high": self._value_text(f"high-{index}", write_bound(high, "high", results.spec(metric))),
            "edges": json.dumps(edges),
            "units": json.dumps(shown_units(results.spec(metric))),
            "bins": [
                {
                    "x": round(at * step + 0.3, 2),
                    "width": round(step - 0.6, 2),
                    "all": round(100 * count / most, 1),
                    "all_y": round(100 - 100 * count / most, 1),
                    "passing": round(100 * inside / most, 1),
                    "pass_y": round(100 - 100 * inside / most, 1),
                }
                for at, (count, inside) in enumerate(zip(counts, within, strict=True))
            ],
            "from": round(100 * start, 2),
            "width": round(100 * max(0.0, stop - start), 2),
            **(
                {
                    "least": results.show_value(metric, edges[0]),
                    "middle": results.show_value(metric, edges[len(edges) // 2]),
                    "most": results.show_value(metric, edges[-1]),
                }
                if edges
                else {}
            ),
        }

    # ---- what a person does
    def begin(self) -> None:
        self._send_filters()

    def update(self, changed: Any) -> None:
        if "filters" in changed:
            self._rejection = None
        super().update(changed)
        if changed & {
            "filters",
            "dim_dominated",
            "x",
            "y",
            "x_log",
            "y_log",
            "arrange",
            "opened",
            "closed",
            "color",
            "size",
            RESULTS,
        }:
            self._send_filters()

    def _send_filters(self) -> None:
        """Give the page what it needs to follow a drag by itself."""
        results, state = self.session.results, self.state
        self.session.send("values", {metric: results.values(metric) for metric, _, _ in state.filters})
        dimmed = choices(results).undominated(state) if state.dim_dominated else None
        visible = None if dimmed is None else dimmed.astype(np.uint8)
        ranges = [
            [budget.metric, budget.low, budget.high] for budget in results.ranking.effective_budgets(state.filters)
        ]
        scope = None if results.scope.all() else results.scope.astype(np.uint8)
        self.session.send("filters", {"ranges": ranges, "visible": visible, "scope": scope})

    def _type(self, message: Mapping[str, Any]) -> None:
        """The whole budget was typed: what it does not name is no longer bounded."""
        text, results = str(message.get("text", "")), self.session.results
        try:
            budgets_ = parse_budgets(text, results.metrics, self._values())
        except BudgetError as error:
            self._refuse(_TYPED, text, error)
            return
        # a bound that was dragged is written shorter than it is: unless it was changed, it stays as it is
        exact = {write_budgets([budget], results.spec): budget for budget in budgets(self.state.filters)}
        exact_budgets = [exact.get(write_budgets([budget], results.spec), budget) for budget in budgets_]
        by_metric = {budget.metric: (budget.metric, budget.low, budget.high) for budget in exact_budgets}
        filters = [
            by_metric.pop(metric, (metric, None, None))
            for metric, low, high in self.state.filters
            if metric in by_metric or (low is None and high is None)
        ]
        self._apply([*filters, *by_metric.values()])
        self._redraw()

    def _values(self) -> dict[str, np.ndarray]:
        return {spec.name: self.session.results.values(spec.name) for spec in self.session.results.metrics}

    def _refuse(self, field: str, text: str, error: BudgetError) -> None:
        self._rejection = _Refused(field, text, str(error))
        self._redraw()

    def _redraw(self) -> None:
        """Draw the pane though the state is as it was: what stands in the page's fields may be something else."""
        self.session.send("panes", {"side": self.draw_side()})

    def _apply(self, filters: list[Range]) -> None:
        self._rejection = None
        choices(self.session.results).set_filters(self.state, filters)

    def _replace(self, index: int, filter_: Range) -> None:
        filters = list(self.state.filters)
        if 0 <= index < len(filters):
            filters[index] = filter_
            self._apply(filters)

    def _range(self, message: Mapping[str, Any]) -> None:
        index = whole_number(message, "index", -1)
        if 0 <= index < len(self.state.filters):
            before = self.state.filters
            self._replace(index, (before[index][0], _bound(message.get("low")), _bound(message.get("high"))))
            if self.state.filters == before:  # the page has followed the hand meanwhile
                self._redraw()
                self._send_filters()

    def _bound(self, message: Mapping[str, Any]) -> None:
        """A bound was typed: `5 ms`, `90%` and `> 1.2e6` are numbers too."""
        index, text = whole_number(message, "index", -1), str(message.get("value", ""))
        end: End = "low" if message.get("end") == "low" else "high"
        if not 0 <= index < len(self.state.filters):
            return
        before = Budget(*self.state.filters[index])
        spec = self.session.results.spec(before.metric)
        try:
            bound = parse_bound(text, end, spec, self._values())
            after = replace(before, low=bound) if end == "low" else replace(before, high=bound)
            check_budget(after, spec)
        except BudgetError as error:
            self._refuse(f"{end}-{index}", text, error)
            return
        self._replace(index, (after.metric, after.low, after.high))
        self._redraw()

    def _add(self, message: Mapping[str, Any]) -> None:
        used = {metric for metric, _, _ in self.state.filters}
        free = [
            metric.name
            for metric in self.session.results.primary + self.session.results.metrics
            if metric.name not in used
        ]
        if free:
            self._apply([*self.state.filters, (free[0], None, None)])

    def _drop(self, message: Mapping[str, Any]) -> None:
        index = whole_number(message, "index", -1)
        self._apply([each for at, each in enumerate(self.state.filters) if at != index])

    def _metric(self, message: Mapping[str, Any]) -> None:
        metric = str(message.get("value"))
        if metric in {m.name for m in self.session.results.metrics}:
            self._replace(whole_number(message, "index", -1), (metric, None, None))

    def _save(self, message: Mapping[str, Any]) -> None:
        name = str(message.get("name", "")).strip()[:60]
        if name:
            self.state.change({"budgets": {**self.state.budgets, name: list(self.state.filters)}})

    def _load(self, message: Mapping[str, Any]) -> None:
        """Bounds on metrics that newer results, or those of another address, do not have are left out."""
        saved = self.state.budgets.get(str(message.get("name")), self.state.filters)
        self._apply(choices(self.session.results).known_filters(saved)[0])

    def _forget(self, message: Mapping[str, Any]) -> None:
        name = str(message.get("name"))
        self.state.change({"budgets": {other: f for other, f in self.state.budgets.items() if other != name}})


def _bound(value: Any) -> float | None:
    return float(value) if isinstance(value, int | float) and np.isfinite(value) else None


def _fraction(edges: list[float], value: float) -> float:
    """Return a value's place among bins that are equally wide on screen."""
    if not edges:
        return 0.0
    return float(np.interp(value, edges, np.linspace(0, 1, len(edges))))
