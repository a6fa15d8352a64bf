"""Figures of a model on an evaluation set, under names of their own: `accuracy @ dark`, and what compression costs more there.

They stand beside the figures of the data set's own evaluation split, as metrics of it: budgets, gates, columns and
comparisons take them as any other.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from pipeline.core.metric_kinds import Better, MetricRole, Pairing
from pipeline.core.statistics import CONFIDENCE, independent_sides
from pipeline.measure.metrics.api import METRICS, Estimate, MetricSpec, Predictions
from pipeline.measure.metrics.compute import compute
from pipeline.measure.uncertain_values import Differences, paired_difference
from pipeline.store.records.run_records import Metric

__all__ = ["EXTRA", "AnswerPair", "SetFigures", "metric_record", "set_figures", "subset"]

EXTRA = "extra_loss"
"""Word of the figure that says how much more compression costs on a set than on the data set's own evaluation split."""
_NAMED = " @ "


@dataclass(frozen=True, slots=True)
class SetFigures:
    """Estimates by the metric's stored name; rows in the order of the data set's own instances, or none."""

    estimates: dict[str, Estimate]
    failed: dict[str, str]


def metric_record(name: str) -> Metric:
    """Return what a metric of an evaluation set means.

    Args:
        name: `METRIC @ SET`, or `METRIC extra_loss @ SET`.
    """
    metric, _, where = name.partition(_NAMED)
    spec = METRICS[metric.removesuffix(f" {EXTRA}")]
    if metric.endswith(f" {EXTRA}"):
        text = f"How much more {spec.name} compression costs on the evaluation set {where} than on the data set's own, against the base."
        return Metric(
            name, spec.unit, spec.format, Better.LOWER.value, False, text, MetricRole.CHANGE.value, Pairing.NONE.value
        )
    text = f"{spec.description.rstrip('.')}: on the evaluation set {where}."
    return Metric(name, spec.unit, spec.format, spec.better.value, False, text, spec.role.value, spec.pairing.value)


def subset(predictions: Predictions, rows: np.ndarray) -> Predictions:
    """Return the predictions of some instances; `rows` is bool (N,)."""
    places = np.flatnonzero(rows)

    def picked(values: tuple[Any, ...]) -> tuple[Any, ...]:
        return tuple(values[at] for at in places) if values else values

    attributes = predictions.attributes
    return replace(
        predictions,
        ids=picked(predictions.ids),
        outputs={name: array[rows] for name, array in predictions.outputs.items()},
        targets={name: array[rows] for name, array in predictions.targets.items()},
        answers=picked(predictions.answers),
        references=picked(predictions.references),
        attributes=None if attributes is None else {name: picked(own) for name, own in attributes.items()},
    )


@dataclass(frozen=True, slots=True)
class AnswerPair:
    """A model's predictions and its base's, on the same instances."""

    model: Predictions
    base: Predictions | None


def set_figures(name: str, there: AnswerPair, here: AnswerPair, rows: np.ndarray | None) -> SetFigures:
    """Return the figures on a set.

    Args:
        name: of the set.
        there: answers to the set.
        here: answers to the data set's own evaluation split.
        rows: bool (N,), which of the own instances the set has; None of other data.
    """
    failed: dict[str, str] = {}
    names = [each for each in METRICS if METRICS[each].role is MetricRole.QUALITY]
    of_answers = compute(there.model, names=names, failed=failed)
    estimates = {f"{spec.name}{_NAMED}{name}": _spread(own, rows) for spec, own in of_answers}
    is_slice = rows is not None and not rows.all()
    if there.base is not None and here.base is not None and not is_slice:
        losses = _extra_losses(there, here, paired=rows is not None)
        estimates |= {f"{metric} {EXTRA}{_NAMED}{name}": own for metric, own in losses.items()}
    return SetFigures(estimates, failed)


def _spread(estimate: Estimate, rows: np.ndarray | None) -> Estimate:
    """The estimate with its rows at the places of the data set's own instances."""
    if estimate.rows is None or rows is None:
        return replace(estimate, rows=None)
    values = np.full(len(rows), np.nan, np.float32)
    values[rows] = estimate.rows
    return replace(estimate, rows=values)


def _extra_losses(there: AnswerPair, here: AnswerPair, *, paired: bool) -> dict[str, Estimate]:
    """Metric -> what the model loses more on the set than on the own split, against the base: a difference of differences.

    Of the same instances, corrupted and not, by instance; of other data from the two paired intervals (MOVER).
    """
    losses = {}
    far, near = _losses(there), _losses(here)
    for spec, mine in far.items():
        own = near.get(spec)
        if own is None:
            continue
        estimate = _by_instance(spec, mine, own) if paired and len(mine) == len(own) else _apart(spec, mine, own)
        if estimate is not None:
            losses[spec.name] = estimate
    return losses


def _losses(pair: AnswerPair) -> dict[MetricSpec, np.ndarray]:
    """Primary metric of quality -> what each instance loses against the base, positive where it is worse."""
    assert pair.base is not None
    names = [n for n in METRICS if METRICS[n].role is MetricRole.QUALITY and METRICS[n].primary]
    theirs = {spec.name: own.rows for spec, own in compute(pair.base, names=names, failed={})}
    losses = {}
    for spec, own in compute(pair.model, names=names, failed={}):
        base = theirs.get(spec.name)
        if own.rows is not None and base is not None and spec.better is not Better.NEITHER:
            sign = 1.0 if spec.better is Better.HIGHER else -1.0
            losses[spec] = sign * (base.astype(np.float64) - own.rows)
    return losses


def _by_instance(spec: MetricSpec, far: np.ndarray, near: np.ndarray) -> Estimate | None:
    differences = far - near
    differences = differences[np.isfinite(differences)]
    if not len(differences):
        return None
    change = paired_difference(Differences.of(differences), is_share=spec.is_share)
    if change is None:
        return None
    interval = change.interval(CONFIDENCE)
    return Estimate(interval.value, interval.low, interval.high, len(differences))


def _apart(spec: MetricSpec, far: np.ndarray, near: np.ndarray) -> Estimate | None:
    sides = []
    for values in (far, near):
        counted = values[np.isfinite(values)]
        change = paired_difference(Differences.of(counted), is_share=spec.is_share) if len(counted) else None
        if change is None:
            return None
        sides.append(change.interval(CONFIDENCE))
    first, second = sides
    value = first.value - second.value
    below, above = independent_sides(first.value, (first.low, first.high), second.value, (second.low, second.high))
    return Estimate(value, value - float(below), value + float(above), len(far))
