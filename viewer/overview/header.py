"""The bar at the top: what is open, the pages, search, compare, and what can be taken away."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from pipeline.core.units import format_seconds
from pipeline.store.heartbeat import RunProgress, is_alive, read_progress
from viewer.format.templates import render
from viewer.results.experiments import FACETS
from viewer.results.lineage import StepOutcome
from viewer.session.compared_models import matching_models
from viewer.session.url import write_link
from viewer.session.view import Action, View

__all__ = ["Header"]

_MOST_HITS = 12
_MOST_VALUES = 40


class Header(View):
    """Pages are given as (name, title), so that the bar need not know them."""

    panes: ClassVar[Mapping[str, frozenset[str]]] = {
        "study": frozenset({"setting", "only"}),
        "pages": frozenset({"page"}),
        "actions": frozenset({"selected", "theme"}),
        "notice": frozenset(),
        "found": frozenset({"selected"}),
        "side_tabs": frozenset({"pane", "selected", "filters"}),
    }
    titles: Mapping[str, str] = {}
    _activity: tuple[str, str] = ("", "")

    def actions(self) -> dict[str, Action]:
        return {
            "compare": lambda message: self.state.change({"page": "compare"}),
            "dismiss": self._dismiss,
            "search": self._search,
            "find": self._find,
            "scope": self._scope,
            "copy_link": self._copy_link,
            "copy_text": lambda message: self.session.send("copy", str(message.get("text", ""))),
        }

    def draw_study(self) -> str:
        results = self.session.results
        self._activity = self._run_activity()
        lost = dict.fromkeys((StepOutcome.FAILED, StepOutcome.SKIPPED), 0)
        for node in results.forest:
            if node.outcome in lost:
                lost[node.outcome] += 1
        total, here = len(results.keys), int(results.scope.sum())
        parts = [f"{here:,} of {total:,} models" if here < total else f"{total:,} model{'' if total == 1 else 's'}"]
        parts += [f"{count} {outcome}" for outcome, count in lost.items() if count]
        return render(
            "study",
            text=" · ".join(parts),
            file=results.snapshot.path.name,
            activity=self._activity[0],
            progress=self._activity[1],
            experiment=self._experiment(),
            contexts=results.snapshot.contexts,
            current=results.context.id,
            facets=self._facets(),
            only=self.state.only,
            chosen=[value for values in self.state.only.values() for value in values],
        )

    def _run_activity(self) -> tuple[str, str]:
        """Return `running` and how far it is if a run gives signs of life, `stopped` if the latest one has no end and gives none."""
        snapshot = self.session.results.snapshot
        alive = [run for run in snapshot.unfinished if is_alive(snapshot.path, run)]
        if alive:
            texts = (progress_text(progress) for run in alive if (progress := read_progress(snapshot.path, run)))
            return "running", "; ".join(texts)
        return ("stopped" if set(list(snapshot.runs)[-1:]) & set(snapshot.unfinished) else ""), ""

    def _experiment(self) -> str:
        """Name the recipe, or the imported file, that the models in scope are of; nothing where they are of several."""
        recipes = self.session.results.experiments.counts("recipe")
        return next(iter(recipes)) if len(recipes) == 1 else ""

    def look_again(self) -> None:
        """Say how far a run is, and that it has stopped, which publishes nothing."""
        if self._run_activity() != self._activity:
            self.session.send("panes", {"study": self.draw_study()})

    def _facets(self) -> list[dict[str, Any]]:
        """Return what tells the experiments at hand apart: of many values the first ones."""
        experiments = self.session.results.experiments
        return [
            {
                "name": facet,
                "label": FACETS[facet],
                "values": list(counts.items())[:_MOST_VALUES],
                "left": len(counts) - _MOST_VALUES,
            }
            for facet in FACETS
            if facet in experiments.telling and (counts := experiments.counts(facet))
        ]

    def _scope(self, message: Mapping[str, Any]) -> None:
        """A value of a facet was chosen or given up; without a facet all models are in scope again."""
        facet, value = str(message.get("facet", "")), str(message.get("value", ""))
        own = list(self.state.only.get(facet, ()))
        own = [each for each in own if each != value] if value in own else [*own, value]
        choice = {**self.state.only, facet: own} if facet in FACETS else {}
        known = self.session.results.experiments.existing(choice)
        narrow = self.session.results.only(known)
        self.state.change({"only": known})
        self.state.pick([key for key in self.state.selected if key not in narrow.row or narrow.scope[narrow.row[key]]])

    def draw_pages(self) -> str:
        pages = [{"name": name, "title": title} for name, title in self.titles.items()]
        return render("pages", pages=pages, current=self.state.page)

    def draw_actions(self) -> str:
        return render("actions", chosen=len(self.state.selected), theme=self.state.theme)

    def draw_notice(self) -> str:
        return self.session.draw_notice()

    def draw_side_tabs(self) -> str:
        results, state = self.session.results, self.state
        return render(
            "side_tabs",
            pane=state.pane,
            chosen=len(state.selected),
            filters=state.filters,
            passing=int(results.ranking.passing(state.filters).sum()),
            total=int(results.scope.sum()),
        )

    def draw_found(self) -> str:
        return render("found", text="", hits=[], more=0)

    def _dismiss(self, message: Mapping[str, Any]) -> None:
        self.session.notices = []
        self.session.send("panes", {"notice": self.draw_notice()})

    def _search(self, message: Mapping[str, Any]) -> None:
        text = str(message.get("text", "")).strip()
        results = self.session.results
        matches = matching_models(self.session, text)
        models = self.session.known_models(matches)
        if message.get("submitted") and models:
            self._show(models)
            self.session.send("panes", {"found": self.draw_found()})
            return
        hits = [
            {"key": key, "name": results.text.name(key), "path": results.forest[key].name}
            for key in matches[:_MOST_HITS]
        ]
        markup = render("found", text=text, hits=hits, more=max(0, len(matches) - _MOST_HITS))
        self.session.send("panes", {"found": markup})

    def _find(self, message: Mapping[str, Any]) -> None:
        keys = [key for key in [str(message.get("key"))] if key in self.session.results.forest]
        if keys:
            self._show(keys, add=bool(message.get("add")))
        self.session.send("panes", {"found": self.draw_found()})

    def _show(self, keys: list[str], *, add: bool = False) -> None:
        """Select models and bring them into sight, whatever page is open; a step without a model is on the map alone."""
        page = self.state.page
        is_model = keys[0] in self.session.results.row
        self.state.pick([*self.state.selected, *keys] if add or (page == "compare" and is_model) else keys)
        if not is_model:
            self.state.change({"page": "overview"})
        self.session.reveal(keys[0])

    def _copy_link(self, message: Mapping[str, Any]) -> None:
        self.session.send("copy_link", write_link(self.state, self.session.keys))


def progress_text(progress: RunProgress) -> str:
    """Say how far a run is: "96 of 113 jobs, about 2 min 05 s left"."""
    seconds = progress.seconds_left
    rest = f", about {format_seconds(seconds)} left" if seconds is not None and progress.done < progress.total else ""
    return f"{progress.done:,} of {progress.total:,} {progress.unit}{rest}"
