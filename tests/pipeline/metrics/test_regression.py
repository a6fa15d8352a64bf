"""Metrics of estimated numbers against scikit-learn, in the unit of the target."""

from dataclasses import replace

import numpy as np
import pytest
from sklearn import metrics as sklearn_metrics

from pipeline.measure.metrics import quality, regression
from pipeline.measure.metrics.api import Predictions
from pipeline.measure.metrics.compute import compute


def estimated(values, estimates, tolerance=5.0):
    values, estimates = np.float32(values), np.float64(estimates)
    rows = {"values": values, "centre": 150.0, "scale": 77.0, "tolerance": tolerance}
    targets = {name: np.broadcast_to(np.float32(row), values.shape) for name, row in rows.items()}
    outputs = {"logits": np.float32((estimates - 150.0) / 77.0)}
    ids = tuple(map(str, range(len(values))))
    return Predictions("table-regression", ("a", "b")[: values.shape[1]], ids, outputs, targets)


@pytest.fixture(scope="module")
def numbers():
    draw = np.random.default_rng(0)
    values = draw.normal(150, 77, (200, 1))
    return values, values + draw.normal(1, 10, (200, 1))


def test_agrees_with_scikit_learn(numbers):
    values, estimates = numbers
    model = estimated(values, estimates)
    close = {"rel": 1e-4}
    assert regression.mean_absolute_error(model).value == pytest.approx(
        sklearn_metrics.mean_absolute_error(values, estimates), **close
    )
    assert regression.root_mean_squared_error(model).value == pytest.approx(
        sklearn_metrics.root_mean_squared_error(values, estimates), **close
    )
    assert regression.r2(model).value == pytest.approx(sklearn_metrics.r2_score(values, estimates), **close)
    assert regression.mean_error(model).value == pytest.approx((estimates - values).mean(), rel=1e-3)
    assert regression.within_tolerance(model).value == pytest.approx((abs(estimates - values) <= 5).mean())
    assert regression.error_in_tolerances(model).value == pytest.approx(abs(estimates - values).mean() / 5, **close)


def test_every_figure_has_an_interval(numbers):
    model = estimated(*numbers)
    for name in ("mean_absolute_error", "root_mean_squared_error", "r2", "mean_error", "within_tolerance"):
        estimate = getattr(regression, name)(model)
        assert estimate.low < estimate.value < estimate.high, name


def test_several_targets_are_never_averaged_in_their_units():
    draw = np.random.default_rng(1)
    values = draw.normal(0, [1, 1000], (100, 2))
    estimates = values + draw.normal(0, [0.2, 300], (100, 2))
    model = estimated(values, estimates, tolerance=[0.5, 500])
    assert regression.mean_absolute_error(model) is None
    assert regression.root_mean_squared_error(model) is None
    assert regression.r2(model).value == pytest.approx(sklearn_metrics.r2_score(values, estimates), rel=1e-3)
    away = abs(estimates - values) / [0.5, 500]
    assert regression.error_in_tolerances(model).value == pytest.approx(away.max(axis=1).mean(), rel=1e-3)


def test_change_against_the_base_is_paired(numbers):
    values, estimates = numbers
    base, model = estimated(values, values + 1), estimated(values, estimates)
    growth = abs(estimates - values) - 1
    assert regression.error_growth(model, base).value == pytest.approx(growth.mean() / 5, rel=1e-3)
    assert regression.error_growth_rate(model, base).value == pytest.approx((growth > 5).mean())
    assert regression.error_growth(model, model).value == 0


def test_what_is_no_number_is_wrong_and_leaves_no_mean(numbers):
    model = estimated(*numbers)
    logits = model.outputs["logits"].copy()
    logits[:20] = -np.inf  # no masked entry, as it would be of a class
    broken = replace(model, outputs={"logits": logits})
    for name in ("mean_absolute_error", "root_mean_squared_error", "r2", "error_in_tolerances", "mean_error"):
        assert getattr(regression, name)(broken) is None
    assert not regression.within_tolerance(broken).rows[:20].any()
    assert quality.invalid_outputs(broken).value == pytest.approx(0.1)


def test_only_metrics_that_have_a_meaning_are_computed(numbers):
    model = estimated(*numbers)
    names = {spec.name for spec, _ in compute(model, base=model)}
    assert {"mean_absolute_error", "r2", "within_tolerance", "agreement", "mcnemar_p", "error_growth"} <= names
    assert not {"accuracy", "loss", "f1", "kl_to_base", "calibration_error", "subset_accuracy"} & names


def test_a_constant_target_has_no_r2():
    assert regression.r2(estimated(np.full((5, 1), 3.0), np.zeros((5, 1)))) is None
