"""Selected models beside a base, metric by metric, with the noise of each difference."""

from __future__ import annotations

from typing import Any, ClassVar

from viewer.format.templates import render
from viewer.session.compared_models import models_on_rail
from viewer.session.view import View

__all__ = ["Compare"]

_MOST_COLUMNS = 12


class Compare(View):
    """A page of its own: `draw_page` gives its markup."""

    title: ClassVar[str] = "Compare"
    shows: ClassVar[frozenset[str]] = frozenset({"selected", "base", "setting"})

    def draw_page(self) -> str:
        results = self.session.results
        rail = models_on_rail(self.session)
        models = [each.key for each in rail]
        if len(models) <= 1:
            return render("compare", models=[], others=[], base="", rows=[], left_out=0, base_name="", letters={})
        base = next(each.key for each in rail if each.is_base)
        others = [key for key in models if key != base][:_MOST_COLUMNS]
        return render(
            "compare",
            models=models,
            letters={each.key: each for each in rail},
            base=base,
            base_name=results.text.name(base),
            others=[self._head(key) for key in others],
            rows=[self._row(metric.name, base, others) for metric in results.metrics],
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

    def _row(self, metric: str, base: str, others: list[str]) -> dict[str, Any]:
        results = self.session.results
        return {
            "label": results.label(metric),
            "about": results.about(metric),
            "base": results.show(metric, results.row[base], interval=True),
            "cells": [results.figure(metric, key, base) for key in others],
        }
