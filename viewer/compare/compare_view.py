"""Selected models beside a base, metric by metric, with the noise of each difference."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from viewer.format.templates import render
from viewer.session.view import Action, View

__all__ = ["Compare"]

_MOST_COLUMNS = 12


class Compare(View):
    """A page of its own: `draw_page` gives its markup."""

    title: ClassVar[str] = "Compare"
    shows: ClassVar[frozenset[str]] = frozenset({"selected", "base", "setting"})

    def actions(self) -> dict[str, Action]:
        return {"base": self._base, "drop": self._drop}

    def draw_page(self) -> str:
        study = self.desk.study
        models = self.desk.known(self.state.selected)
        if len(models) <= 1:
            return render("compare", models=[], others=[], base="", rows=[], left_out=0, base_name="")
        base = study.base_of(models, self.state.base)
        others = [key for key in models if key != base][:_MOST_COLUMNS]
        return render(
            "compare",
            models=[{"key": key, "name": study.forest[key].name} for key in models],
            base=base,
            base_name=study.forest[base].name,
            others=[self._head(key) for key in others],
            rows=[self._row(metric.name, base, others) for metric in study.metrics],
            left_out=len(models) - 1 - len(others),
        )

    def _head(self, key: str) -> dict[str, str]:
        study, node = self.desk.study, self.desk.study.forest[key]
        told = f"{node.op.replace('_', ' ')} {study.telling_text(node.brief)}".strip()
        return {"key": key, "name": node.name, "operation": told, "whole": study.operation(key)}

    def _row(self, metric: str, base: str, others: list[str]) -> dict[str, Any]:
        study = self.desk.study
        return {
            "label": study.label(metric),
            "base": study.show(metric, study.row[base], interval=True),
            "cells": [
                {"value": study.show(metric, study.row[key], interval=True), **study.change(metric, key, base)}
                for key in others
            ],
        }

    def _base(self, message: Mapping[str, Any]) -> None:
        key = str(message.get("value", message.get("key", "")))
        if key in self.state.selected:
            self.state.change({"base": key})

    def _drop(self, message: Mapping[str, Any]) -> None:
        self.state.pick([key for key in self.state.selected if key != message.get("key")])
