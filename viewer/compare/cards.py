"""Cards about one model, step or sweep, under the pointer and in the selection's pane."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from math import isfinite, nan
from typing import Any

from markupsafe import Markup

from pipeline.delivery.branches.offer import offer_of
from viewer.branch.drafts import names_a_step
from viewer.format.metrics import MetricInfo
from viewer.format.templates import render
from viewer.map.appearance import appearance
from viewer.map.bundles import Bundle
from viewer.results.lineage import Node, StepOutcome
from viewer.results.results import Results
from viewer.session.state import ViewState

__all__ = ["bundle_card", "fold_buttons", "model_card", "selected_alone", "selection", "whole_card"]

_MOST_PARAMETERS = 12
_MOST_LINTS = 3
"""On the card under the pointer, which must stay small."""


def model_card(results: Results, node: Node, hint: str = "", *, whole: bool = False, offered: bool = False) -> str:
    """Return the markup of a model's facts: operation, parameters, metrics, what changed since its parent, what is odd.

    Args:
        results: those at hand.
        node: of the model.
        hint: what a click does.
        whole: with everything that is odd, and what to try.
        offered: whether a worker would try it.
    """
    brief, name = node.brief, results.text.name(node.key)
    parent = results.forest.parent(node.key)
    against = f"against {results.text.name(parent)}" if parent is not None and parent in results.row else ""
    exists = node.key in results.row
    rows = [
        {
            "label": results.label(metric.name),
            "about": results.about(metric.name),
            **results.figure(metric.name, node.key, parent if against else None),
            "confirmed": results.confirmed(metric.name, node.key),
        }
        for metric in (_metrics_of(results, results.row[node.key]) if exists else [])
    ]
    status = (
        ""
        if node.outcome is StepOutcome.DONE
        else f"{node.outcome.value.capitalize()}: {node.reason or 'no reason was recorded'}"
    )
    return render(
        "card",
        title=name,
        subtitle=node.name if node.name != name else "",
        status=status,
        operation=node.op.replace("_", " "),
        telling=results.text.telling_text(brief),
        parameters=results.text.parameters(node) if whole else _untold(results, brief)[:_MOST_PARAMETERS],
        folded=whole,
        rows=rows,
        against=against,
        trouble=results.snapshot.trouble.get(node.key, []),
        lints=_lints(results, node.key, whole=whole),
        hint=hint,
        key=node.key,
        offered=offered,
    )


def _metrics_of(results: Results, row: int) -> list[MetricInfo]:
    """Return the primary metrics that a model has, and those that others of its data have."""
    expected = [] if results.elsewhere[row] else [spec.name for spec in results.primary]
    primary = [spec for spec in results.metrics if spec.primary] or results.metrics
    return [spec for spec in primary if spec.name in expected or isfinite(results.values(spec.name)[row])]


def bundle_card(results: Results, bundle: Bundle) -> tuple[str, str]:
    """Return title and markup for the models of a sweep that are drawn as one."""
    rows = [results.row[member] for member in bundle.members if member in results.row]
    facts = [
        {
            "label": results.label(m.name),
            "about": results.about(m.name),
            "value": _span(results, m.name, rows),
            "change": "",
            "tone": "",
            "confirmed": None,
        }
        for m in results.primary
    ]
    title = f"{len(bundle.members)} times {bundle.op.replace('_', ' ') or 'steps'}"
    below = len(bundle.models) - len(bundle.members)
    return title, render(
        "card",
        title=title,
        subtitle=f"with {below} models below them" if below else "",
        status="",
        operation="",
        telling="",
        folded=False,
        parameters=[(bundle.parameter.replace("_", " "), bundle.span)] if bundle.parameter else [],
        rows=facts if rows else [],
        against="",
        trouble=[],
        lints=None,
        hint="Click selects all, double-click draws each.",
        key="",
        offered=False,
    )


def whole_card(results: Results, key: str) -> tuple[Markup, list[dict[str, str]]]:
    """Return a model's card with all that is odd, and the buttons that belong below it: where a worker lives, what to try."""
    offered = key in results.row and offer_of(results.snapshot.path) is not None
    card = Markup(model_card(results, results.forest[key], whole=True, offered=offered))  # a template has escaped it
    return card, _tries(results, key, offered=offered)


