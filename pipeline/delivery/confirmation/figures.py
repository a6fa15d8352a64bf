"""The figures of one model on the confirmation split, each beside the one that the model was chosen by."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np

from ops.core.tasks.task import TASKS
from pipeline.core.metric_kinds import MetricRole
from pipeline.core.statistics import CONFIDENCE, Interval, independent_sides, wilson
from pipeline.measure.metrics.api import METRICS, Estimate, MetricSpec, Predictions
from pipeline.measure.metrics.compute import compute
from pipeline.measure.uncertain_values import Differences, paired_difference
from pipeline.store.queries.model_facts import ModelFacts
from pipeline.store.records.run_records import ConfirmationFigure

__all__ = ["CORRECT", "BaseAnswers", "confirmed_figures"]

_Choice = tuple[float, float | None, float | None]
"""A figure of the evaluation split with the ends of its interval."""
_COMPARED = (
    "chosen_value", "chosen_low", "chosen_high", "change", "change_low", "change_high",
    "base_key", "base_change", "base_change_low", "base_change_high",
)  # fmt: skip
"""Fields of a figure that say what it is compared with."""
CORRECT = "correct"
"""What the figures of classes and groups are called: the share of right answers, of whatever task."""


class BaseAnswers(NamedTuple):
    """The base of a model's tree, and what it answered to the same instances."""

    key: str
    predictions: Predictions


def confirmed_figures(
    look_id: str, facts: ModelFacts, answers: Predictions, labels: tuple[str, ...], base: BaseAnswers | None
) -> list[ConfirmationFigure]:
    """Return the figures of one model: every metric of quality, then classes and groups.

    The difference from the figure of the evaluation split is one of two independent samples (MOVER), that from the base is
    paired by instance, as everywhere.

    Args:
        look_id: of the look.
        facts: what the results say of the model.
        answers: to the confirmation split.
        labels: of its instances; empty where the task has no classes.
        base: None for a base itself.

    Raises:
        Whatever a metric of a person's own raises.
    """
    choices: dict[str, _Choice] = {each.metric: (each.value, each.low, each.high) for each in facts.figures}
    names = [name for name in METRICS if METRICS[name].role is MetricRole.QUALITY]
    theirs = {} if base is None else {spec.name: own for spec, own in compute(base.predictions, names=names)}
    figures = []
    for spec, estimate in compute(answers, names=names):
        if math.isfinite(estimate.value):
            figure = _beside(_value((look_id, facts.key, spec.name, ""), estimate), choices.get(spec.name))
            figures.append(_against(figure, base, _paired(spec, estimate, theirs)))
    return [*figures, *_parts(look_id, facts, answers, labels, base)]


def _parts(
    look_id: str, facts: ModelFacts, answers: Predictions, labels: tuple[str, ...], base: BaseAnswers | None
) -> Iterator[ConfirmationFigure]:
    choices: dict[str, _Choice] = {f"class {each.part}": (each.accuracy, each.low, each.high) for each in facts.classes}
    choices |= {each.part: (each.accuracy, each.low, each.high) for each in facts.groups}
    correct = TASKS[answers.task].correct(answers)
    theirs = None if base is None else TASKS[base.predictions.task].correct(base.predictions)
    for part, rows in _rows(answers, labels):
        count = int(rows.sum())
        interval = wilson(int(correct[rows].sum()), count)
        estimate = Estimate(interval.value, interval.low, interval.high, count)
        change = None
        if theirs is not None:
            differences = correct[rows].astype(np.float64) - theirs[rows]
            change = _interval(Differences.of(differences), is_share=True)
        figure = _beside(_value((look_id, facts.key, CORRECT, part), estimate), choices.get(part))
        yield _against(figure, base, change)


def _rows(answers: Predictions, labels: tuple[str, ...]) -> Iterator[tuple[str, np.ndarray]]:
    """Every class, then every group of every attribute, with its rows."""
    if answers.classes:
        own = np.array(labels)
        for name in answers.classes:
            if (own == name).any():
                yield f"class {name}", own == name
    for attribute, values in (answers.attributes or {}).items():
        groups = np.array(values)
        for value in np.unique(groups[groups != ""]):
            yield f"{attribute} {value}", groups == value


def _paired(spec: MetricSpec, estimate: Estimate, theirs: Mapping[str, Estimate]) -> Interval | None:
    """The model's value less the base's, of the instances that count for both."""
    other = theirs.get(spec.name)
    if other is None or estimate.rows is None or other.rows is None:
        return None
    differences = estimate.rows.astype(np.float64) - other.rows
    counted = differences[~np.isnan(differences)]
    if not len(counted) or not np.isfinite(counted).all():
        return None
    return _interval(Differences.of(counted), is_share=spec.is_share)


def _interval(differences: Differences, *, is_share: bool) -> Interval | None:
    change = paired_difference(differences, is_share=is_share)
    return None if change is None else change.interval(CONFIDENCE)


def _value(place: tuple[str, str, str, str], estimate: Estimate) -> ConfirmationFigure:
    """A confirmed value alone; `place` is the look, the model, the metric and the part."""
    nothing: dict[str, Any] = dict.fromkeys(_COMPARED)
    return ConfirmationFigure(*place, estimate.value, estimate.low, estimate.high, estimate.count, **nothing)


def _beside(figure: ConfirmationFigure, choice: _Choice | None) -> ConfirmationFigure:
    """The figure with the one that the model was chosen by; their difference is that of independent samples."""
    if choice is None:
        return figure
    value, low, high = choice
    change = figure.value - value
    ends: tuple[float | None, float | None] = None, None
    if figure.low is not None and figure.high is not None and low is not None and high is not None:
        below, above = independent_sides(figure.value, (figure.low, figure.high), value, (low, high))
        ends = change - float(below), change + float(above)
    return replace(
        figure,
        chosen_value=value,
        chosen_low=low,
        chosen_high=high,
        change=change,
        change_low=ends[0],
        change_high=ends[1],
    )


def _against(figure: ConfirmationFigure, base: BaseAnswers | None, change: Interval | None) -> ConfirmationFigure:
    """The figure with its difference from the base's."""
    if base is None:
        return figure
    if change is None:
        return replace(figure, base_key=base.key)
    return replace(
        figure,
        base_key=base.key,
        base_change=change.value,
        base_change_low=change.low,
        base_change_high=change.high,
    )
