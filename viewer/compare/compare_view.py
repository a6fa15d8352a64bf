"""Selected models beside a base, metric by metric, with the noise of each difference."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np

from viewer.compare.comparison import compare_selection
from viewer.compare.variables import NONE, Variable, VariableKind
from viewer.format.metrics import MetricInfo, MetricRole
from viewer.format.templates import render
from viewer.session.compared_models import models_on_rail
from viewer.session.view import View

__all__ = ["Compare"]

_MOST_COLUMNS = 12
_MOST_PARAMETERS = 12
_GROUPS = {
    MetricRole.QUALITY: "Quality",
    MetricRole.SIZE: "Size",
    MetricRole.COST: "Speed and work",
    MetricRole.CHANGE: "Change of the answers",
    MetricRole.OTHER: "Other figures",
}
"""Role of metrics -> heading, in the order of the page."""


class Compare(View):
    """A page of its own: `draw_page` gives its markup."""

    title: ClassVar[str] = "Compare"
    shows: ClassVar[frozenset[str]] = frozenset({"selected", "base", "setting", "unchanged"})

    def draw_page(self) -> str:
        results = self.session.results
        rail = models_on_rail(self.session)
        models = [each.key for each in rail]
        if len(models) <= 1:
            return render("compare", models=[])
        base = next(each.key for each in rail if each.is_base)
        others = [key for key in models if key != base][:_MOST_COLUMNS]
        groups = [self._group(role, base, others) for role in _GROUPS]
        unchanged = [row["label"] for group in groups for row in group["rows"] if row["unchanged"]]
        return render(
            "compare",
            models=models,
            letters={each.key: each for each in rail},
            base=base,
            base_name=results.text.name(base),
            others=[self._head(key) for key in others],
            parameters=self._parameters(base, others),
            groups=[group for group in groups if group["rows"]],
            unchanged=unchanged,
            shows_unchanged=self.state.unchanged,
            left_out=len(models) - 1 - len(others),
            mixture=results.mixture([base, *others]),
        )

    def _head(self, key: str) -> dict[str, str]:
        results, node = self.session.results, self.session.results.forest[key]
        operation = f"{node.op.replace('_', ' ')} {results.text.telling_text(node.brief)}".strip()
        return {
            "key": key,
            "name": results.text.name(key),
            "operation": operation,
            "whole": results.text.operation(key),
        }

    def _parameters(self, base: str, others: list[str]) -> dict[str, Any]:
        """What the models were made by, as far as it differs between them; what differs from the base is marked."""
        variables = compare_selection(self.session.results.forest, [base, *others]).variables
        rows = []
        for variable in variables[:_MOST_PARAMETERS]:
            before = variable.value(base)
            cells = [{"text": self._value(variable, key), "differs": variable.value(key) != before} for key in others]
            rows.append(
                {"label": variable.label.replace("_", " "), "base": self._value(variable, base), "cells": cells}
            )
        return {"rows": rows, "left_out": len(variables) - len(rows)}

    def _value(self, variable: Variable, key: str) -> str:
        """What a model has of a difference: of a step that others lack, the step's own parameters."""
        value = variable.value(key)
        if value == NONE:
            return "—"
        if variable.kind is not VariableKind.PRESENCE:
            return value.replace("_", " ")
        results = self.session.results
        steps = [results.forest[each] for each in results.forest.path(key) if results.forest[each].op == variable.label]
        return (results.text.telling_text(steps[0].brief) if len(steps) == 1 else "") or "yes"

    def _group(self, role: MetricRole, base: str, others: list[str]) -> dict[str, Any]:
        results = self.session.results
        rows = [results.row[key] for key in (base, *others)]
        metrics = [
            metric
            for metric in results.metrics
            if metric.role is role and np.isfinite(results.values(metric.name)[rows]).any()
        ]
        return {"title": _GROUPS[role], "rows": [self._row(metric, base, others) for metric in metrics]}

    def _row(self, spec: MetricInfo, base: str, others: list[str]) -> dict[str, Any]:
        results, metric = self.session.results, spec.name
        differences = [results.difference(metric, key, base) for key in others]
        return {
            "label": results.label(metric),
            "about": results.about(metric),
            "base": results.show(metric, results.row[base], interval=True),
            "cells": [results.figure(metric, key, base) for key in others],
            "unchanged": all(each is not None and each.absolute == 0 for each in differences),
        }
