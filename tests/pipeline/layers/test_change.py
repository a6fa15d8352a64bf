"""Comparisons of tensors against NumPy in float64."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from pipeline.layers.compare.difference import CLASSES, compare
from pipeline.layers.stats.histogram import ROWS, summarize

LIMITS = (-3.0, 3.0)


def expected(new, old):
    both = np.isfinite(new) & np.isfinite(old)
    a, b = new[both].astype(np.float64), old[both].astype(np.float64)
    away = a - b
    return a, b, away


@settings(deadline=None, max_examples=150)
@given(arrays.arrays(np.float32, (2, 60), elements=st.floats(width=32, allow_nan=True, allow_infinity=True)))
def test_against_numpy_with_zeros_outliers_nan_and_inf(pair):
    new, old = pair
    found = compare(new, old, limits=LIMITS)
    a, b, away = expected(new, old)
    assert found.count == 60
    assert found.nonfinite == 60 - a.size
    assert found.zero_both == ((a == 0) & (b == 0)).sum()
    assert found.zero_here == ((a == 0) & (b != 0)).sum()
    assert found.zero_there == ((a != 0) & (b == 0)).sum()
    if not a.size:
        assert found.mean_abs_change is None
        return
    assert found.mean_abs_change == pytest.approx(np.abs(away).mean(), rel=1e-5, abs=1e-30)
    assert sum(found.counts) == found.counted == a.size
    if (b**2).sum() > 0 and (away**2).sum() > 0:
        assert found.sqnr_db == pytest.approx(10 * math.log10((b**2).sum() / (away**2).sum()), abs=1e-3)


def test_four_million_weights_that_hardly_changed_do_not_read_as_zero():
    rng = np.random.default_rng(0)
    old = (rng.standard_normal(4_000_000) * 0.02).astype(np.float32)
    new = (old + rng.standard_normal(4_000_000) * 2e-6).astype(np.float32)
    a, b, away = expected(new, old)
    for known in (None, (summarize(new), summarize(old))):
        found = compare(new, old, limits=LIMITS, summaries=known)
        assert found.mean_abs_change == pytest.approx(np.abs(away).mean(), rel=1e-6)
        assert found.mean_abs_change > 1e-6
        assert found.sqnr_db == pytest.approx(10 * np.log10((b**2).sum() / (away**2).sum()), abs=1e-5)
        assert found.cosine == pytest.approx(np.dot(a, b) / np.linalg.norm(a) / np.linalg.norm(b), abs=1e-12)
        assert found.relative_change == pytest.approx(np.abs(away).sum() / np.abs(b).sum(), rel=1e-6)
        assert 0 < found.counted <= 4_000_000


def test_a_mean_change_that_overflows_half_precision():
    old = np.zeros(4_200_000, np.float32)
    found = compare(old + np.float32(0.02), old, limits=LIMITS)
    assert found.mean_abs_change == pytest.approx(0.02, rel=1e-6)
    assert found.zero_there == 4_200_000
    assert found.sqnr_db == -math.inf
    assert found.relative_change is None
    assert found.cosine is None


@pytest.mark.parametrize("size", [1e-30, 1e-20, 1e20, 3e38])
def test_changes_whose_squares_float32_cannot_hold(size):
    rng = np.random.default_rng(0)
    old = (rng.standard_normal(70_000) * min(size, 1e37)).astype(np.float32)
    new = np.where(np.arange(70_000) % 2, np.float32(size), old).astype(np.float32)
    _, b, away = expected(new, old)
    for known in (None, (summarize(new), summarize(old))):
        found = compare(new, old, limits=LIMITS, summaries=known)
        assert found.mean_abs_change == pytest.approx(np.abs(away).mean(), rel=1e-6)
        assert found.sqnr_db == pytest.approx(10 * math.log10((b**2).sum() / (away**2).sum()), abs=1e-4)


def test_pruned_values_changed_by_exactly_all_of_themselves():
    old = np.array([1, -2, 0.5, 0, 4], np.float32)
    new = np.array([0, -2, 0.5, 0, 4.2], np.float32)
    found = compare(new, old, limits=LIMITS)
    table = np.array(found.counts).reshape(ROWS, CLASSES)
    assert table[-1].tolist() == [1, 0, 0, 0, 0, 1]  # zeros: one stayed, one was 1
    assert table.sum(axis=0).tolist() == [3, 0, 1, 0, 0, 1]
    assert (found.zero_both, found.zero_here, found.zero_there) == (1, 1, 0)


@pytest.mark.parametrize(("change", "place"), [(0.0, 0), (0.005, 1), (0.05, 2), (0.3, 3), (0.7, 4), (1.5, 5)])
def test_classes_of_relative_change(change, place):
    old = np.full(10, 2.0, np.float32)
    table = np.array(compare(old * np.float32(1 - change), old, limits=LIMITS).counts).reshape(ROWS, CLASSES)
    assert table.sum(axis=0).tolist() == [10 if index == place else 0 for index in range(CLASSES)]


def test_what_is_known_of_the_sides_gives_the_same_answer():
    rng = np.random.default_rng(1)
    old = rng.standard_normal(100_000).astype(np.float32)
    new = np.where(rng.random(100_000) < 0.3, 0, old).astype(np.float32)
    plain = compare(new, old, limits=LIMITS)
    light = compare(new, old, limits=LIMITS, summaries=(summarize(new), summarize(old)))
    assert (plain.zero_here, plain.zero_both, plain.counts) == (light.zero_here, light.zero_both, light.counts)
    assert plain.sqnr_db == pytest.approx(light.sqnr_db, rel=1e-12)
    assert plain.cosine == pytest.approx(light.cosine, rel=1e-9)


def test_infinities_are_counted_even_when_the_sides_are_known():
    old = np.ones(1000, np.float32)
    new = old.copy()
    new[3], new[4] = np.inf, np.nan
    found = compare(new, old, limits=LIMITS, summaries=(summarize(new), summarize(old)))
    assert found.nonfinite == 2
    assert found.mean_abs_change == 0


def test_shapes_must_agree():
    with pytest.raises(ValueError, match=r"Only equal shapes can be compared, not \(3,\) and \(4,\)"):
        compare(np.zeros(3, np.float32), np.zeros(4, np.float32), limits=LIMITS)
