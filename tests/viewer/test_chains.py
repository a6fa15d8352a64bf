"""Orders, interactions and shares of steps: synthetic chains with known effects, and by hand."""

import itertools

import numpy as np
import pytest
import scipy.stats
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.measure.contributions import interaction, shapley_weights, subsequences
from tests.viewer.test_effects import results_of
from viewer.compare.effects.chain_tables import chain_tables
from viewer.compare.effects.chains import Chains

SHARES = st.floats(-0.05, 0.05)


def share(values, steps, step):
    return sum(weight * (values[joined] - values[part]) for part, joined, weight in shapley_weights(steps, step))


@settings(deadline=None)
@given(st.dictionaries(st.sampled_from("abcde"), SHARES, min_size=2), SHARES)
def test_steps_that_add_up_have_their_own_effects_as_shares(own, base):
    steps = tuple(own)
    values = {part: base + sum(own[step] for step in part) for part in subsequences(steps)}
    for step in steps:
        assert share(values, steps, step) == pytest.approx(own[step], abs=1e-12)


@settings(deadline=None, max_examples=20)
@given(st.lists(SHARES, min_size=16, max_size=16))
def test_shares_are_means_over_all_orders_and_sum_up(figures):
    steps = tuple("abcd")
    values = dict(zip(subsequences(steps), figures, strict=True))
    for step in steps:
        gains = []
        for order in itertools.permutations(steps):
            before = tuple(each for each in steps if each in order[: order.index(step)])
            after = tuple(each for each in steps if each in before or each == step)
            gains.append(values[after] - values[before])
        assert share(values, steps, step) == pytest.approx(np.mean(gains), abs=1e-12)
    total = sum(share(values, steps, step) for step in steps)
    assert total == pytest.approx(values[steps] - values[()], abs=1e-12)


def test_an_interaction_by_hand():
    values = {(): 0.9, ("a",): 0.8, ("b",): 0.85, ("a", "b"): 0.6}
    assert interaction(values.__getitem__, "a", "b") == pytest.approx(-0.15)


def store(seeds, cut, tune, together, order, noise=0.001):
    """Roots with every part of cut and tune, in both orders; `order` is what cutting last changes."""
    models = {}
    for seed, offset in enumerate(seeds):
        base, accuracy = f"r[seed={seed}]", 0.8 + offset
        models[base] = (None, "train", {"seed": seed}, accuracy, 100)
        models[f"{base}c"] = (base, "cut", {"at": 1}, accuracy + cut, 50)
        models[f"{base}t"] = (base, "tune", {}, accuracy + tune, 100)
        models[f"{base}ct"] = (f"{base}c", "tune", {}, accuracy + cut + tune + together, 50)
        models[f"{base}tc"] = (f"{base}t", "cut", {"at": 1}, accuracy + cut + tune + together + order, 50)
    return results_of(models, noise=noise)


@settings(max_examples=10, deadline=None)
@given(cut=SHARES, tune=SHARES, together=SHARES, order=SHARES)
def test_known_effects_of_chains_are_recovered(cut, tune, together, order):
    found = Chains(store([0.0], cut, tune, together, order))
    (contrast,) = found.orders
    sign = 1 if "tune" in found.names[contrast.first] else -1  # the first before the second
    assert found.order_effect(contrast, "accuracy").measured.value == pytest.approx(sign * order)
    by_names = {(found.names[each.first][:3], found.names[each.second][:3]): each for each in found.interactions}
    assert found.interaction(by_names["cut", "tun"], "accuracy").measured.value == pytest.approx(together)
    assert found.interaction(by_names["tun", "cut"], "accuracy").measured.value == pytest.approx(together + order)
    (one, _) = found.shares
    own = {found.names[step][:3]: found.share(one, step, "accuracy").measured.value for step in one.steps}
    joint = together if found.names[one.steps[0]].startswith("cut") else together + order
    assert own == pytest.approx({"cut": cut + joint / 2, "tun": tune + joint / 2})


def test_seeds_give_the_interval():
    offsets = [0.0, 0.004, -0.002]
    results = store([0.0, 0.01, 0.02], -0.1, 0.05, 0.02, 0.0, noise=1e-6)
    column = results.column("accuracy").value
    for seed, offset in enumerate(offsets):
        column[results.row[f"r[seed={seed}]tc"]] += offset
    found = Chains(results)
    (contrast,) = found.orders
    assert contrast.seeds == 3
    measured = found.order_effect(contrast, "accuracy").measured
    low, high = scipy.stats.t.interval(0.95, 2, np.mean(offsets), scipy.stats.sem(offsets))
    sign = 1 if "tune" in found.names[contrast.first] else -1
    assert [measured.low, measured.high] == pytest.approx(sorted([sign * low, sign * high]), rel=1e-2)


def test_sizes_change_by_factors_and_the_tables_have_every_row():
    results = store([0.0, 0.01], -0.1, 0.05, 0.02, 0.01)
    found = Chains(results)
    (one, _) = found.shares
    logs = {found.names[step][:3]: found.share(one, step, "bytes").measured.value for step in one.steps}
    assert logs == pytest.approx({"cut": np.log(0.5), "tun": 0.0})
    orders, shares, interactions = chain_tables(results, ["accuracy", "bytes"])
    assert len(orders["rows"]) == 1
    assert [len(shares["rows"]), len(interactions["rows"])] == [6, 2]
    assert orders["rows"][0]["count"] == 4


def test_results_without_parts_have_no_tables():
    assert (
        chain_tables(results_of({"a": (None, "train", {}, 0.9, 1), "b": ("a", "cut", {}, 0.8, 1)}), ["accuracy"]) == []
    )
