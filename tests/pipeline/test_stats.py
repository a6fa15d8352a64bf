"""Every statistic against SciPy, scikit-learn, or a value worked out by hand."""

import math
import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats as scipy_stats

from pipeline.core import statistics

TWO_SIDED = 1.96


@pytest.mark.parametrize(("percent", "samples"), [(50, 11), (75, 24), (90, 64), (95, 130), (97, 219), (99, 662)])
def test_samples_for_a_percentile_are_mlperfs(percent, samples):
    assert statistics.samples_for_percentile(percent) == samples


@pytest.mark.parametrize("percent", [50, 90, 99])
def test_a_percentile_needs_its_samples(percent):
    need = statistics.samples_for_percentile(percent)
    values = np.random.default_rng(0).gamma(2, size=need)
    assert statistics.percentile(values[:-1], percent).value is None
    assert statistics.percentile(values, percent).value == np.percentile(values, percent, method="inverted_cdf")


def test_p99_of_100_samples_is_not_stated_and_of_662_is():
    values = np.arange(662.0)
    assert statistics.percentile(values[:100], 99).value is None
    assert statistics.percentile(values, 99).value == math.ceil(0.99 * 662) - 1


def test_a_bound_is_given_where_some_sample_can_be_one():
    """The largest of n exceeds the percentile with probability 1 - p^n: p99 needs 459, p90 44, p50 7."""
    for percent, fewest in ((99, 459), (90, 44), (50, 7)):
        assert statistics.percentile(np.arange(fewest - 1.0), percent).bound is None
        assert statistics.percentile(np.arange(float(fewest)), percent).bound == fewest - 1


def test_the_bound_is_above_the_true_percentile_99_times_in_100():
    generator = np.random.default_rng(1)
    truth = scipy_stats.gamma(2).ppf(0.9)
    held = [statistics.percentile(generator.gamma(2, size=100), 90).bound >= truth for _ in range(2000)]
    assert 0.985 <= np.mean(held) <= 1


def test_no_samples_have_no_percentile():
    assert statistics.percentile(np.empty(0), 50) == statistics.Percentile(None, None)


def test_a_quantile_interval_covers_the_truth():
    generator = np.random.default_rng(2)
    truth = scipy_stats.gamma(2).median()
    intervals = [statistics.quantile_interval(generator.gamma(2, size=50), 50) for _ in range(1000)]
    assert 0.94 <= np.mean([low <= truth <= high for low, high in intervals]) <= 0.99
    assert statistics.quantile_interval(np.arange(10.0), 50) is None


@given(st.integers(1, 500), st.data())
def test_wilson_is_scipys(count, data):
    successes = data.draw(st.integers(0, count))
    found = statistics.wilson(successes, count)
    expected = scipy_stats.binomtest(successes, count).proportion_ci(method="wilson")
    assert (found.value, found.low, found.high) == pytest.approx((successes / count, expected.low, expected.high))
    assert 0 <= found.low <= found.value <= found.high <= 1


def test_a_share_of_nothing_is_refused():
    with pytest.raises(ValueError, match="A share of zero observations is not a number"):
        statistics.wilson(0, 0)


def test_the_bootstrap_agrees_with_scipys():
    values = np.random.default_rng(3).exponential(size=400)
    found = statistics.bootstrap_mean(values, resamples=4000)
    expected = scipy_stats.bootstrap(
        (values,), np.mean, method="percentile", n_resamples=4000, rng=0
    ).confidence_interval
    width = expected.high - expected.low
    assert found.value == pytest.approx(values.mean())
    assert found.low == pytest.approx(expected.low, abs=0.06 * width)
    assert found.high == pytest.approx(expected.high, abs=0.06 * width)


def test_the_bootstrap_is_the_same_in_blocks(monkeypatch):
    values = np.random.default_rng(4).normal(size=50)
    whole = statistics.bootstrap_mean(values)
    monkeypatch.setattr(statistics, "_CHUNK", 1000)
    assert statistics.bootstrap_mean(values) == whole


@pytest.mark.parametrize("values", [[], [1.0, np.nan], [np.inf]])
def test_the_bootstrap_refuses_what_is_not_a_number(values):
    with pytest.raises(ValueError, match=re.escape("A bootstrap needs finite values")):
        statistics.bootstrap_mean(np.array(values))


