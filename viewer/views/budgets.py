"""Budgets: what a model must satisfy, how many do, which budget is the tight one, and what relaxing it would bring."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np

from viewer.budget_text import BudgetError, parse_budgets, write_budgets
from viewer.filters import Budget, histogram
from viewer.markup import render
from viewer.pareto import Bought, best_within
from viewer.state import Range
from viewer.study import Study, budgets
from viewer.units import QuantityError, parse_quantity
from viewer.views.view import STUDY, Action, SideView

__all__ = ["Budgets"]

_CURVE = (60.0, 430.0, 126.0, 8.0)
"""Left, right, bottom and top of the curve, in pixels of its picture."""


class Budgets(SideView):
    """The filters of the state, with their histograms."""

    name = "budgets"
    shows: ClassVar[frozenset[str]] = frozenset({"filters", "budgets", "goal"})

    def __init__(self, desk: Any) -> None:
        super().__init__(desk)
        self._problems: dict[int, str] = {}
        self._relaxed = ""
        self._typed, self._problem = "", ""

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
            "relax": self._relax,
        }

    def draw_side(self) -> str:
        study, state = self.desk.study, self.state
        passing = study.passing(state.filters)
        goal = study.chosen("goal", state)
        used = [metric for metric, _, _ in state.filters]
        best = study.best(goal, passing)
        return render(
            "budgets",
            metrics=study.choices, used=used, more=len(used) < len(study.metrics),
            text=self._typed or write_budgets(budgets(state.filters), study.spec), problem=self._problem,
            example=self._example(),
            filters=[self._filter(index, each, passing) for index, each in enumerate(state.filters)],
            total=len(study.keys), passing=int(passing.sum()),
            goal=goal, goal_label=study.label(goal), goals=[c for c in study.choices if study.better(c["name"]) != "neither"],
            best={"key": study.keys[best], "name": study.forest[study.keys[best]].label, "value": study.show(goal, best)}
            if best is not None else None,
            tightest=self._tightest(),
            budgets=[
                {"name": name, "text": ", ".join(study.filter_texts(filters)), "current": filters == state.filters}
                for name, filters in sorted(state.budgets.items())
            ],
            relaxable=used, curve=self._curve(goal),
        )  # fmt: skip

    def _example(self) -> str:
        """Return a budget that about half of the models meet on each of two metrics."""
        study = self.desk.study
        metrics = [metric for metric in study.primary if study.direction(metric.name)]
        chosen = dict.fromkeys(study.chosen(field, self.state) for field in ("goal", "size"))
        found = []
        for metric in [metric for metric in metrics if metric.name in chosen]:
            known = study.values(metric.name)[np.isfinite(study.values(metric.name))]
            if known.size:
                middle = float(f"{np.median(known):.2g}")
                found.append(Budget(metric.name, *((middle, None) if metric.better == "higher" else (None, middle))))
        return write_budgets(found, study.spec)

    def _tightest(self) -> str:
        study = self.desk.study
        found = study.tightest(self.state.filters)
        if found is None:
            return ""
        freed = int(study.passing(f for f in self.state.filters if f[0] != found.metric).sum())
        return f"Tightest: {study.filter_texts([(found.metric, found.low, found.high)])[0]}. Without it, {freed} would pass."

    def _filter(self, index: int, filter_: Range, passing: np.ndarray) -> dict[str, Any]:
        study = self.desk.study
        metric, low, high = filter_
        edges, counts, within = histogram(study.values(metric), passing, span=study.ends(metric))
        most = max(counts, default=1) or 1
        step = 100 / len(counts) if counts else 0.0
        start = 0.0 if low is None else _fraction(edges, low)
        stop = 1.0 if high is None else _fraction(edges, high)
        return {
            "metric": metric, "label": study.label(metric), "unit": study.spec(metric).unit,
            "low": "" if low is None else f"{low:.6g}", "high": "" if high is None else f"{high:.6g}",
            "edges": json.dumps(edges), "problem": self._problems.get(index, ""),
            "bins": [
                {"x": round(at * step + 0.3, 2), "width": round(step - 0.6, 2),
                 "all": round(100 * count / most, 1), "all_y": round(100 - 100 * count / most, 1),
                 "passing": round(100 * inside / most, 1), "pass_y": round(100 - 100 * inside / most, 1)}
                for at, (count, inside) in enumerate(zip(counts, within, strict=True))
            ],
            "from": round(100 * start, 2), "width": round(100 * max(0.0, stop - start), 2),
            **({"least": study.show_value(metric, edges[0]), "middle": study.show_value(metric, edges[len(edges) // 2]),
                "most": study.show_value(metric, edges[-1])} if edges else {}),
        }  # fmt: skip

    def _curve(self, goal: str) -> dict[str, Any] | None:
        """Best value of the goal for each bound of one budget, the others staying as they are."""
        study, state = self.desk.study, self.state
        metrics = [metric for metric, _, _ in state.filters if metric != goal]
        metric = self._relaxed if self._relaxed in metrics else (metrics[0] if metrics else "")
        if not goal or not metric:
            return None
        others = study.passing([each for each in state.filters if each[0] not in (metric, goal)])
        steps = best_within(study.values(metric), study.values(goal), study.better(metric), study.better(goal), others)
        if len(steps) <= 1:
            return None
        bound = next(
            (high if study.better(metric) != "higher" else low) for name, low, high in state.filters if name == metric
        )
        return _curve_picture(study, metric, goal, steps, bound)

    # ---- what a person does
    def begin(self) -> None:
        self._send_filters()

    def update(self, changed: Any) -> None:
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
            STUDY,
        }:
            self._send_filters()

    def _send_filters(self) -> None:
        """Give the page what it needs to follow a drag by itself."""
        study, state = self.desk.study, self.state
        self.desk.send("values", {metric: study.values(metric) for metric, _, _ in state.filters})
        dimmed = study.undominated(state) if state.dim_dominated else None
        visible = None if dimmed is None else dimmed.astype(np.uint8)
        self.desk.send("filters", {"ranges": [list(each) for each in state.filters], "visible": visible})

    def _type(self, message: Mapping[str, Any]) -> None:
        """The whole budget was typed: what it does not name is no longer bounded."""
        text, study = str(message.get("text", "")), self.desk.study
        try:
            found = parse_budgets(text, study.metrics)
        except BudgetError as error:
            self._typed, self._problem = text, str(error)
            self.desk.send("panes", {"side": self.draw_side()})
            return
        # a bound that was dragged is written shorter than it is: unless it was changed, it stays as it is
        exact = {write_budgets([budget], study.spec): budget for budget in budgets(self.state.filters)}
        wanted = [exact.get(write_budgets([budget], study.spec), budget) for budget in found]
        named = {budget.metric: (budget.metric, budget.low, budget.high) for budget in wanted}
        kept = [named.pop(metric, (metric, None, None)) for metric, low, high in self.state.filters
                if metric in named or (low is None and high is None)]  # fmt: skip
        self._apply([*kept, *named.values()])
        self.desk.send("panes", {"side": self.draw_side()})

    def _apply(self, filters: list[Range]) -> None:
        """Set the filters; what they exclude is no longer selected."""
        self._typed, self._problem = "", ""
        self.state.change({"filters": filters})
        study = self.desk.study
        shown = study.shown(self.state)
        self.state.pick([key for key in self.state.selected if key not in study.row or shown[study.row[key]]])

    def _replace(self, index: int, filter_: Range) -> None:
        filters = list(self.state.filters)
        if 0 <= index < len(filters):
            filters[index] = filter_
            self._problems.pop(index, None)
            self._apply(filters)

    def _range(self, message: Mapping[str, Any]) -> None:
        index = int(message.get("index", -1))
        if 0 <= index < len(self.state.filters):
            before = self.state.filters
            self._replace(index, (before[index][0], _bound(message.get("low")), _bound(message.get("high"))))
            if self.state.filters == before:  # the page has followed the hand meanwhile
                self.desk.send("panes", {"side": self.draw_side()})
                self._send_filters()

    def _bound(self, message: Mapping[str, Any]) -> None:
        """A bound was typed: `5 ms`, `90%` and `1.2e6` are numbers too."""
        index, end, text = int(message.get("index", -1)), message.get("end"), str(message.get("value", ""))
        if not 0 <= index < len(self.state.filters):
            return
        metric, low, high = self.state.filters[index]
        try:
            value = parse_quantity(text, self.desk.study.spec(metric).unit) if text.strip() else None
        except QuantityError as error:
            self._problems[index] = str(error)
            self.desk.send("panes", {"side": self.draw_side()})
            return
        self._replace(index, (metric, value, high) if end == "low" else (metric, low, value))

    def _add(self, message: Mapping[str, Any]) -> None:
        used = {metric for metric, _, _ in self.state.filters}
        free = [metric.name for metric in self.desk.study.primary + self.desk.study.metrics if metric.name not in used]
        if free:
            self._apply([*self.state.filters, (free[0], None, None)])

    def _drop(self, message: Mapping[str, Any]) -> None:
        index = int(message.get("index", -1))
        self._problems.clear()
        self._apply([each for at, each in enumerate(self.state.filters) if at != index])

    def _metric(self, message: Mapping[str, Any]) -> None:
        metric = str(message.get("value"))
        if metric in {m.name for m in self.desk.study.metrics}:
            self._replace(int(message.get("index", -1)), (metric, None, None))

    def _save(self, message: Mapping[str, Any]) -> None:
        name = str(message.get("name", "")).strip()[:60]
        if name:
            self.state.change({"budgets": {**self.state.budgets, name: list(self.state.filters)}})

    def _load(self, message: Mapping[str, Any]) -> None:
        self._apply(list(self.state.budgets.get(str(message.get("name")), self.state.filters)))

    def _forget(self, message: Mapping[str, Any]) -> None:
        name = str(message.get("name"))
        self.state.change({"budgets": {other: f for other, f in self.state.budgets.items() if other != name}})

    def _relax(self, message: Mapping[str, Any]) -> None:
        self._relaxed = str(message.get("value"))
        self.desk.send("panes", {"side": self.draw_side()})


def _bound(value: Any) -> float | None:
    return float(value) if isinstance(value, int | float) and np.isfinite(value) else None


def _fraction(edges: list[float], value: float) -> float:
    """Where a value lies among bins that are equally wide on screen."""
    if not edges:
        return 0.0
    return float(np.interp(value, edges, np.linspace(0, 1, len(edges))))


def _curve_picture(study: Study, metric: str, goal: str, steps: list[Bought], bound: float | None) -> dict[str, Any]:
    left, right, bottom, top = _CURVE
    budgets, values = [step[0] for step in steps], [step[1] for step in steps]
    if study.better(metric) == "higher":  # relaxing means going down: the axis runs so too
        left, right = right, left

    def at_x(value: float) -> float:
        low, high = min(budgets), max(budgets)
        return round(left + (min(max(value, low), high) - low) / ((high - low) or 1) * (right - left), 1)

    def at_y(value: float) -> float:
        low, high = min(values), max(values)
        return round(bottom + (value - low) / ((high - low) or 1) * (top - bottom), 1)

    points = [(at_x(budget), at_y(value)) for budget, value, _ in steps]
    path = f"M{points[0][0]} {points[0][1]}" + "".join(f"H{x}V{y}" for x, y in points[1:]) + f"H{right}"
    ends = sorted({min(budgets), (min(budgets) + max(budgets)) / 2, max(budgets)})
    return {
        "metric": metric, "label": study.label(metric), "path": path,
        "budget": None if bound is None else at_x(bound),
        "x_ticks": [{"at": at_x(value), "text": study.show_value(metric, value)} for value in ends],
        "y_ticks": [{"at": at_y(value), "text": study.show_value(goal, value)} for value in sorted({min(values), max(values)})],
        "steps": [
            {"x": x, "y": y, "key": study.keys[step.row], "text": _step_text(study, metric, goal, step)}
            for (x, y), step in zip(points, steps, strict=True)
        ],
    }  # fmt: skip


def _step_text(study: Study, metric: str, goal: str, step: Bought) -> str:
    budget, value = study.show_value(metric, step.budget), study.show_value(goal, step.value)
    return f"{study.label(metric)} {budget}: {study.forest[study.keys[step.row]].label}, {value}"
