"""Why this model and not the next: those that would be better by the aim or come right behind, with what decides of each."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from viewer.decide.recommendation import Aim, Recommendation, tells_losses
from viewer.decide.wording import gain_text
from viewer.format.metrics import Better
from viewer.results.snapshot import BROKEN

if TYPE_CHECKING:
    from collections.abc import Sequence

    from viewer.results.budget import Range
    from viewer.results.results import Results

__all__ = ["RunnerUp", "runners_up"]

_AHEAD, _BEHIND = 3, 2


@dataclass(frozen=True, slots=True)
class RunnerUp:
    """A model that is not recommended."""

    row: int
    value: str
    """In the metric of the aim."""
    reason: str
    """The one figure, or fact, that decides."""
    tone: str
    """`bad` where it is a loss, else empty."""


def runners_up(results: Results, decision: Recommendation, filters: Sequence[Range]) -> list[RunnerUp]:
    """Return those right ahead of the model to ship by the bare values of the objective, and those right behind it.

    Without a model to ship, the best by the objective.
    """
    values = results.values(decision.objective)
    here = results.scope & ~results.elsewhere & np.isfinite(values)
    sign = -1.0 if results.better(decision.objective) is Better.HIGHER else 1.0
    goods = results.values(decision.quality)
    worse = -1.0 if results.better(decision.quality) is Better.LOWER else 1.0
    ties = np.nan_to_num(-worse * goods, nan=np.inf)
    rows = [row for row in np.lexsort((ties, sign * values)).tolist() if here[row]]
    if decision.row is None:
        near = rows[: _AHEAD + _BEHIND]
    else:
        at = rows.index(decision.row)
        near = rows[max(0, at - _AHEAD) : at] + rows[at + 1 : at + 1 + _BEHIND]
    return [_runner_up(results, decision, filters, row) for row in near]


def _runner_up(results: Results, decision: Recommendation, filters: Sequence[Range], row: int) -> RunnerUp:
    reason, tone = _reason(results, decision, filters, row)
    return RunnerUp(row, results.show(decision.objective, row), reason, tone)


def _reason(results: Results, decision: Recommendation, filters: Sequence[Range], row: int) -> tuple[str, str]:
    key = results.keys[row]
    if not results.sound[row]:
        lints = results.snapshot.lints.get(key, [])
        return next((lint.message for lint in lints if lint.rule in BROKEN), "broken"), "bad"
    if not decision.within[row]:
        return _outside(results, filters, row), "bad"
    if not decision.lossless[row]:
        return _loss(results, decision.quality, key, decision.original), "bad"
    if results.unsure(decision.objective)[row]:
        return "timed roughly or while others used the machine: such times win nothing", ""
    return _qualified(results, decision, row), ""


def _qualified(results: Results, decision: Recommendation, row: int) -> str:
    """Say what decides between a model that qualifies and the one to ship."""
    if decision.row is None:
        return "qualifies"
    key, winner, objective = results.keys[row], results.keys[decision.row], decision.objective
    if row in decision.alike:
        return f"cannot be told apart from it: {_against(results, decision, key, winner)}"
    if decision.aim is not Aim.BEST and results.show(objective, row) == results.show(objective, decision.row):
        change = results.change(decision.quality, key, winner)["change"]
        return f"the same {results.label(objective)} as shown; {results.label(decision.quality)} {change} against it"
    return f"qualifies, but {_against(results, decision, key, winner)}"


def _outside(results: Results, filters: Sequence[Range], row: int) -> str:
    """Name the first bound that a model breaks, with its value."""
    for each in filters:
        if not results.ranking.passing([each])[row]:
            bound = results.ranking.filter_texts([each])[0]
            return f"outside the budget: {results.label(each[0])} {results.show(each[0], row)} ({bound})"
    return "outside the budget"


def _loss(results: Results, quality: str, key: str, original: int | None) -> str:
    if original is None or not np.isfinite(results.values(quality)[results.row[key]]):
        return f"{results.label(quality)} was not measured"
    against = results.keys[original]
    change = results.change(quality, key, against)["change"]
    measurable = "measurable " if results.has_known_noise(quality) else ""  # else the change says that it is unknown
    what = "loss" if tells_losses(results, quality) else "disadvantage"
    return f"{measurable}{what}: {results.label(quality)} {change} against {results.text.name(against)}"


def _against(results: Results, decision: Recommendation, key: str, winner: str) -> str:
    if decision.aim is Aim.BEST:
        return f"{results.label(decision.objective)} {results.change(decision.objective, key, winner)['change']}"
    return gain_text(results, decision.objective, key, winner)
