"""The rail: the compared models, on every page; and the budget as a sentence, whose parts can be taken away."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from viewer.format.templates import render
from viewer.results.model_text import short_ends
from viewer.session.compared_models import (
    add_model,
    drop_model,
    flag,
    matching_models,
    models_on_rail,
    proposed_models,
    set_base,
)
from viewer.session.notes import Notes
from viewer.session.view import Action, View

__all__ = ["Rail"]

_MOST_CHIPS = 12
_MOST_HITS = 8


class Rail(View):
    """Two panes of the frame that every page has."""

    panes: ClassVar[Mapping[str, frozenset[str]]] = {
        "budget_line": frozenset({"filters", "setting", "only"}),
        "rail": frozenset({"selected", "base", "filters", "goal", "setting", "only"}),
        "rail_found": frozenset({"selected"}),
    }

    def __init__(self, session: Any) -> None:
        super().__init__(session)
        self._notes = Notes(session.path)

    def actions(self) -> dict[str, Action]:
        return {
            "rail_base": lambda message: set_base(self.session, message),
            "rail_drop": lambda message: drop_model(self.session, message),
            "rail_add": lambda message: add_model(self.session, message),
            "rail_take": lambda message: self.state.pick([each.key for each in proposed_models(self.session)]),
            "rail_clear": lambda message: self.state.change({"selected": [], "base": "", "refine": {}}),
            "rail_find": self._find,
            "rail_flag": self._flag,
            "rail_unflag": self._flag,
        }

    def draw_budget_line(self) -> str:
        results, filters = self.session.results, self.state.filters
        texts = results.ranking.filter_texts(filters)
        return render(
            "budget_line",
            chips=list(enumerate(texts)),
            passing=f"{int(results.ranking.passing(filters).sum()):,}",
            total=f"{int(results.scope.sum()):,}",
        )

    def draw_rail(self) -> str:
        results = self.session.results
        is_chosen = bool(self.session.known_models(self.state.selected))
        proposed = [] if is_chosen else proposed_models(self.session)
        models = models_on_rail(self.session, proposed)
        notes = self._notes.seen_by(self.session.user).of("model")
        why = {each.key: each.why for each in proposed}
        texts = short_ends([each.name for each in models[:_MOST_CHIPS]])
        return render(
            "rail",
            models=[
                {
                    "model": each,
                    "text": text,
                    "notes": notes.get(each.key),
                    "whole": results.text.name(each.key),
                    "why": why.get(each.key, ""),
                }
                for each, text in zip(models[:_MOST_CHIPS], texts, strict=True)
            ],
            more=max(len(self.state.selected), len(models)) - len(models[:_MOST_CHIPS]),
            chosen=is_chosen,
            any=bool(results.keys),
        )

    def draw_rail_found(self) -> str:
        return ""

    def _find(self, message: Mapping[str, Any]) -> None:
        """Offer models to add while their name is typed; Enter adds the first."""
        text, results = str(message.get("text", "")).strip(), self.session.results
        on_rail = {each.key for each in models_on_rail(self.session)} if self.state.selected else set()
        models = [key for key in self.session.known_models(matching_models(self.session, text)) if key not in on_rail]
        if message.get("submitted") and models:
            self.state.pick([*self.state.selected, models[0]])
            return
        hits = [{"key": key, "name": results.text.name(key)} for key in models[:_MOST_HITS]]
        markup = render("rail_found", text=text, hits=hits, more=max(0, len(models) - _MOST_HITS))
        self.session.send("panes", {"rail_found": markup})

    def _flag(self, message: Mapping[str, Any]) -> None:
        flag(self.session, self._notes, message, kinds=("model",))
        self.session.send("panes", {"rail": self.draw_rail()})
