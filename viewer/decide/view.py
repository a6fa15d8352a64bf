"""The first page: one sentence with its evidence, the scatterplot behind it, the model's card, and how to get the model."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from viewer.compare.cards import whole_card
from viewer.decide.headline import Headline, headline
from viewer.decide.model_files import model_files
from viewer.decide.plot import decision_plot, x_metric_of
from viewer.decide.recommendation import Aim, Recommendation, objectives, recommend
from viewer.decide.runners_up import runners_up
from viewer.decide.wording import loss_texts
from viewer.format.templates import render
from viewer.overview.relaxation import best_curve
from viewer.results.results import Results
from viewer.session.choices import choices
from viewer.session.compared_models import models_on_rail
from viewer.session.state import ViewState
from viewer.session.view import Action, View

__all__ = ["Decide", "prepare_decision"]

_AIMS = {Aim.SMALLEST: "Smallest with", Aim.FASTEST: "Fastest with", Aim.BEST: "Best"}


def prepare_decision(results: Results) -> None:
    """Do now what the first visitor would wait for."""
    state = ViewState()
    quality = choices(results).metric("goal", state)
    decision = recommend(results, _possible_aim(results, state, quality), quality, [])
    headline(results, decision, [])
    runners_up(results, decision, [])


_MOST_NAMED = 12
"""Compared models that have their names in the plot."""


class Decide(View):
    """A page of its own: `draw_page` gives its markup."""

    title: ClassVar[str] = "Decide"
    shows: ClassVar[frozenset[str]] = frozenset({"aim", "goal", "filters", "base", "selected", "setting", "only"})

    def actions(self) -> dict[str, Action]:
        return {
            "explore": self._explore,
        }

    def draw_page(self) -> str:
        results, state = self.session.results, self.state
        decision = self._recommendation()
        sentence = headline(results, decision, state.filters)
        others = runners_up(results, decision, state.filters) if decision.objective else []
        x_metric = x_metric_of(results, decision, choices(results).metric("x", state))
        rail = models_on_rail(self.session)
        picked = [results.row[each.key] for each in rail[:_MOST_NAMED]] if state.selected else []
        plot = decision_plot(results, decision, x_metric, rail, [each.row for each in others] + picked)
        goal = choices(results).metric("goal", state)
        losses = loss_texts(results, goal)
        return render(
            "decide",
            aims=[
                (aim.value, text if aim is Aim.BEST else f"{text} {losses[0]}", bool(objectives(results, goal)[aim]))
                for aim, text in _AIMS.items()
            ],
            losses=losses,
            aim=decision.aim.value,
            goal=goal,
            goals=[
                c
                for c in results.choices
                if results.better(c["name"]) != "neither" and (c["name"] == goal or results.is_at_hand(c["name"]))
            ],
            goal_label=results.label(goal),
            objective=results.label(decision.objective),
            objective_about=results.about(decision.objective),
            sentence=sentence,
            original=results.text.name(results.keys[decision.original]) if decision.original is not None else "",
            name=results.text.name(sentence.key) if sentence.key else "",
            others=[
                {"key": results.keys[each.row], "name": results.text.name(results.keys[each.row]), **_plain(each)}
                for each in others
            ],
            plot=plot,
            budget=results.ranking.filter_texts(state.filters),
            curve=best_curve(results, state, x_metric),
            curve_label=results.label(x_metric),
            **self._model(sentence),
        )

    def _recommendation(self) -> Recommendation:
        results, state = self.session.results, self.state
        base = state.base if state.base in results.row else ""
        quality = choices(results).metric("goal", state)
        return recommend(results, _possible_aim(results, state, quality), quality, state.filters, base)

    def _model(self, sentence: Headline) -> dict[str, Any]:
        """Return the card of the model that is named, and what gets it, if it is to be shipped."""
        results = self.session.results
        if not sentence.key:
            return {"card": "", "tries": [], "files": None, "chosen": False}
        card, tries = whole_card(results, sentence.key)
        return {
            "card": card,
            "tries": tries,
            "files": model_files(results, sentence.key),
            "chosen": sentence.key in self.state.selected,
        }

    def _explore(self, message: Mapping[str, Any]) -> None:
        """Open the overview with the plot's axes."""
        results = self.session.results
        decision = self._recommendation()
        x_metric = x_metric_of(results, decision, choices(results).metric("x", self.state))
        axes = {"x": x_metric, "y": decision.quality} if x_metric and decision.quality else {}
        self.state.change({"page": "overview", **axes})


def _possible_aim(results: Results, state: ViewState, quality: str) -> Aim:
    """Return the aim that a person chose; where nothing tells how good a model is in that, the first that something tells of."""
    possible = [aim for aim, metric in objectives(results, quality).items() if metric]
    return Aim(state.aim) if state.aim in possible or not possible else possible[0]


def _plain(each: Any) -> dict[str, str]:
    return {"value": each.value, "reason": each.reason, "tone": each.tone}
