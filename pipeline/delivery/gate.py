"""A gate: may the candidate take the place of the reference? Every rule is a test, with its interval and its doubt.

    with ModelPair(results, "base/int8", "base") as pair:
        verdict = judge_pair(pair, ["accuracy drop > 0.5pt", "speedup < 1.5"])

A rule *fails* if its figure lies beyond the bound by more than chance, *passes* if it lies within by more than chance, and
else *cannot be told* with these data. "More than chance" is one side of the two-sided interval: with 95 % confidence, an
error of 2.5 % on either side, as tests of non-inferiority have it.

Failures are corrected for the number of rules (Holm, 1979), and within a rule on the worst class for the number of
classes: a gate with many rules gives no more false alarms than one with a single rule. That all rules pass needs no
correction: a candidate that breaks one of them passes this one by chance as rarely as if it were alone (the
intersection-union test: Berger, 1982, Technometrics 24).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum
from statistics import NormalDist

import numpy as np

from pipeline.core.statistics import CONFIDENCE, Interval, holm
from pipeline.delivery.gate_evidence import Part, Unknown, parts_of
from pipeline.delivery.gate_rules import Rule, together
from pipeline.store.queries.model_pair import ModelPair

__all__ = ["GateOutcome", "GateVerdict", "RuleVerdict", "judge_pair"]

_POWER = 0.8
"""Chance with which the advised number of instances tells."""
_MOST = 1e7
"""More instances than that are not advised."""
_NORMAL = NormalDist()


class GateOutcome(IntEnum):
    """The verdict on a rule or a gate; the number is the exit status."""

    PASSES = 0
    FAILS = 1
    UNDECIDED = 3

    @property
    def text(self) -> str:
        """For people."""
        return {GateOutcome.PASSES: "passes", GateOutcome.FAILS: "fails"}.get(self, "cannot be told")


@dataclass(frozen=True, slots=True)
class RuleVerdict:
    """The verdict on one rule."""

    rule: Rule
    outcome: GateOutcome
    part: str
    """The class or group that decides, empty for rules about the whole."""
    estimate: Interval | None
    """The judged figure with its interval at the gate's confidence, in the unit of the rule's bound; None if unknown."""
    count: int | None
    """Observations behind it."""
    p_value: float | None
    """Chance of a figure so far beyond the bound if it were on it, corrected for the number of rules and parts."""
    more: int | None
    """How many more observations would tell with a chance of 80 %, if the figure stays; None where none would."""
    reason: str = ""
    """Why it cannot be told, or how the figure was found."""


@dataclass(frozen=True, slots=True)
class GateVerdict:
    """The verdict on all rules: fails if one fails, else cannot be told if one cannot, else passes."""

    outcome: GateOutcome
    rules: tuple[RuleVerdict, ...]
    confidence: float


def judge_pair(pair: ModelPair, texts: Sequence[str], *, confidence: float = CONFIDENCE) -> GateVerdict:
    """Judge a candidate against a reference.

    Args:
        pair: the two models under one set of conditions.
        texts: rules, as `gate_rules.parse_rule` reads them.
        confidence: of the intervals, above 0.5 and below 1.

    Raises:
        RuleError: if a rule cannot be read, or is about what does not exist.
    """
    rules = together(texts, pair.metrics())
    parts = [parts_of(rule, pair) for rule in rules]
    level = (1 - confidence) / 2
    chances = [_chance_of_failure(rule, some) for rule, some in zip(rules, parts, strict=True)]
    corrected = holm(np.array(chances))
    verdicts = tuple(
        _verdict(rule, some, float(p), level, confidence) for rule, some, p in zip(rules, parts, corrected, strict=True)
    )
    outcomes = {verdict.outcome for verdict in verdicts}
    worst = next(each for each in (GateOutcome.FAILS, GateOutcome.UNDECIDED, GateOutcome.PASSES) if each in outcomes)
    return GateVerdict(worst, verdicts, confidence)


def _beyond(rule: Rule, part: Part) -> float:
    """Standard errors by which a part's figure lies beyond the bound, on the side that breaks the rule."""
    if part.estimate.value == rule.bound and math.isinf(part.estimate.z(np.nextafter(rule.bound, math.inf))):
        return math.inf if rule.breaks(rule.bound) else -math.inf  # an exact figure on the bound
    z = part.estimate.z(rule.bound)
    return z if rule.fails_above else -z


def _p_value(z: float) -> float:
    return _NORMAL.cdf(-z)


def _chance_of_failure(rule: Rule, parts: Sequence[Part] | Unknown) -> float:
    """P value of the clearest failure among the parts, corrected for their number (Bonferroni); NaN: no test."""
    if isinstance(parts, Unknown):
        return math.nan
    return min(1.0, len(parts) * min(_p_value(_beyond(rule, part)) for part in parts))


def _verdict(
    rule: Rule, parts: Sequence[Part] | Unknown, p_value: float, level: float, confidence: float
) -> RuleVerdict:
    if isinstance(parts, Unknown):
        return RuleVerdict(rule, GateOutcome.UNDECIDED, "", None, None, None, None, parts.reason)
    worst = max(parts, key=lambda part: _beyond(rule, part))
    if p_value <= level:
        outcome = GateOutcome.FAILS
    elif _p_value(-_beyond(rule, worst)) <= level:
        outcome = GateOutcome.PASSES
    else:
        outcome = GateOutcome.UNDECIDED
    estimate = worst.estimate
    more = _more(estimate.z(rule.bound), estimate.count, level) if outcome is GateOutcome.UNDECIDED else None
    return RuleVerdict(
        rule, outcome, worst.name, estimate.interval(confidence), estimate.count, p_value, more, worst.note
    )


def _more(z: float, count: int | None, level: float) -> int | None:
    """Standard errors shrink with the root of the number of observations."""
    if not count or z == 0 or math.isinf(z):
        return None
    enough = count * ((_NORMAL.inv_cdf(1 - level) + _NORMAL.inv_cdf(_POWER)) / z) ** 2
    return math.ceil(enough - count) if count < enough < _MOST else None