def test_mcnemar_by_hand():
    """One instance only the first gets right, nine only the second: 2 * (C(10,0) + C(10,1)) / 2^10."""
    first = np.array([True] * 1 + [False] * 9 + [True] * 20)
    second = np.array([False] * 1 + [True] * 9 + [True] * 20)
    assert statistics.mcnemar(first, second) == pytest.approx(22 / 1024)
    assert statistics.mcnemar(second, first) == pytest.approx(22 / 1024)
    assert statistics.mcnemar(first, first) == 1


def test_mcnemar_approaches_chi_squared():
    first = np.array([True] * 300 + [False] * 360)
    statistic = (abs(300 - 360) - 1) ** 2 / 660
    assert statistics.mcnemar(first, ~first) == pytest.approx(scipy_stats.chi2.sf(statistic, 1), rel=0.02)


def test_cochrans_q_by_hand():
    """Weights 1, 1/4: their mean is (1 + 6/4) / (5/4) = 2, so that Q = 1 + 16/4 with one degree of freedom."""
    q, p = statistics.cochran_q(np.array([1.0, 6.0]), np.array([1.0, 2.0]))
    assert (q, p) == pytest.approx((5.0, scipy_stats.chi2.sf(5, 1)))


def test_holm_by_hand():
    """Sorted .01 .02 .03 .04 times 4 3 2 1, never falling: .04 .06 .06 .06."""
    np.testing.assert_allclose(statistics.holm([0.01, 0.04, 0.03, 0.02]), [0.04, 0.06, 0.06, 0.06])
    np.testing.assert_allclose(statistics.holm([0.5, 0.9]), [1, 1])


@given(st.lists(st.floats(0, 1), min_size=1, max_size=30))
def test_benjamini_hochberg_is_scipys(p_values):
    expected = scipy_stats.false_discovery_control(p_values, method="bh")
    np.testing.assert_allclose(statistics.benjamini_hochberg(p_values), expected, atol=1e-12)


def test_calibration_error_by_hand():
    """Two bins of two: |.75 - 1| and |.35 - .5|, each with half the weight; a full confidence is in the last bin."""
    confidence = np.array([0.7, 0.8, 0.3, 0.4])
    correct = np.array([True, True, False, True])
    assert statistics.expected_calibration_error(confidence, correct, bins=2) == pytest.approx((0.25 + 0.15) / 2)
    assert statistics.expected_calibration_error(np.ones(4), correct) == pytest.approx(0.25)


def test_calibration_error_is_scikit_learns_curve():
    from sklearn.calibration import calibration_curve

    generator = np.random.default_rng(5)
    confidence = generator.uniform(0.001, 1, 3000)
    correct = generator.uniform(size=3000) < confidence**2
    accuracy, mean_confidence = calibration_curve(correct, confidence, n_bins=15)
    sizes = np.histogram(confidence, bins=np.linspace(0, 1, 16))[0]
    expected = (np.abs(accuracy - mean_confidence) * sizes).sum() / 3000
    assert statistics.expected_calibration_error(confidence, correct) == pytest.approx(expected)


def test_exact_tests_of_many_counts_are_scipys():
    only_first, only_second = np.array([0, 3, 10, 7]), np.array([0, 9, 2, 7])
    expected = [1.0, *(scipy_stats.binomtest(min(a, b), a + b, 0.5).pvalue for a, b in ((3, 9), (10, 2), (7, 7)))]
    np.testing.assert_allclose(statistics.mcnemar_of_counts(only_first, only_second), np.minimum(expected, 1))


def test_holm_keeps_shape_and_leaves_out_what_is_no_test():
    np.testing.assert_allclose(
        statistics.holm(np.array([[0.02, np.nan], [0.03, np.nan]])), [[0.04, np.nan], [0.04, np.nan]]
    )


def test_wilson_of_many_at_once_is_scipys():
    low, high = statistics.wilson_bounds(np.array([0.0, 5, 10]), np.array([10.0, 10, 10]))
    for place, successes in enumerate((0, 5, 10)):
        interval = scipy_stats.binomtest(successes, 10).proportion_ci(method="wilson")
        assert (low[place], high[place]) == pytest.approx((interval.low, interval.high))
