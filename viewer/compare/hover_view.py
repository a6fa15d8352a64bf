"""The card of the model under the pointer; made on demand, so that no page carries 5,000 of them."""

from __future__ import annotations

from collections.abc import Mapping, Set

from viewer.compare.cards import bundle_card, model_card, selected_alone
from viewer.map.appearance import appearance
from viewer.results.results import Results
from viewer.session.choices import choices
from viewer.session.view import RESULTS, Action, View

__all__ = ["HoverCard"]

_FOLDS = frozenset({"arrange", "opened", "closed"})


class HoverCard(View):
    """Answers `hover` messages."""

    def actions(self) -> dict[str, Action]:
        return {"hover": self._hover}

    def update(self, changed: Set[str]) -> None:
        super().update(changed)
        if changed & (_FOLDS | {RESULTS}):
            self.session.send("forget", True)

    def _hover(self, message: Mapping[str, object]) -> None:
        """With the card goes what its model's selection will show, so that a click need not wait for the answer."""
        key = str(message.get("key"))
        content = self.card(key)
        if content is None:
            return
        title, markup = content
        results = self.session.results
        if message.get("aloud"):
            self.session.send("say", self._words(key, title))
            return
        alone = selected_alone(results, self.state, key) if key in results.forest else ""
        self.session.send("card", {"key": key, "html": markup, "alone": alone})

    def _words(self, key: str, title: str) -> str:
        """Say a mark to who moves by keys: its name, where the scatterplot has it, and its state."""
        results, state = self.session.results, self.state
        words, row = [title], results.row.get(key)
        if row is not None:
            axes = dict.fromkeys(choices(results).metric(axis, state) for axis in ("x", "y"))
            words += [
                f"{results.label(metric)} {results.show_value(metric, results.values(metric)[row])}"
                for metric in axes
                if metric
            ]
            words += ["outside the budget"] * (not choices(results).visible_rows(state)[row])
        return ", ".join(words + ["selected"] * (key in state.selected))

    def card(self, key: str) -> tuple[str, str] | None:
        """Return the title and the markup for a model, a step without model, or a bundle of a sweep."""
        results = self.session.results
        if key in results.forest:
            node = results.forest[key]
            return results.text.name(key), model_card(results, node, hint=_hint(results, key))
        bundle = appearance(results).bundle(key)
        return None if bundle is None else bundle_card(results, bundle)


def _hint(results: Results, key: str) -> str:
    below = len(results.forest.descendants(key))
    return f"Double-click to fold its {below} descendant{'' if below == 1 else 's'}." if below else ""
