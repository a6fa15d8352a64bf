"""Report of a search in words: the best, the front, what more time or a larger budget would buy, and what was not met."""

from __future__ import annotations

from collections.abc import Iterator, Sequence, Set
from dataclasses import asdict, dataclass
from typing import Any

from pipeline.delivery.choice import ChoiceError, FrontModel, alike_models, front_models
from pipeline.delivery.search.budget import Bound, Goal, amount_text, figures_text, relaxed
from pipeline.delivery.search.search import SearchOutcome
from pipeline.delivery.search.study import TrialOutcome
from pipeline.measure.metrics.size import file_bytes

__all__ = ["SearchReport", "report_json", "report_of", "report_text"]

_SIZE = file_bytes.__name__
"""The other metric of the front where there is one goal and no bound on another metric."""
_FEWEST = 8
"""Chains from which a second half says something."""


@dataclass(frozen=True, slots=True)
class SearchReport:
    """The end of a search."""

    outcome: SearchOutcome
    best: TrialOutcome | None
    """Best by the first goal of those within the budget; None: no chain keeps it."""
    alike: int
    """How many others within the budget cannot be told apart from it by that goal."""
    front_metrics: tuple[str, str]
    front: tuple[FrontModel, ...]
    """Models that no other of the search measurably beats, models on the way included."""
    more_time: str
    more_budget: tuple[str, ...]
    misses: tuple[str, ...]
    """Of each bound that no chain keeps: the nearest, and by how much it misses. And of the whole budget."""


def report_of(outcome: SearchOutcome) -> SearchReport:
    """Compare what a search has tried.

    The front is the viewer's: models stand or fall together where a paired comparison cannot tell them apart.
    """
    measured = [each for each in outcome.trials if each.values is not None]
    goal, bounds = outcome.goals[0], outcome.bounds
    best = _best(measured, goal, bounds)
    alike = _alike(outcome, best, measured)
    x, y = _front_metrics(outcome)
    models = sorted({each.model for each in measured})
    front = tuple(front_models(outcome.results, x, y, models)) if models else ()
    _check_same_data(outcome, front, y, measured)
    return SearchReport(
        outcome=outcome,
        best=best,
        alike=len({each.model for each in measured if each.model in alike and _keeps(each, bounds)}),
        front_metrics=(x, y),
        front=front,
        more_time=_more_time(outcome, measured, alike),
        more_budget=tuple(_more_budget(measured, goal, bounds, best, alike)),
        misses=tuple(_misses(measured, bounds)) if best is None else (),
    )


def _check_same_data(
    outcome: SearchOutcome, front: Sequence[FrontModel], y: str, trials: Sequence[TrialOutcome]
) -> None:
    """The viewer compares models on one data set of the results; of another its front would be that of other figures."""
    figures = {each.model: each.figures.get(y) for each in trials}
    for each in front:
        own = figures.get(each.key)
        if own is not None and own != each.y:
            raise ChoiceError(
                f"{outcome.results} has these models evaluated on other data too, which their comparison would be of. All is tried and kept; "
                "search into results of their own: results=FILE"
            )


def _front_metrics(outcome: SearchOutcome) -> tuple[str, str]:
    """The metric that is costs and the goal."""
    first, *others = (goal.name for goal in outcome.goals)
    costs = [bound.metric.metric for bound in outcome.bounds if bound.metric.metric != first]
    return (others or [each for each in costs if each == _SIZE] or costs or [_SIZE])[0], first


def _keeps(trial: TrialOutcome, bounds: Sequence[Bound]) -> bool:
    return all(bound.excess(trial.figures, trial.top) <= 0 for bound in bounds)


def _best(measured: Sequence[TrialOutcome], goal: Goal, bounds: Sequence[Bound]) -> TrialOutcome | None:
    sign = 1 if goal.is_maximized else -1
    within = [each for each in measured if _keeps(each, bounds)]
    return max(within, key=lambda each: sign * each.figures[goal.name], default=None)


def _alike(outcome: SearchOutcome, best: TrialOutcome | None, measured: Sequence[TrialOutcome]) -> frozenset[str]:
    """Return the chains, within the budget or not, that the viewer's comparison cannot tell from the best: their keys."""
    if best is None:
        return frozenset()
    models = sorted({each.model for each in measured})
    return frozenset(alike_models(outcome.results, outcome.goals[0].name, best.model, models))


# ---- more of what
def _more_time(outcome: SearchOutcome, measured: Sequence[TrialOutcome], alike: Set[str]) -> str:
    """Return a sentence on what twice the time would buy, by what the second half of the time has bought."""
    if outcome.is_exhausted:
        return "Every chain of the recipe was tried: more time buys nothing."
    paid = [each for each in measured if each.seconds > 0]
    if len(paid) < _FEWEST:
        return f"What more time would buy cannot be said of {len(paid)} chains; of {_FEWEST} it can."
    half, costs, first = sum(each.seconds for each in paid) / 2, 0.0, []
    for each in paid:
        costs += each.seconds
        if costs > half:
            break
        first.append(each)
    return _second_half(outcome, first, paid, alike)


