"""What is selected: one model's facts, or what tells several apart, with their metrics side by side."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any, ClassVar

from viewer.bars import Entry, chart
from viewer.markup import render
from viewer.views.hover_card import model_card
from viewer.views.view import Action, SideView

__all__ = ["Details"]

_MOST_DRAWN = 60


class Details(SideView):
    """Selection details; `Refine comparison` narrows them by chips."""

    name = "selection"
    shows: ClassVar[frozenset[str]] = frozenset({"selected", "refine", "opened", "closed"})

    def actions(self) -> dict[str, Action]:
        return {
            "chip": self._chip,
            "refine_reset": lambda message: self.state.change({"refine": {}}),
            "refine_apply": lambda message: self.state.pick(self._refined()),
            "only": self._only,
        }

    def draw_side(self) -> str:
        study = self.desk.study
        chosen = [key for key in self.state.selected if key in study.forest]
        if not chosen:
            empty = "Select models to see how they differ." if study.keys else "There are no models yet."
            return render("selection", **{**_BLANK, "empty": empty})
        if len(chosen) == 1:
            node = study.forest[chosen[0]]
            return render("selection", **{**_BLANK, "card": model_card(study, node), "buttons": self._buttons(chosen)})
        return self._several(self.desk.known(chosen))

    def _several(self, keys: list[str]) -> str:
        study = self.desk.study
        kept = self._refined() if self.state.refine else keys
        x = {key: study.forest[key].label for key in kept}
        color: dict[str, str] | None = None
        facet: dict[str, str] | None = None
        shown = kept[:_MOST_DRAWN]
        colors = dict.fromkeys(color[k] for k in shown) if color else {"": None}
        inks = {name: _INKS[at % len(_INKS)] for at, name in enumerate(colors)}
        charts = [
            {
                "label": study.label(metric.name),
                "note": study.direction(metric.name),
                "drawn": chart(
                    [
                        Entry(k, study.forest[k].name, x[k] if x else "", color[k] if color else "", facet[k] if facet else "",
                              *study.column(metric.name).row(study.row[k]))
                        for k in shown
                    ],
                    inks,
                    partial(study.show_value, metric.name),
                ),
            }
            for metric in study.primary
        ]  # fmt: skip
        return render(
            "selection",
            **{
                **_BLANK,
                "count": len(keys), "sentence": "Their metrics, side by side.", "buttons": self._buttons(keys), "charts": charts,
                "colors": list(inks.items()) if color else [], "color_name": "",
                "x_name": "", "facet_name": "",
                "variables": self._variables(keys), "refine_open": bool(self.state.refine),
                "refined": len(kept) if self.state.refine else 0,
                "note": f"The first {_MOST_DRAWN} of {len(kept)} are drawn; refine the comparison to see fewer." if len(kept) > _MOST_DRAWN else "",
            },
        )  # fmt: skip

    def _variables(self, keys: list[str]) -> list[dict[str, Any]]:
        return []

    def _refined(self) -> list[str]:
        return self.desk.known(self.state.selected)

    def _buttons(self, keys: list[str]) -> list[dict[str, str]]:
        return []

    def _chip(self, message: Mapping[str, Any]) -> None:
        name, value = str(message.get("variable")), str(message.get("value"))
        chosen = self.state.refine.get(name, [])
        values = [v for v in chosen if v != value] if value in chosen else [*chosen, value]
        refine = {**self.state.refine, name: values}
        self.state.change({"refine": {name: values for name, values in refine.items() if values}})

    def _only(self, message: Mapping[str, Any]) -> None:
        keys = self.desk.known([str(message.get("key"))])
        if keys:
            self.state.pick(keys)


_INKS = ("#0072b2", "#e69f00", "#009e73", "#cc79a7", "#56b4e9", "#d55e00", "#8c8c8c", "#b8a800")
_BLANK: dict[str, Any] = {
    "empty": "", "card": "", "count": 0, "sentence": "", "buttons": [], "colors": [], "color_name": "", "variables": [],
    "refine_open": False, "refined": 0, "x_name": "", "facet_name": "", "charts": [], "note": "",
}  # fmt: skip
