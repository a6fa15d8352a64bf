"""Distributions of tensors against NumPy in float64."""

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from pipeline.layers.stats.histogram import BINS, ROWS, robust_range, summarize

FLOATS = st.floats(width=32, allow_nan=True, allow_infinity=True)


@settings(deadline=None, max_examples=150)
@given(arrays.arrays(np.float32, st.integers(1, 400), elements=FLOATS))
@example(np.array([3.0934762e38], np.float32))  # the limits reach beyond the largest float32
def test_every_value_is_counted_once(values):
    found = summarize(values)
    finite = values[np.isfinite(values)].astype(np.float64)
    assert found.nans == np.isnan(values).sum()
    assert found.infs == np.isinf(values).sum()
    assert sum(found.histogram.counts) + found.nans + found.infs == found.count == values.size
    assert found.zeros == (finite == 0).sum() == found.histogram.counts[-1]
    if finite.size:
        assert found.minimum == finite.min()
        assert found.maximum == finite.max()
        assert found.mean == pytest.approx(finite.mean(), rel=1e-9, abs=1e-12 * np.abs(finite).max())
        assert found.std == pytest.approx(finite.std(), rel=1e-6, abs=1e-7 * np.abs(finite).max())
        assert found.square_sum == pytest.approx((finite**2).sum(), rel=1e-12)
    else:
        assert found.mean is found.minimum is None


def test_the_bins_are_those_of_numpy():
    values = np.random.default_rng(0).standard_normal(100_000).astype(np.float32)
    found = summarize(values, limits=(-2.0, 2.0))
    expected, _ = np.histogram(values.astype(np.float64), bins=BINS, range=(-2, 2))
    assert list(found.histogram.counts[1 : BINS + 1]) == expected.tolist()
    assert found.histogram.counts[0] == (values < -2).sum()
    assert found.histogram.counts[BINS + 1] == (values > 2).sum()


def test_an_outlier_goes_to_the_outer_row_and_does_not_flatten_the_rest():
    values = np.random.default_rng(0).standard_normal(10_000).astype(np.float32)
    values[17] = 1e6
    histogram = summarize(values).histogram
    assert histogram.high < 20
    assert histogram.counts[BINS + 1] >= 1
    assert sum(1 for count in histogram.counts[1 : BINS + 1] if count > 50) > 15


def test_small_values_of_a_large_tensor_are_not_lost_in_the_sum():
    values = np.full(4_200_000, 1e-4, np.float32)
    found = summarize(values)
    assert found.abs_sum == pytest.approx(4_200_000 * float(np.float32(1e-4)), rel=1e-12)
    assert found.std == pytest.approx(0, abs=1e-12)


@pytest.mark.parametrize("value", [0.0, 3.5, -1e-30, float("nan"), float("inf"), 3e38])
def test_one_value_over_and_over_is_a_valid_histogram(value):
    found = summarize(np.full(100, value, np.float32))
    assert found.histogram.low < found.histogram.high
    assert len(found.histogram.counts) == ROWS
    assert sum(found.histogram.counts) == (100 if np.isfinite(value) else 0)


def test_nothing_at_all():
    found = summarize(np.empty(0, np.float32))
    assert (found.count, found.mean, sum(found.histogram.counts)) == (0, None, 0)


def test_the_range_reaches_to_near_extremes():
    values = np.linspace(-3, 5, 1001).astype(np.float32)
    assert robust_range(values) == (-3.0, 5.0)
