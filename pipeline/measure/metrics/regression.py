"""Metrics of estimated numbers, in the targets' units. Outputs that are no numbers have no error: then there is no figure."""

from __future__ import annotations

import numpy as np

from ops.core.tasks.regression import errors, tolerances_off
from ops.core.tasks.task import TASKS
from pipeline.measure.metrics._outcomes import correct_rows
from pipeline.measure.metrics.api import Better, Estimate, Pairing, Predictions, metric
from pipeline.measure.metrics.estimates import mean, share

_TARGET = "values"


@metric(unit="", format=".4g", better=Better.LOWER, primary=True)
def mean_absolute_error(predictions: Predictions) -> Estimate | None:
    """Mean size of the error (MAE), in the unit of the target; only with a single target."""
    away = _errors(predictions)
    return None if away is None or away.shape[1] > 1 else mean(np.abs(away[:, 0]))


@metric(unit="", format=".4g", better=Better.LOWER, pairing=Pairing.NONE)
def root_mean_squared_error(predictions: Predictions) -> Estimate | None:
    """Root of the mean squared error (RMSE), in the unit of the target; only with a single target."""
    away = _errors(predictions)
    squares = None if away is None or away.shape[1] > 1 else mean(away[:, 0] ** 2)
    if squares is None:
        return None
    low, high = (None if end is None else float(np.sqrt(end)) for end in (squares.low, squares.high))
    return Estimate(float(np.sqrt(squares.value)), low, high, squares.count)


@metric(unit="", format=".3f", better=Better.HIGHER)
def r2(predictions: Predictions) -> Estimate | None:
    """Share of the targets' variance that estimates explain (R2); of several targets the mean.

    The mean over instances of 1 - error² / variance, with the variance of the evaluation targets taken as it is.
    """
    away = _errors(predictions)
    if away is None:
        return None
    variance = predictions.targets[_TARGET].astype(np.float64).var(axis=0)
    return mean((1 - away**2 / variance).mean(axis=1)) if (variance > 0).all() else None


@metric(unit="", format=".3g", better=Better.LOWER)
def error_in_tolerances(predictions: Predictions) -> Estimate | None:
    """Mean over instances of the largest error, in units of the data set's tolerance."""
    return None if _errors(predictions) is None else mean(tolerances_off(predictions))


@metric(unit="", format=".4g", better=Better.NEITHER)
def mean_error(predictions: Predictions) -> Estimate | None:
    """Mean of estimate less target: below zero the model estimates too little; only with a single target."""
    away = _errors(predictions)
    return None if away is None or away.shape[1] > 1 else mean(away[:, 0])


@metric(unit="", format=".1%", better=Better.HIGHER, primary=True)
def within_tolerance(predictions: Predictions) -> Estimate | None:
    """Share of instances whose estimates are within the data set's tolerance of their targets."""
    return share(correct_rows(predictions)) if _TARGET in predictions.targets else None


@metric(unit="", format=".1%", better=Better.LOWER)
def error_growth_rate(predictions: Predictions, base: Predictions) -> Estimate | None:
    """Share of instances whose error grew by more than the tolerance against the base's."""
    if _errors(predictions) is None or _errors(base) is None:
        return None
    tolerance = predictions.targets["tolerance"]
    growth = (np.abs(errors(predictions)) - np.abs(errors(base))) / tolerance
    return share((growth > 1).any(axis=1))


@metric(unit="", format=".3g", better=Better.LOWER)
def error_growth(predictions: Predictions, base: Predictions) -> Estimate | None:
    """Mean growth of the size of the error against the base's, on the same instances, in units of the tolerance."""
    if _errors(predictions) is None or _errors(base) is None:
        return None
    tolerance = predictions.targets["tolerance"]
    growth = (np.abs(errors(predictions)) - np.abs(errors(base))) / tolerance
    return mean(growth.mean(axis=1))


def _errors(predictions: Predictions) -> np.ndarray | None:
    """Float64 (N, targets); None of other tasks, and where a model gave what is no number."""
    if _TARGET not in predictions.targets or not len(predictions.ids):
        return None
    return errors(predictions) if TASKS[predictions.task].valid(predictions).all() else None