def selected_alone(results: Results, state: ViewState, key: str) -> str:
    """Return the selection's pane when this model is all that is selected."""
    card, tries = whole_card(results, key)
    return selection(card=card, buttons=[*fold_buttons(results, state, [key]), *tries])


def _tries(results: Results, key: str, *, offered: bool) -> list[dict[str, str]]:
    """Offer to add a step below a model, or to change its own."""
    if not offered:
        return []
    parent = results.forest.parent(key)
    buttons = [{"do": "try", "key": key, "how": "below", "text": "Try a step below it …"}]
    if parent in results.row:
        buttons.append({"do": "try", "key": key, "how": "instead", "text": "Try other parameters …"})
    return buttons


def selection(**parts: Any) -> str:
    """Return the selection's pane of these parts."""
    return render("selection", **{**_BLANK, **parts})


def fold_buttons(results: Results, state: ViewState, keys: Sequence[str]) -> list[dict[str, str]]:
    """Offer to fold or open what is selected: a model's descendants, or the sweep that the models are of."""
    layout = appearance(results).layout(state.arrange, state.opened, state.closed)
    units = dict.fromkeys(layout.owner.get(key, "") for key in keys)
    buttons = []
    if len(units) == 1 and (position := layout.positions.get(next(iter(units)))) is not None:
        if position.hidden:
            buttons.append({"do": "fold", "key": position.id, "text": f"Draw all {position.hidden} on the map"})
        elif position.can_fold and len(keys) == 1:
            buttons.append({"do": "fold", "key": position.id, "text": "Fold its descendants"})
    inside = {layout.positions[unit].inside for unit in units if unit in layout.positions}
    if len(inside) == 1 and inside != {""}:
        buttons.append({"do": "fold", "key": inside.pop(), "text": "Draw the sweep as one"})
    return buttons


def _untold(results: Results, node: Node) -> list[tuple[str, str]]:
    """Return the parameters that say something and are not in the line that tells the model from others."""
    params = {
        name: value
        for name, value in node.params.items()
        if value not in ([], {}, "") and not results.text.telling_text(replace(node, params={name: value}))
    }
    return results.text.parameters(replace(node, params=params))


def _lints(results: Results, key: str, *, whole: bool) -> dict[str, Any] | None:
    lints = results.snapshot.lints.get(key, [])
    if not lints:
        return None
    first = lints if whole else lints[:_MOST_LINTS]
    rows = [
        {
            "rule": lint.rule.replace("_", " ") + (f" on {lint.target}" if lint.target else ""),
            "message": lint.message,
            "advice": lint.advice if whole else "",
            "can_try": names_a_step(lint.advice),
        }
        for lint in first
    ]
    return {"rows": rows, "left": len(lints) - len(first)}


def _span(results: Results, metric: str, rows: list[int]) -> str:
    finite = [value for row in rows if isfinite(value := results.values(metric)[row])]
    if not finite:
        return results.show_value(metric, nan)
    low, high = results.show_value(metric, min(finite)), results.show_value(metric, max(finite))
    return low if low == high else f"{low} to {high}"


_BLANK: dict[str, Any] = {
    "empty": "",
    "card": "",
    "count": 0,
    "sentence": "",
    "confounded": False,
    "clean": 0,
    "buttons": [],
    "colors": [],
    "color_name": "",
    "variables": [],
    "refine_open": False,
    "refined": 0,
    "x_name": "",
    "facet_name": "",
    "charts": [],
    "note": "",
    "best": None,
}
