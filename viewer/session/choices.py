"""Choices of a visitor in terms of the results at hand: the metrics that are shown, and what an address may ask for."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from functools import cached_property
from typing import Any

import numpy as np

from viewer.format.metrics import MetricRole
from viewer.results.budget import Range
from viewer.results.experiments import FACETS
from viewer.results.results import Results
from viewer.session.state import (
    AUTO,
    FACET,
    FACET_COLUMN,
    KIND,
    NAME,
    NOTHING,
    OPERATION,
    PARAMETER,
    REPLICATES,
    TAGS,
    ViewState,
)
from viewer.session.url import clip

__all__ = ["Choices", "choices"]

_METRIC_FIELDS = ("color", "size", "x", "y", "goal", "relax")
_ALSO = {"color": (KIND, *(f"{FACET}{facet}" for facet in FACETS))}
_FIRST_CHOICE = {
    "color": MetricRole.QUALITY,
    "y": MetricRole.QUALITY,
    "goal": MetricRole.QUALITY,
    "x": MetricRole.COST,
    "size": MetricRole.SIZE,
}


def choices(results: Results) -> Choices:
    """Return the choices among these results; made once for all visitors."""
    return results.shared(Choices)


class Choices:
    """The choices among the results of one publication, and their defaults."""

    def __init__(self, results: Results) -> None:
        self._results = results
        self._names = frozenset(spec.name for spec in results.metrics)

    def accept(self, values: Mapping[str, Any], pages: Collection[str]) -> tuple[dict[str, Any], list[str]]:
        """Return the values that make sense for these results, and a sentence for each that does not."""
        accepted, notices = dict(values), []
        for name in _METRIC_FIELDS:
            if accepted.get(name, AUTO) not in {AUTO, NOTHING, *_ALSO.get(name, ()), *self._names}:
                notices.append(f"There is no metric '{clip(accepted.pop(name))}' in these results.")
        if "page" in accepted and accepted["page"] not in pages:
            notices.append(f"There is no page '{clip(accepted.pop('page'))}'.")
        if "filters" in accepted:
            accepted["filters"], unknown = self.known_filters(accepted["filters"])
            notices += [f"The budget on '{clip(name)}' was left out: there is no such metric." for name in unknown]
        notices += self._accept_columns(accepted)
        if accepted.get("setting") and accepted["setting"] not in {
            context.id for context in self._results.snapshot.contexts
        }:
            notices.append("The runtime, machine or data set of the address is not in these results.")
            accepted.pop("setting")
        notices += self._accept_experiments(accepted)
        return accepted, notices

    def _accept_columns(self, accepted: dict[str, Any]) -> list[str]:
        """Take away columns that these results do not have, and return a sentence for each that matters."""
        notices: list[str] = []
        if "columns" in accepted:
            accepted["columns"] = [name for name in accepted["columns"] if name in self._columns]
        if "where" in accepted:
            filters = accepted["where"]
            accepted["where"] = {name: text for name, text in filters.items() if name in self._columns and text.strip()}
            absent = filters.keys() - self._columns
            notices += [f"The table has no column '{clip(name)}' to filter by." for name in sorted(absent)]
        if accepted.get("order", "") not in {"", *self._columns}:
            notices.append(f"The table cannot be sorted by '{clip(accepted.pop('order'))}'.")
        return notices

    def _accept_experiments(self, accepted: dict[str, Any]) -> list[str]:
        """Take away what names no experiments of these results, and return a sentence for each."""
        notices = []
        if accepted.get("group", "") not in {"", REPLICATES, *FACETS}:
            notices.append(f"The table cannot be grouped by '{clip(accepted.pop('group'))}'.")
        if accepted.get("only"):
            given, known = accepted["only"], self._results.experiments.existing(accepted["only"])
            accepted["only"] = known
            unknown = [value for facet in given for value in given[facet] if value not in known.get(facet, ())]
            notices += [f"No model of these results is of '{clip(value)}'." for value in unknown]
        return notices

    @cached_property
    def _columns(self) -> frozenset[str]:
        """The ids of all columns that a table of these results may have."""
        parameters = {f"{PARAMETER}{node.op}.{name}" for node in self._results.forest for name in node.params}
        facets = {f"{FACET_COLUMN}{facet}" for facet in FACETS}
        return frozenset({NAME, OPERATION, TAGS, *parameters, *facets, *self._names})

    def known_filters(self, filters: Iterable[Range]) -> tuple[list[Range], list[str]]:
        """Return one filter per metric, the last one given, and the names of those that are no metrics here."""
        latest = {metric: (metric, low, high) for metric, low, high in filters}
        return [f for name, f in latest.items() if name in self._names], [n for n in latest if n not in self._names]

    def metric(self, field: str, state: ViewState) -> str:
        """Return the metric of a field: the person's choice, else one that suits; empty for none."""
        value = getattr(state, field)
        if value == NOTHING:
            return ""
        exists = value in self._names or value in _ALSO.get(field, ())
        return value if exists else self.suiting(field)

    def suiting(self, field: str) -> str:
        """Return the metric that suits a field where nobody chose one; empty for none."""
        return self._suiting[field]

    @cached_property
    def _suiting(self) -> dict[str, str]:
        metrics: dict[str, str] = {}
        for field, role in _FIRST_CHOICE.items():
            names = sorted((spec.name for spec in self._results.primary), key=self._rarity)
            fitting = [name for name in names if self._results.spec(name).role is role]
            metrics[field] = next(iter([*fitting, *names]), "")
        metrics["x"] = self._other_axis(metrics)
        return metrics

    def _other_axis(self, metrics: Mapping[str, str]) -> str:
        """Return a metric for the axis across that is not the upright one's, as long as there is another: costs and sizes first."""
        if metrics["x"] != metrics["y"]:
            return metrics["x"]
        others = [spec for spec in self._results.metrics if spec.name != metrics["y"]]
        suits = [MetricRole.COST, MetricRole.SIZE]
        others.sort(key=lambda spec: (spec.role not in suits, not spec.primary, self._rarity(spec.name)))
        return others[0].name if others else metrics["x"]

    def _rarity(self, metric: str) -> int:
        """Return what sorts metrics by the number of models at hand that have them: most first, in their order."""
        at_hand = self._results.scope & ~self._results.elsewhere
        return -int(np.isfinite(self._results.values(metric)[at_hand]).sum())

    def visible_rows(self, state: ViewState) -> np.ndarray:
        """Return which rows are drawn in full: those that pass, and are not dimmed as dominated."""
        passing = self._results.ranking.passing(state.filters)
        return passing & self.undominated(state) if state.dim_dominated else passing

    def set_filters(self, state: ViewState, filters: list[Range]) -> None:
        """Set the budget; what it excludes is no longer selected."""
        state.change({"filters": filters})
        row, visible = self._results.row, self.visible_rows(state)
        state.pick([key for key in state.selected if key not in row or visible[row[key]]])

    def undominated(self, state: ViewState) -> np.ndarray:
        """Return which rows are on the Pareto front of the scatterplot, within the budget."""
        mask = np.zeros(len(self._results.keys), dtype=bool)
        mask[
            self._results.ranking.front(
                self.metric("x", state), self.metric("y", state), self._results.ranking.passing(state.filters)
            )
        ] = True
        return mask
