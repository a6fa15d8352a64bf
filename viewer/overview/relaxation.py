"""The curve of the Budgets pane: the best value of one metric for each bound on another."""

from __future__ import annotations

from typing import Any

from viewer.format.metrics import Better
from viewer.results.budget import End, left_out
from viewer.results.pareto import Bought
from viewer.results.results import Results
from viewer.session.choices import choices
from viewer.session.state import ViewState

__all__ = ["best_curve", "relaxing"]

_LEFT, _RIGHT, _BOTTOM, _TOP = 60.0, 430.0, 126.0, 8.0
"""Where the axes end, in pixels of the picture. The tight end of the budget is on the left, whatever its direction."""
_END = 452.0
"""The best stays the best, however far one goes: the path runs on to where the lines across end."""


def relaxing(results: Results, state: ViewState) -> dict[str, Any] | None:
    """Return what the heading offers, and the curve or a sentence in its place; None without a goal or a budget.

    The budgets on all other metrics stay as they are, except one on the goal itself.
    """
    goal = choices(results).metric("goal", state)
    if not goal or not state.filters:
        return None
    names = [metric for metric, _, _ in state.filters if metric != goal]
    content: dict[str, Any] = {
        "options": [{"name": name, "label": results.label(name)} for name in names],
        "metric": "",
        "curve": None,
        "step": None,
        "text": "",
    }
    if not names:
        return content | {"text": f"A budget on something other than {results.label(goal)} can be relaxed here."}
    metric = state.relax if state.relax in names else names[0]
    others = results.ranking.passing([each for each in state.filters if each[0] not in (metric, goal)])
    steps = results.ranking.relaxation_steps(metric, goal, others)
    content["metric"] = metric
    if len(steps) > 1:
        return content | {"curve": _curve(results, state, metric, goal, steps)}
    if steps:
        return content | {
            "step": _step(results, metric, goal, steps[0]),
            "text": "Relaxing it brings nothing better than",
        }
    return content | {"text": "No model meets the other budgets, so that relaxing this one brings nothing."}


def best_curve(results: Results, state: ViewState, metric: str) -> dict[str, Any] | None:
    """Return the curve of the best as a budget on a metric relaxes, whether there is one or not; None where nothing is gained.

    The budgets on all other metrics stay as they are, except one on the goal itself.
    """
    goal = choices(results).metric("goal", state)
    if not goal or not metric or goal == metric:
        return None
    others = results.ranking.passing([each for each in state.filters if each[0] not in (metric, goal)])
    steps = results.ranking.relaxation_steps(metric, goal, others)
    return _curve(results, state, metric, goal, steps) if len(steps) > 1 else None


def _curve(results: Results, state: ViewState, metric: str, goal: str, steps: list[Bought]) -> dict[str, Any]:
    downwards = results.better(metric) is Better.HIGHER
    filter_ = next((each for each in state.filters if each[0] == metric), (metric, None, None))
    bound = _number(filter_[1], "low") if downwards else _number(filter_[2], "high")
    reached = [step.budget for step in steps] + ([] if bound is None else [bound])
    tight, loose = (max(reached), min(reached)) if downwards else (min(reached), max(reached))
    values = [step.value for step in steps]
    low, high = min(values), max(values)

    def at_x(value: float) -> float:
        return round(_LEFT + _share(value, tight, loose) * (_RIGHT - _LEFT), 1)

    def at_y(value: float) -> float:
        return round(_BOTTOM + _share(value, low, high) * (_TOP - _BOTTOM), 1)

    points = [(at_x(step.budget), at_y(step.value)) for step in steps]
    path = f"M{points[0][0]} {points[0][1]}" + "".join(f"H{x}V{y}" for x, y in points[1:]) + f"H{_END}"
    return {
        "label": results.label(metric),
        "path": path,
        "budget": None if bound is None else {"at": at_x(bound), "text": results.ranking.filter_texts([filter_])[0]},
        "x_ticks": [
            {"at": at_x(value), "text": results.show_value(metric, value)}
            for value in (tight, tight / 2 + loose / 2, loose)
        ],
        "y_ticks": [{"at": at_y(value), "text": results.show_value(goal, value)} for value in (low, high)],
        "steps": [
            {"x": x, "y": y, **_step(results, metric, goal, step)} for (x, y), step in zip(points, steps, strict=True)
        ],
    }


def _number(bound: float | None, end: End) -> float | None:
    """The number that a person gave: of a strict bound the one that it leaves out."""
    number = None if bound is None else left_out(bound, end)
    return bound if number is None else number


def _share(value: float, start: float, stop: float) -> float:
    """Return a value's place from start (0) to stop (1). By halves: between the largest floats is more than a float holds."""
    return (value / 2 - start / 2) / ((stop / 2 - start / 2) or 1.0)


def _step(results: Results, metric: str, goal: str, step: Bought) -> dict[str, str]:
    key = results.keys[step.row]
    name, budget = results.text.name(key), results.show_value(metric, step.budget)
    value = results.show_value(goal, step.value)
    return {
        "key": key,
        "name": name,
        "value": value,
        "budget": f"{results.label(metric)} {budget}",
        "text": f"{results.label(metric)} {budget}: {name}, {value}",
    }
