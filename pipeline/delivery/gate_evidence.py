"""The figures that a rule is judged by, from two models of some results."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from pipeline.core.metric_kinds import Better, MetricRole, Pairing, counts_a_file
from pipeline.core.statistics import independent_sides
from pipeline.delivery.gate_rules import JudgedFigure, Quantity, Rule, RuleError
from pipeline.measure.uncertain_values import (
    Differences,
    Exact,
    Mean,
    PairedShares,
    Ratio,
    Share,
    Spread,
    UncertainValue,
    paired_difference,
)
from pipeline.store.queries.model_pair import Figure, ModelPair, PairedAnswers, SpeedupRow, StoredModel
from pipeline.store.records.run_records import Metric

__all__ = ["Part", "Unknown", "parts_of"]

_CLOCKS = {Pairing.WALL_TIME: "wall", Pairing.CPU_TIME: "cpu"}
_FEWEST = 2
_TOGETHER = "time them together: both in one recipe, in which one is the other's base or parent"


@dataclass(frozen=True, slots=True)
class Part:
    """A figure; of a rule on the worst class or group, that of one of them."""

    estimate: UncertainValue
    name: str = ""
    note: str = ""


@dataclass(frozen=True, slots=True)
class Unknown:
    """There is no figure, and why."""

    reason: str


def parts_of(rule: Rule, pair: ModelPair) -> Sequence[Part] | Unknown:
    """Return the figures that a rule is about, at least one, or why there are none.

    Raises:
        RuleError: if the rule is about something else than these two models.
    """
    if rule.quantity is Quantity.SPEEDUP:
        return _speedup(pair)
    if isinstance(rule.quantity, Quantity):
        return _worst(rule, pair)
    if rule.figure is JudgedFigure.VALUE:
        if rule.quantity.role == MetricRole.CHANGE:
            _check_base(rule, rule.quantity, pair)
        return _value(rule.quantity, pair)
    pairing = Pairing(rule.quantity.pairing)
    if pairing is Pairing.INSTANCES:
        return _paired(rule, rule.quantity, pair)
    if pairing in _CLOCKS:
        return _timed(rule, rule.quantity, pair)
    return _difference(rule, rule.quantity, pair)


def _check_base(rule: Rule, metric: Metric, pair: ModelPair) -> None:
    """Refuse a metric of what changed against the base of the tree where the reference is another model."""
    if pair.candidate.root != pair.reference.key:
        raise RuleError(
            f"'{rule.text}': {metric.metric} compares "
            f"'{pair.candidate.name}' with the base of its tree, '{pair.name_of(pair.candidate.root)}', and not with "
            f"'{pair.reference.name}'. Gate it against that base, or write a drop or rise of a metric"
        )


# ---- one model's own figure
def _value(metric: Metric, pair: ModelPair) -> Sequence[Part] | Unknown:
    figure = _figure(pair, metric, pair.candidate)
    if isinstance(figure, Unknown):
        return figure
    value, low, high, count, _ = figure
    if metric.pairing in _CLOCKS and pair.is_rough(pair.candidate):
        return Unknown(f"'{pair.candidate.name}' was timed beside other work. Time it alone, with `bench` on")
    if metric.pairing == Pairing.INSTANCES:
        values = pair.values(metric.metric)
        if values is not None and len(values[0]) >= _FEWEST:
            return [Part(_mean(values[0], metric))]
    if low is None or high is None:
        return [Part(Exact(value))] if _is_exact(figure, metric) else _no_interval(metric)
    return [Part(Spread(value, low, high, count))]


def _figure(pair: ModelPair, metric: Metric, model: StoredModel) -> Figure | Unknown:
    figure = pair.figure(metric.metric, model)
    if figure is None:
        return Unknown(f"'{model.name}' has no {metric.metric} under these conditions")
    return figure if math.isfinite(figure.value) else Unknown(f"{metric.metric} of '{model.name}' is not a number")


def _mean(values: np.ndarray, metric: Metric) -> UncertainValue:
    if _is_binary(values):
        return Share(int(values.sum()), len(values))
    if metric.role == MetricRole.CHANGE:  # each value is a difference from the base's
        return paired_difference(Differences.of(values), is_share=_is_share(metric)) or Mean.of(values)
    return Mean.of(values, limit=1.0 if _is_share(metric) and float(np.abs(values).max()) <= 1 else None)


def _is_exact(figure: Figure, metric: Metric) -> bool:
    """Whether a figure has no error: it counts what is in a file."""
    return figure.of_file and counts_a_file(MetricRole(metric.role), metric.unit)


def _no_interval(metric: Metric) -> Unknown:
    return Unknown(f"the results hold no interval of {metric.metric}, so that chance cannot be told from harm")


# ---- differences
def _paired(rule: Rule, metric: Metric, pair: ModelPair) -> Sequence[Part] | Unknown:
    values = pair.values(metric.metric)
    if values is None:
        return Unknown(
            f"the results do not hold {metric.metric} of the two models on the same instances. Evaluate both in one recipe"
        )
    candidate, reference = values
    first, second = (reference, candidate) if rule.figure is JudgedFigure.DROP else (candidate, reference)
    if not all(np.isfinite(side).all() for side in values):
        return Unknown(f"{metric.metric} of an instance is not a finite number: the model is broken")
    if len(first) < _FEWEST:
        return Unknown(f"{len(first)} instance is too few")
    if rule.relative:
        return _relative(rule, first, second, reference)
    estimate = paired_difference(Differences.of(first - second), is_share=_is_share(metric))
    return [Part(estimate)] if estimate is not None else Unknown(f"{len(first)} instance is too few")


def _relative(rule: Rule, first: np.ndarray, second: np.ndarray, reference: np.ndarray) -> Sequence[Part] | Unknown:
    """Judge a change by a share of the reference: the change less that share of it, instance by instance (Fieller, 1954)."""
    mean = float(reference.mean())
    if not mean > 0:
        return Unknown("the reference's value is not above zero, so that there is no share of it")
    change = Mean.of(first - second - rule.bound * reference)
    return [Part(Mean(rule.bound + change.value / mean, change.error / mean, change.count))]


def _timed(rule: Rule, metric: Metric, pair: ModelPair) -> Sequence[Part] | Unknown:
    row = _measured_speedup(pair, _CLOCKS[Pairing(metric.pairing)])
    if isinstance(row, Unknown):
        return row
    reference = _figure(pair, metric, pair.reference)
    if isinstance(reference, Unknown):
        return reference
    is_time, sign = metric.better == Better.LOWER, 1 if rule.figure is JudgedFigure.RISE else -1
    scale = 1.0 if rule.relative else reference.value

    def figure_of(ratio: float) -> float:
        return sign * scale * ((1 / ratio if is_time else ratio) - 1)

    def ratio_of(change: float) -> float:
        share = 1 + sign * change / scale
        return (1 / share if share else math.nan) if is_time else share

    return [Part(Ratio(_logarithm(row), figure_of, ratio_of))]


def _difference(rule: Rule, metric: Metric, pair: ModelPair) -> Sequence[Part] | Unknown:
    """Of figures without pairs: of two exact ones, or from the two intervals."""
    mine, theirs = (_figure(pair, metric, model) for model in (pair.candidate, pair.reference))
    if isinstance(mine, Unknown):
        return mine
    if isinstance(theirs, Unknown):
        return theirs
    sign = 1 if rule.figure is JudgedFigure.RISE else -1
    if rule.relative and not theirs.value > 0:
        return Unknown("the reference's value is not above zero, so that there is no share of it")
    scale = sign / theirs.value if rule.relative else sign
    difference = (mine.value - theirs.value) * scale
    if _is_exact(mine, metric) and _is_exact(theirs, metric):
        return [Part(Exact(difference))]
    if None in (mine.low, mine.high, theirs.low, theirs.high):
        return _no_interval(metric)
    ends = [(float(side.low or 0), float(side.high or 0)) for side in (mine, theirs)]
    sides = independent_sides(mine.value, ends[0], theirs.value, ends[1])
    below, above = (float(side) * abs(scale) for side in sides)
    if sign < 0:
        below, above = above, below
    note = "from the intervals of the two: the results hold no values by instance"
    return [Part(Spread(difference, difference - below, difference + above, mine.observations), note=note)]


# ---- classes and groups
def _worst(rule: Rule, pair: ModelPair) -> Sequence[Part] | Unknown:
    answers = pair.answers()
    if answers is None:
        return Unknown(
            "the results do not hold answers of the two models to the same instances. Evaluate both in one recipe"
        )
    if rule.quantity is Quantity.WORST_CLASS and answers.classes is None:
        raise RuleError(f"'{rule.text}': the data set {pair.conditions.dataset} has no classes")
    if rule.quantity is Quantity.WORST_GROUP and not answers.attributes:
        raise RuleError(f"'{rule.text}': the data set {pair.conditions.dataset} names no groups (attributes)")
    return [Part(_group(rule, answers, rows), name) for name, rows in _groups(rule, answers)]


def _groups(rule: Rule, answers: PairedAnswers) -> Iterator[tuple[str, np.ndarray]]:
    labels = {"": answers.classes} if rule.quantity is Quantity.WORST_CLASS else answers.attributes
    for attribute, values in labels.items():
        if values is not None:
            for value in np.unique(values[values != ""] if attribute else values):  # without a value there is no group
                yield (f"{attribute}={value}" if attribute else f"class {value}"), values == value


def _group(rule: Rule, answers: PairedAnswers, rows: np.ndarray) -> UncertainValue:
    candidate, reference = answers.candidate[rows], answers.reference[rows]
    if rule.figure is JudgedFigure.VALUE:
        return Share(int(candidate.sum()), len(candidate))
    first, second = (reference, candidate) if rule.figure is JudgedFigure.DROP else (candidate, reference)
    return _shares(first, second)


def _shares(first: np.ndarray, second: np.ndarray) -> PairedShares:
    return PairedShares(int((first > second).sum()), int((second > first).sum()), len(first))


def _is_binary(values: np.ndarray) -> bool:
    return bool(((values == 0) | (values == 1)).all())


def _is_share(metric: Metric) -> bool:
    return metric.format.endswith("%") and not metric.unit


# ---- times
def _speedup(pair: ModelPair) -> Sequence[Part] | Unknown:
    rows = {clock: _measured_speedup(pair, clock) for clock in _TIMES}
    for clock, row in rows.items():
        if not isinstance(row, Unknown):
            return [Part(Ratio(_logarithm(row), float, float), note=f"by {_TIMES[clock]}")]
    return next(row for row in rows.values() if isinstance(row, Unknown))


_TIMES = {"cpu": "CPU time", "wall": "wall-clock time"}
"""Clock -> in words; the first that a session has is the one that suits the target."""


def _measured_speedup(pair: ModelPair, clock: str) -> SpeedupRow | Unknown:
    row = pair.speedup(clock)
    if row is None:
        return Unknown(f"no session timed '{pair.candidate.name}' and '{pair.reference.name}' in turn: {_TOGETHER}")
    if row.contended:
        return Unknown("others used the machine while the two were timed. Time them again on a quiet machine")
    return row


def _logarithm(row: SpeedupRow) -> Spread:
    return Spread(math.log(row.ratio), math.log(row.low), math.log(row.high))
