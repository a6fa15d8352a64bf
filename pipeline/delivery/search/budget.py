"""The budget and the goals of a search, as people type them: "file_bytes <= 5 MB; worst_class_drop <= 2pt", best=accuracy.

A bound says what must hold, of a metric's value or of its drop or rise against the model at the top of the chain; it is read as the
rules of a gate are (`gate_rules`), which say when one fails.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from ops.core.registry import nearest
from pipeline.core.errors import BouillonError
from pipeline.core.metric_kinds import TIMED_UNITS, Better, MetricRole
from pipeline.core.units import readable_multiple
from pipeline.delivery.gate_rules import JudgedFigure, Quantity, RuleError, parse_rule
from pipeline.measure.metrics.behaviour import worst_class_drop, worst_group_drop
from pipeline.store.records.run_records import Metric

__all__ = ["Bound", "Goal", "SearchBudgetError", "figures_text", "parse_bounds", "parse_goals", "relaxed"]

_PARTS = re.compile(r"\s*(?:;|\n|\band\b)\s*", re.IGNORECASE)
_METRICS_OF = {
    Quantity.WORST_CLASS: worst_class_drop.__name__,
    Quantity.WORST_GROUP: worst_group_drop.__name__,
    Quantity.SPEEDUP: "speedup",
}
"""What a gate judges by a test of its own, and the metric of it."""
_MOST_GOALS = 2
"""Fronts are of two metrics, as on the page."""

Figures = Mapping[str, float]
"""Metric -> value of a model."""


class SearchBudgetError(BouillonError, ValueError):
    """A budget or goal cannot be read or used: the message names the part and the nearest that would be right."""


@dataclass(frozen=True, slots=True)
class Bound:
    """A bound that a model must keep."""

    text: str
    metric: Metric
    figure: JudgedFigure
    is_upper: bool
    bound: float
    """In the metric's unit; of a relative one, a share of the value at the top."""
    is_relative: bool = False

    def figure_of(self, figures: Figures, top: Figures) -> float:
        """Return the bounded figure of a model; NaN where it was not measured.

        Args:
            figures: of the model.
            top: of the model at the top of its chain.
        """
        value = figures.get(self.metric.metric, math.nan)
        if self.figure is JudgedFigure.VALUE:
            return value
        before = top.get(self.metric.metric, math.nan)
        change = before - value if self.figure is JudgedFigure.DROP else value - before
        return change / before if self.is_relative and before else change

    def excess(self, figures: Figures, top: Figures) -> float:
        """Return by how much a model breaks the bound, in its unit; at most 0 where it keeps it, NaN: unknown."""
        value = self.figure_of(figures, top)
        return value - self.bound if self.is_upper else self.bound - value

    def text_of(self, value: float) -> str:
        """Return a value of the bounded figure for people."""
        return amount_text(value, self.metric, is_share=self.is_relative)


@dataclass(frozen=True, slots=True)
class Goal:
    """A metric to improve."""

    metric: Metric

    @property
    def name(self) -> str:
        """The metric's."""
        return self.metric.metric

    @property
    def is_maximized(self) -> bool:
        """Whether more is better."""
        return self.metric.better == Better.HIGHER


def parse_bounds(text: str, metrics: Mapping[str, Metric]) -> tuple[Bound, ...]:
    """Read a budget: bounds between semicolons or `and`.

    Args:
        text: as typed; empty: none.
        metrics: name -> metric.

    Raises:
        SearchBudgetError: if one cannot be read.
    """
    return tuple(_bound(part, metrics) for part in _PARTS.split(text.strip()) if part)


