"""What is said of the model under the pointer; made when asked for, so that no page carries 5,000 of them."""

from __future__ import annotations

from collections.abc import Mapping
from math import isfinite, nan
from typing import Any

from viewer.forest import Node, Outcome
from viewer.markup import render
from viewer.study import Study
from viewer.views.view import Action, View

__all__ = ["HoverCard"]

_MOST_PARAMETERS = 12


class HoverCard(View):
    """Answers `hover` messages."""

    def actions(self) -> dict[str, Action]:
        return {"hover": self._hover}

    def _hover(self, message: Mapping[str, Any]) -> None:
        key = str(message.get("key"))
        found = self.card(key)
        if found is None:
            return
        title, markup = found
        self.desk.send("card", {"key": key, "html": markup, "text": title, "aloud": bool(message.get("aloud"))})

    def card(self, key: str) -> tuple[str, str] | None:
        """Return the title and the markup for a model, a step without model, or a bundle of a sweep."""
        study = self.desk.study
        if key in study.forest:
            node = study.forest[key]
            return node.label, model_card(study, node, hint=_hint(study, key))
        bundle = study.bundle(key)
        if bundle is None:
            return None
        rows = [study.row[member] for member in bundle.members if member in study.row]
        facts = [
            {"label": study.label(m.name), "value": _span(study, m.name, rows), "change": "", "tone": ""}
            for m in study.primary
        ]
        title = f"{len(bundle.members)} times {bundle.op.replace('_', ' ') or 'steps'}"
        below = len(bundle.models) - len(bundle.members)
        return title, render(
            "card", title=title, subtitle=f"with {below} models below them" if below else "", status="", operation="",
            parameters=[(bundle.parameter.replace("_", " "), bundle.span)] if bundle.parameter else [],
            rows=facts if rows else [], against="", trouble=[], hint="Click selects all, double-click draws each.",
        )  # fmt: skip


def model_card(study: Study, node: Node, hint: str = "") -> str:
    """Return the markup of a model's facts: operation, parameters, metrics, and what changed since its parent."""
    parent = study.forest.parent(node.key)
    against = f"against {study.forest[parent].label}" if parent is not None and parent in study.row else ""
    made = node.key in study.row
    rows = [
        {
            "label": study.label(metric.name),
            "value": study.show(metric.name, study.row[node.key], interval=True),
            **(study.change(metric.name, node.key, parent) if against else {"change": "", "tone": ""}),
        }
        for metric in (study.primary if made else [])
    ]
    status = (
        ""
        if node.outcome is Outcome.DONE
        else f"{node.outcome.value.capitalize()}: {node.reason or 'no reason was recorded'}"
    )
    parameters = study.parameters(node)
    return render(
        "card",
        title=node.label,
        subtitle=node.name if node.name != node.label else "",
        status=status,
        operation=node.op,
        parameters=parameters[:_MOST_PARAMETERS],
        rows=rows,
        against=against,
        trouble=study.snapshot.trouble.get(node.key, []),
        hint=hint,
    )


def _hint(study: Study, key: str) -> str:
    below = len(study.forest.descendants(key))
    return f"Double-click to fold its {below} descendants." if below else ""


def _span(study: Study, metric: str, rows: list[int]) -> str:
    known = [value for row in rows if isfinite(value := study.values(metric)[row])]
    if not known:
        return study.show_value(metric, nan)
    low, high = study.show_value(metric, min(known)), study.show_value(metric, max(known))
    return low if low == high else f"{low} to {high}"
