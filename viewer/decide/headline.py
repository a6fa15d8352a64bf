"""The sentence of the first page, with its evidence: which model to ship, or why none can be named and what comes nearest."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from viewer.decide.class_evidence import class_evidence
from viewer.decide.recommendation import Aim, Recommendation, tells_losses
from viewer.decide.wording import gain_text, loss_texts, quoted_names, ratio_text
from viewer.format.metrics import Better, MetricRole
from viewer.overview.near_miss import near_miss
from viewer.results.queries import StoreError
from viewer.session.proposals import size_metric, speed_metric

if TYPE_CHECKING:
    from viewer.results.budget import Range
    from viewer.results.results import Results

__all__ = ["Headline", "Statement", "headline"]

_GAINS = {Aim.SMALLEST: "smaller", Aim.FASTEST: "faster"}
_SHOWN_TIES = 3
_TESTS = "Error rates on the same instances: exact McNemar tests at 5 %, corrected for the number of classes (Holm)."


@dataclass(frozen=True, slots=True)
class Statement:
    """One part of the evidence."""

    text: str
    tone: str = ""
    """`good`, `bad`, `soft` or empty."""
    about: str = ""
    """The figures behind it."""


@dataclass(frozen=True, slots=True)
class Headline:
    """The sentence in parts: `before`, the model's name, `after`."""

    before: str = ""
    key: str = ""
    """The model that is named; empty where none is."""
    after: str = ""
    evidence: list[Statement] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    """What else must be measurable: ties, noise that is not known."""
    is_answer: bool = True
    """Whether the model that is named is the one to ship."""

    def text(self, name: str) -> str:
        """The whole sentence, with the model's name."""
        parts = ", ".join(each.text for each in self.evidence)
        whole = f"{self.before}{f'“{name}”' if self.key else ''}{self.after}"
        return whole + (f": {parts}" if parts else "")


def headline(results: Results, decision: Recommendation, filters: Sequence[Range]) -> Headline:
    """Say which model to ship, or why there is none."""
    if decision.row is None:
        return _nothing(results, decision, filters)
    key = results.keys[decision.row]
    original = None if decision.original is None else results.keys[decision.original]
    within = " within the budget" if filters else ""
    notes = [*_confirmed(results, decision, key), *_against_what(results, decision), *_notes(results, decision)]
    if decision.aim is Aim.BEST:
        value = results.show(decision.objective, decision.row, interval=True)
        label = results.label(decision.objective)
        evidence = [Statement(f"{label} {value}"), *_against(results, decision, key, original)]
        return Headline("", key, f" has the best {label}{within}", evidence, notes)
    if key == original and decision.quality:
        by_noise = decision.aim is Aim.FASTEST and results.has_known_noise(decision.objective)
        gain = f"{'measurably ' if by_noise else ''}{_GAINS[decision.aim]}"
        loses = (
            f"keeps its {results.label(decision.quality)}" if tells_losses(results, decision.quality) else "qualifies"
        )
        after = f" as it is, since nothing {gain}{within} {loses}"
        figure = results.show(decision.objective, decision.row, interval=True)
        evidence = [Statement(f"{results.label(decision.objective)} {figure}")]
        return Headline("Ship ", key, after, evidence, [*_nearest(results, decision), *notes])
    claim = f" is the {decision.aim.value}{within}"
    if tells_losses(results, decision.quality) and original is not None:
        claim = f"{claim} with {loss_texts(results, decision.quality)[0]}"
        return Headline("", key, claim, _against(results, decision, key, original), notes)
    figure = results.show(decision.objective, decision.row, interval=True)
    evidence = _against(results, decision, key, original) or [
        Statement(f"{results.label(decision.objective)} {figure}")
    ]
    return Headline("", key, claim, evidence, notes)


def _confirmed(results: Results, decision: Recommendation, key: str) -> list[str]:
    """Say what instances that no choice had seen told of the model, or nothing where nobody has asked them."""
    metric = decision.quality or decision.objective
    text = results.confirmed(metric, key)["text"] if metric else ""
    return [f"{results.label(metric)} {text}."] if text else []


def _against(results: Results, decision: Recommendation, key: str, original: str | None) -> list[Statement]:
    """Return how the model compares with the original: size, speed, quality, classes."""
    if original is None or original == key:
        return []
    evidence = []
    for metric in (size_metric(results), speed_metric(results)):
        if metric and (text := ratio_text(results, metric, key, original)):
            figures = (results.show(metric, results.row[each], interval=True) for each in (key, original))
            about = f"{results.label(metric)} {' against '.join(figures)}"
            evidence.append(Statement(text, results.change(metric, key, original)["tone"], about))
    quality = decision.quality if tells_losses(results, decision.quality) else ""
    change = results.change(quality, key, original) if quality else {"change": "", "tone": ""}
    if change["change"]:
        label = results.label(quality)
        values = (results.show(quality, results.row[each], interval=True) for each in (key, original))
        about = f"{label} {' against '.join(values)}"
        evidence.append(Statement(f"{label} {change['change']}", change["tone"], about))
    return [*evidence, *_classes(results, key, original)]


def _classes(results: Results, key: str, original: str) -> list[Statement]:
    try:
        classes = class_evidence(results, key, original)
    except StoreError as error:
        return [Statement("classes not compared (the answers cannot be read)", "soft", str(error))]
    return [] if classes is None else [Statement(classes.text, "bad" if classes.worse else "", _TESTS)]


