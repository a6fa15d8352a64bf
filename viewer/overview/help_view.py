"""The page of help: what can be done, with which keys, and what every metric means."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from viewer.format.templates import render
from viewer.session.view import Action, View

__all__ = ["Help"]


class Help(View):
    """A page of its own: `draw_page` gives its markup."""

    title: ClassVar[str] = "Help"
    shows: ClassVar[frozenset[str]] = frozenset({"setting"})

    def actions(self) -> dict[str, Action]:
        return {"budgets": lambda message: self.state.change({"page": "overview", "pane": "budgets"})}

    def draw_page(self) -> str:
        results = self.session.results
        metrics = [
            {
                "name": spec.name,
                "label": spec.label,
                "description": spec.description,
                "unit": "%" if spec.is_share and not spec.unit else spec.unit,
                "direction": results.direction(spec.name),
                "measured": int(np.isfinite(results.values(spec.name)).sum()),
            }
            for spec in results.metrics
        ]
        return render("help", metrics=metrics, models=len(results.keys))
