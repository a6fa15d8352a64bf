"""Selection details: one model's facts, or the differences of several, with their metrics side by side."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, ClassVar

from viewer.compare.bar_chart import Entry, chart
from viewer.compare.cards import fold_buttons, selected_alone, selection
from viewer.compare.comparison import Comparison, Mark, compare_selection, narrow
from viewer.compare.variables import NONE, Variable, VariableKind
from viewer.format.metrics import MetricInfo
from viewer.format.palette import SERIES
from viewer.session.choices import choices
from viewer.session.compared_models import models_on_rail
from viewer.session.view import Action, SideView

__all__ = ["Details"]

_MOST_DRAWN = 600
_MOST_BEST = 8


class Details(SideView):
    """Selection details; `Refine comparison` narrows them by chips."""

    name = "selection"
    shows: ClassVar[frozenset[str]] = frozenset({"selected", "refine", "opened", "closed", "filters", "x", "y"})

    def actions(self) -> dict[str, Action]:
        return {
            "chip": self._chip,
            "refine_reset": lambda message: self.state.change({"refine": {}}),
            "refine_apply": lambda message: self.state.pick(self._refined()),
            "clean": self._clean,
            "only": self._only,
        }

    def draw_side(self) -> str:
        results = self.session.results
        picked_keys = [key for key in self.state.selected if key in results.forest]
        if not picked_keys:
            empty = "Select models to see how they differ." if results.keys else "There are no models yet."
            return selection(empty=empty, best=self._best() if results.keys else None)
        if len(picked_keys) == 1:
            return selected_alone(results, self.state, picked_keys[0])
        return self._several(self.session.known_models(picked_keys))

    def _best(self) -> dict[str, Any] | None:
        """Return the models worth a look before any is selected: within the budget, those that no other measurably beats.

        Best first, by the upright axis; of many, some from the whole length of the front.
        """
        results, state = self.session.results, self.state
        metrics = [choices(results).metric(axis, state) for axis in ("y", "x")]
        rows = results.ranking.front(metrics[1], metrics[0], results.ranking.passing(state.filters))
        if not rows:
            return None
        rows = sorted(
            rows, key=lambda row: results.values(metrics[0])[row], reverse=results.better(metrics[0]) != "lower"
        )
        step = max(1.0, (len(rows) - 1) / (_MOST_BEST - 1))
        best = [rows[round(at * step)] for at in range(min(len(rows), _MOST_BEST))]
        return {
            "count": len(rows),
            "left": len(rows) - len(best),
            "budget": results.ranking.filter_texts(state.filters),
            "bare": [results.label(m) for m in dict.fromkeys(metrics) if not results.has_known_noise(m)],
            "headings": [results.label(metric) for metric in dict.fromkeys(metrics)],
            "columns": [(results.label(metric), results.about(metric)) for metric in dict.fromkeys(metrics)],
            "rows": [
                {
                    "key": results.keys[row],
                    "name": results.text.name(results.keys[row]),
                    "cells": [results.show(metric, row) for metric in dict.fromkeys(metrics)],
                }
                for row in best
            ],
        }

    def _several(self, keys: list[str]) -> str:
        results, refine = self.session.results, self.state.refine
        whole = compare_selection(results.forest, keys)
        in_view = narrow(whole, refine) if refine else list(whole.keys)
        comparison = compare_selection(results.forest, in_view) if refine else whole
        comparison = _of_experiments(comparison, results.mixture(in_view))
        inks = _inks(comparison)
        marks = comparison.marks[:_MOST_DRAWN]
        left_out = f"The first {_MOST_DRAWN} of {len(in_view)} are drawn; refine the comparison to see the others."
        values = {
            "count": len(keys),
            "sentence": comparison.sentence.replace("_", " ")
            + ("" if in_view else ": no model has all the selected values"),
            "confounded": bool(comparison.confounders),
            "clean": len(comparison.clean),
            "buttons": fold_buttons(results, self.state, keys),
            **_legend(comparison, inks),
            "variables": _chips(whole, refine) if len(whole.variables) > 1 else [],
            "refine_open": bool(refine),
            "refined": len(in_view) if refine else 0,
            "charts": [self._chart(metric, comparison, marks, inks) for metric in results.primary] if in_view else [],
            "note": left_out if len(in_view) > _MOST_DRAWN else "",
        }
        return selection(**values)

    def _chart(
        self, metric: MetricInfo, comparison: Comparison, marks: Sequence[Mark], inks: Mapping[str, str]
    ) -> dict[str, Any]:
        results, confounded = self.session.results, bool(comparison.confounders)
        letters = {each.key: each.letter for each in models_on_rail(self.session)}
        names = {mark.key: f"{letters.get(mark.key, '')} {results.text.name(mark.key)}".strip() for mark in marks}
        entries = [
            Entry(
                mark.key,
                names[mark.key],
                names[mark.key] if confounded else _placement_text(comparison.x, mark.key),
                comparison.color.value(mark.key) if comparison.color and not confounded else "",
                "" if confounded else _placement_text(comparison.facet, mark.key),
                results.measured(metric.name, mark.key),
            )
            for mark in marks
        ]
        svg = chart(entries, inks, partial(results.show_value, metric.name))
        return {
            "label": metric.label,
            "about": results.about(metric.name),
            "note": results.direction(metric.name),
            "drawn": svg,
        }

    def _clean(self, message: Mapping[str, Any]) -> None:
        """Select those that differ in what can be drawn, and in nothing else."""
        compared = compare_selection(self.session.results.forest, self._refined())
        if compared.clean:
            self.state.pick(list(compared.clean))

    def _refined(self) -> list[str]:
        whole = compare_selection(self.session.results.forest, self.session.known_models(self.state.selected))
        return narrow(whole, self.state.refine)

    def _chip(self, message: Mapping[str, Any]) -> None:
        name, value = str(message.get("variable")), str(message.get("value"))
        active = self.state.refine.get(name, [])
        values = [v for v in active if v != value] if value in active else [*active, value]
        refine = {**self.state.refine, name: values}
        self.state.change({"refine": {name: values for name, values in refine.items() if values}})

    def _only(self, message: Mapping[str, Any]) -> None:
        keys = self.session.known_models([str(message.get("key"))])
        if keys:
            self.state.pick(keys)


def _name(variable: Variable | None) -> str:
    return variable.label.replace("_", " ") if variable is not None else ""


def _placement_text(variable: Variable | None, key: str) -> str:
    return _words(variable, variable.value(key)) if variable is not None else ""


def _words(variable: Variable, text: str) -> str:
    """Say a value so that it can be understood without the variable's name beside it."""
    if variable.kind is VariableKind.PRESENCE:
        return f"{'without' if text == NONE else 'with'} {_name(variable)}"
    if text == NONE:
        return "without it" if variable.kind is VariableKind.PARAMETER else "none of these"
    return text.replace("_", " ")


