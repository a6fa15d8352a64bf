"""The simulation of winners: what it finds is what arithmetic says."""

import numpy as np
import pytest

from scripts.bench.confirmation import simulate


def test_the_best_of_many_looks_too_good_and_its_confirmed_figure_does_not():
    """52 models that are right on 90 % of instances of their own: the best of 52 normal draws lies 2.25 deviations up."""
    rng = np.random.default_rng(1)
    correct = np.array([rng.permutation(np.arange(4000) < 3600) for _ in range(52)])
    done = simulate(correct, sweeps=500, evaluated=400, confirmed=200)
    deviation = (0.9 * 0.1 / 400) ** 0.5
    assert done.optimism.value == pytest.approx(2.25 * deviation, rel=0.1)
    assert done.optimism.low > 0
    assert done.confirmed.low <= 0 <= done.confirmed.high
    assert done.covered.low <= 0.95 <= done.covered.high + 0.02  # Wilson's interval of a share is a little off at 200
    assert done.chosen_covered.high < 0.95


def test_one_model_alone_is_chosen_by_an_honest_figure():
    correct = np.array([np.arange(1000) < 900])
    done = simulate(correct, sweeps=500, evaluated=400, confirmed=200)
    assert done.optimism.low <= 0 <= done.optimism.high