def _nearest(results: Results, decision: Recommendation) -> list[str]:
    """Name, of the models that would be better by the aim, the one that loses least."""
    assert decision.row is not None
    goods = results.values(decision.quality)
    ahead = decision.within & results.sound & results.scope & ~results.elsewhere & ~results.unsure(decision.objective)
    ahead &= (results.ranking.order(decision.objective, decision.row) > 0) & np.isfinite(goods) & ~decision.lossless
    if not ahead.any():
        return []
    goods = np.where(ahead, goods, np.nan)
    row = int(np.nanargmin(goods) if results.better(decision.quality) is Better.LOWER else np.nanargmax(goods))
    key, original = results.keys[row], results.keys[decision.row]
    change = results.change(decision.quality, key, original)["change"]
    gain = gain_text(results, decision.objective, key, original)
    return [f"Nearest is “{results.text.name(key)}”: {gain}, {results.label(decision.quality)} {change}."]


def _against_what(results: Results, decision: Recommendation) -> list[str]:
    """Say where losses cannot be told, or are told against a model that is broken."""
    if decision.aim is Aim.BEST:
        return []
    if not decision.quality:
        return ["Nothing that was measured tells what a model loses."]
    if not tells_losses(results, decision.quality):
        return [f"{results.label(decision.quality)} tells nothing of what a model's answers lose."]
    if decision.original is None:
        name = "" if decision.unmeasured is None else results.text.name(results.keys[decision.unmeasured])
        label = results.label(decision.quality)
        why = f"“{name}” has no known {label}" if name else f"no original with a known {label} is at hand"
        return [f"What it loses cannot be told: {why}. Pin a model that has one as the base."]
    if not results.sound[decision.original]:
        name = results.text.name(results.keys[decision.original])
        return [f"Losses are told against “{name}”, which is broken itself: pin another base."]
    return []


def _notes(results: Results, decision: Recommendation) -> list[str]:
    notes = []
    if decision.alike:
        names = [results.text.name(results.keys[row]) for row in decision.alike]
        others = quoted_names(names, _SHOWN_TIES)
        notes.append(f"{others} cannot be told apart from it in {results.label(decision.objective)}.")
    notes += _clock(results)
    unknown = [
        results.label(metric)
        for metric in dict.fromkeys((decision.quality, decision.objective))
        if metric and not results.has_known_noise(metric)
    ]
    if unknown:
        notes.append(f"Nothing is known of the noise of {' and '.join(unknown)}: models are ranked by the bare values.")
    return notes


def _clock(results: Results) -> list[str]:
    """Say by what speed is told, where the figure that people look at first proves nothing."""
    speed = speed_metric(results)
    first = next((spec.name for spec in results.primary if spec.role is MetricRole.COST and spec.clock), speed)
    if first == speed or not results.unsure(first).any():
        return []
    why = "was taken roughly or while others used the machine"
    return [f"Speed is told by {results.label(speed)}, as {results.label(first)} {why}."]


def _nothing(results: Results, decision: Recommendation, filters: Sequence[Range]) -> Headline:
    here = results.scope & ~results.elsewhere & results.sound
    measurable = decision.within & here & np.isfinite(results.values(decision.objective))
    if results.keys and decision.objective and filters and not (decision.within & here).any():
        return _outside(results, filters)
    if measurable.any() and not (measurable & decision.lossless).any():
        return _least_loss(results, decision, measurable)
    return Headline(_why_not(results, decision, measurable), is_answer=False)


def _why_not(results: Results, decision: Recommendation, measurable: np.ndarray) -> str:
    """Say why no model can be named, where none comes near."""
    if not results.keys:
        return "There are no models yet."
    if not decision.objective:
        what = {Aim.SMALLEST: "how small", Aim.FASTEST: "how fast", Aim.BEST: "how good"}[decision.aim]
        return f"No model can be named: nothing that was measured says {what} a model is."
    if not measurable.any():
        return f"No sound model has a known {results.label(decision.objective)}."
    return (
        "No model can be named: all times were taken roughly or while others used the machine, which proves nothing. "
        "Measure again when it is quiet."
    )


def _outside(results: Results, filters: Sequence[Range]) -> Headline:
    """Name the model that misses the budget by least."""
    miss = near_miss(results, filters, some=False)
    if miss is None:
        return Headline("No sound model is within the budget, and none misses it by one bound alone.", is_answer=False)
    before = "No sound model is within the budget. Nearest is "
    return Headline(before, miss["key"], f": {miss['text']}.", is_answer=False)


def _least_loss(results: Results, decision: Recommendation, measurable: np.ndarray) -> Headline:
    """Name the model that loses least, where all lose: measurably, as far as noise is known."""
    goods = np.where(measurable, results.values(decision.quality), np.nan)
    label = results.label(decision.quality)
    if not np.isfinite(goods).any() or decision.original is None:
        return Headline(f"No model can be named: {label or 'quality'} was not measured.", is_answer=False)
    row = int(np.nanargmin(goods) if results.better(decision.quality) is Better.LOWER else np.nanargmax(goods))
    original = results.keys[decision.original]
    change = results.change(decision.quality, results.keys[row], original)["change"]
    within = "" if decision.within[results.scope].all() else " within the budget"
    measurably = "measurably " if results.has_known_noise(decision.quality) else ""  # else the change says so
    fault, least = f"{measurably}loses {label} against", "Least loses"
    if not tells_losses(results, decision.quality):
        fault, least = f"has a {measurably}worse {label} than", "Nearest is"
    before = f"Every model{within} {fault} “{results.text.name(original)}”. {least} "
    return Headline(before, results.keys[row], f": {label} {change}.", is_answer=False)