def _bound(text: str, metrics: Mapping[str, Metric]) -> Bound:
    try:
        rule = parse_rule(text, metrics)
    except RuleError as error:
        message = str(error).replace("is no rule", "is no bound").replace("A gate", "A budget")
        raise SearchBudgetError(f"budget: {message}") from None
    metric, figure = rule.quantity, rule.figure
    if isinstance(metric, Quantity):
        name = _METRICS_OF[metric]
        is_drop = metric is not Quantity.SPEEDUP
        if name not in metrics or (is_drop and figure is not JudgedFigure.DROP):
            raise SearchBudgetError(
                f"budget: '{text}': write the drop of it against the base, e.g. '{_METRICS_OF[metric]} <= 2pt'"
            )
        metric, figure = metrics[name], JudgedFigure.VALUE
    _check_no_time(metric, f"budget: '{text}'")
    if rule.sign in ("<", ">"):
        raise SearchBudgetError(f"budget: '{text}': write <= or >=, what a model may just reach")
    return Bound(rule.text, metric, figure, rule.sign == "<=", rule.bound, rule.relative)


def parse_goals(names: Sequence[str], metrics: Mapping[str, Metric]) -> tuple[Goal, ...]:
    """Read what is to be best: one metric, or two.

    Raises:
        SearchBudgetError: for an unknown metric, one without a better end, or more than two.
    """
    if not 1 <= len(names) <= _MOST_GOALS or len(set(names)) < len(names):
        raise SearchBudgetError(
            f"best: name one metric, or two different ones, e.g. best=accuracy,file_bytes (got {','.join(names)})"
        )
    for name in names:
        if name not in metrics:
            raise SearchBudgetError(
                f"best: there is no metric '{name}'.{nearest(name, metrics)} Known: {', '.join(sorted(metrics))}"
            )
        if metrics[name].better == Better.NEITHER:
            raise SearchBudgetError(f"best: neither more nor less of '{name}' is better; put it into the budget")
        _check_no_time(metrics[name], f"best: '{name}'")
    return tuple(Goal(metrics[name]) for name in names)


def _check_no_time(metric: Metric, where: str) -> None:
    if metric.role == MetricRole.COST and metric.unit in TIMED_UNITS:
        raise SearchBudgetError(
            f"{where}: times are compared in sessions of their own, not while a search goes on. Bound file_bytes, parameters or the "
            "arithmetic, then time what was found by a plain run of it"
        )


def relaxed(bounds: Sequence[Bound], factor: float = 2.0) -> Iterator[tuple[Bound, tuple[Bound, ...]]]:
    """Yield each bound made looser by a factor, with the others as they are: twice an upper one, half of a lower one."""
    for at, bound in enumerate(bounds):
        if bound.bound > 0:
            value = bound.bound * factor if bound.is_upper else bound.bound / factor
            loose = Bound(bound.text, bound.metric, bound.figure, bound.is_upper, value, bound.is_relative)
            yield loose, (*bounds[:at], loose, *bounds[at + 1 :])


def amount_text(value: float, metric: Metric, *, is_share: bool = False) -> str:
    """Return an amount of a metric for people: "104 kB", "95.5%", "3.2 ms"."""
    if not math.isfinite(value):
        return "unknown"
    if is_share:
        return f"{value:.1%}"
    if metric.unit == "B":
        multiple = readable_multiple(value, metric.unit)
        return f"{value / multiple.divisor:.3g} {multiple.unit}"
    return f"{value:{metric.format}} {metric.unit}".rstrip()


def figures_text(figures: Figures, top: Figures, goals: Sequence[Goal], bounds: Sequence[Bound]) -> str:
    """Return the figures of a chain that a search is about.

    Args:
        figures: of the model.
        top: of the model at the top of its chain.
        goals: those of the search.
        bounds: its budget.
    """
    parts = {goal.name: amount_text(figures.get(goal.name, math.nan), goal.metric) for goal in goals}
    for bound in bounds:
        suffix = "" if bound.figure is JudgedFigure.VALUE else f" {bound.figure}"
        parts[bound.metric.metric + suffix] = bound.text_of(bound.figure_of(figures, top))
    return ", ".join(f"{name} {text}" for name, text in parts.items())