def _second_half(
    outcome: SearchOutcome, first: Sequence[TrialOutcome], paid: Sequence[TrialOutcome], alike: Set[str]
) -> str:
    goal, basis = outcome.goals[0], f"{len(paid) - len(first)} chains"
    before, after = (_best(some, goal, outcome.bounds) for some in (first, paid))
    if after is None:
        return f"No chain keeps the budget; the second half of the time ({basis}) has not changed that."
    if before is None:
        return f"The first chain within the budget came in the second half of the time ({basis}): more time may well buy more."
    ends = [amount_text(each.figures[goal.name], goal.metric) for each in (before, after)]
    if before.figures[goal.name] == after.figures[goal.name]:
        end = f"not improved on the best ({ends[0]}): twice the time would buy little"
    elif before.model in alike:
        end = f"moved the best from {ends[0]} to {ends[1]}, within noise: twice the time would buy little that these data show"
    else:
        end = f"moved the best from {ends[0]} to {ends[1]}: if gains go on to shrink, twice the time would buy less than that again"
    return f"The second half of the time ({basis}) has {end}."


def _more_budget(
    measured: Sequence[TrialOutcome],
    goal: Goal,
    bounds: Sequence[Bound],
    best: TrialOutcome | None,
    alike: Set[str],
) -> Iterator[str]:
    """Yield a sentence on what a bound of twice the size would have let in, of what was tried."""
    for loose, others in relaxed(bounds):
        other = _best(measured, goal, others)
        sign = "<=" if loose.is_upper else ">="
        what = f"{loose.metric.metric}{'' if loose.figure == 'value' else f' {loose.figure}'} {sign} {loose.text_of(loose.bound)}"
        if other is None:
            yield f"With {what}: still nothing."
        elif best is None or other.figures[goal.name] != best.figures[goal.name]:
            noise = ", which cannot be told apart from the best" if other.model in alike else ""
            yield f"With {what}: {other.path}, {goal.name} {amount_text(other.figures[goal.name], goal.metric)}{noise}."
        else:
            yield f"With {what}: nothing better."


def _misses(measured: Sequence[TrialOutcome], bounds: Sequence[Bound]) -> Iterator[str]:
    met = []
    for bound in bounds:
        nearest = min(measured, key=lambda each: bound.excess(each.figures, each.top), default=None)
        if nearest is None:
            continue
        excess = bound.excess(nearest.figures, nearest.top)
        if excess <= 0:
            met.append(bound)
            continue
        value = bound.text_of(bound.figure_of(nearest.figures, nearest.top))
        yield f"{bound.text}: nearest is {nearest.path} with {value}, {bound.text_of(excess)} beyond."
    if measured and len(met) == len(bounds):
        nearest = min(measured, key=lambda each: sum(max(0.0, value) for value in each.constraints.values()))
        broken = [bound for bound in bounds if bound.excess(nearest.figures, nearest.top) > 0]
        parts = ", ".join(
            f"{bound.text} by {bound.text_of(bound.excess(nearest.figures, nearest.top))}" for bound in broken
        )
        yield f"Each bound is kept by some chain, and none keeps all. Nearest is {nearest.path}; it breaks {parts}."


# ---- in words
def report_text(report: SearchReport, confirmation: str = "") -> str:
    """Return a report for people.

    Args:
        report: of the search.
        confirmation: what `confirm_best` says; empty: nothing was asked for.
    """
    outcome = report.outcome
    if outcome.impossible:
        return "\n".join(
            ["No chain can keep the budget, and none was run:", *(f"  {each}" for each in outcome.impossible)]
        )
    measured = [each for each in outcome.trials if each.values is not None]
    lines = [f"{len(measured)} of {len(outcome.trials)} chains measured in {outcome.seconds / 60:.3g} minutes"]
    if report.best is None:
        lines += [
            "",
            "No chain keeps the budget:" if outcome.bounds else "No chain was measured.",
            *_indented(report.misses),
        ]
    else:
        alike = f"; {report.alike} others cannot be told apart from it" if report.alike else ""
        lines += [
            "",
            f"Best: {report.best.path}",
            f"  {figures_text(report.best.figures, report.best.top, outcome.goals, outcome.bounds)}{alike}",
        ]
    x, y = report.front_metrics
    if report.front:
        lines += ["", f"Front of {y} and {x}: models that no other of the search measurably beats"]
        specs = _specs(outcome)
        lines += [
            f"  {each.name}: {y} {amount_text(each.y, specs[y])}, {x} {amount_text(each.x, specs[x])}"
            for each in report.front
        ]
    lines += ["", report.more_time, *report.more_budget]
    if confirmation:
        lines += ["", confirmation]
    lines += ["", f"All of it: {outcome.results}"]
    return "\n".join(lines)


def _indented(lines: Sequence[str]) -> list[str]:
    return [f"  {line}" for line in lines]


def _specs(outcome: SearchOutcome) -> dict[str, Any]:
    from pipeline.measure.metrics.definitions import metric_records

    return {each.metric: each for each in metric_records()}


def report_json(report: SearchReport) -> dict[str, Any]:
    """Return a report for programs."""
    outcome = report.outcome
    return {
        "best": None if report.best is None else asdict(report.best),
        "alike": report.alike,
        "front": {
            "x": report.front_metrics[0],
            "y": report.front_metrics[1],
            "models": [each._asdict() for each in report.front],
        },
        "trials": [asdict(each) for each in outcome.trials],
        "seconds": outcome.seconds,
        "is_exhausted": outcome.is_exhausted,
        "impossible": list(outcome.impossible),
        "more_time": report.more_time,
        "more_budget": list(report.more_budget),
        "misses": list(report.misses),
    }