def _legend(comparison: Comparison, inks: Mapping[str, str]) -> dict[str, Any]:
    """Return what rows, colours and blocks stand for; of a confounded comparison each row is a model, and no more."""
    if comparison.confounders:
        return {}
    return {
        "colors": [(_words(comparison.color, text), ink) for text, ink in inks.items()] if comparison.color else [],
        "color_name": _name(comparison.color),
        "x_name": _name(comparison.x),
        "facet_name": _name(comparison.facet),
    }


def _of_experiments(comparison: Comparison, mixture: str) -> Comparison:
    """Say that models are of different data sets, where they are: what separates them may be that."""
    if not mixture:
        return comparison
    sentence = f"{comparison.sentence.removesuffix('; all else equal')}; of different data sets or files: {mixture}"
    return replace(comparison, confounders=(*comparison.confounders, "data set"), sentence=sentence, clean=())


def _inks(comparison: Comparison) -> dict[str, str]:
    """Return a colour per value; values beyond the series share its last one, their bars have names all the same."""
    if comparison.color is None or comparison.confounders:
        return {"": SERIES[0]}
    return {text: SERIES[min(at, len(SERIES) - 1)] for at, text in enumerate(comparison.color.values)}


def _chips(whole: Comparison, refine: Mapping[str, list[str]]) -> list[dict[str, Any]]:
    return [
        {
            "index": at,
            "id": variable.id,
            "name": variable.label.replace("_", " "),
            "values": [
                {
                    "text": text,
                    "words": _words(variable, text),
                    "count": sum(variable.value(key) == text for key in whole.keys),
                    "chosen": text in refine.get(variable.id, ()),
                }
                for text in variable.values
            ],
        }
        for at, variable in enumerate(whole.variables)
    ]
