"""Geometry of the ribbons between parents and children."""

import time

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from viewer.map.drawing import Looks, Words, draw
from viewer.map.layout import layout
from viewer.map.ribbons import joined, ribbons
from viewer.results.lineage import Forest, Node

finite = st.floats(-100, 100, width=32)


@given(
    st.integers(1, 5).flatmap(
        lambda n: st.tuples(
            *[arrays.arrays(float, (n, 2), elements=finite)] * 2,
            *[arrays.arrays(float, n, elements=st.floats(0.1, 5))] * 2,
        )
    )
)
def test_a_ribbon_joins_both_ends_with_their_widths_and_has_no_gap(given_):
    start, end, w0, w1 = given_
    made = ribbons(start, end, w0, w1, pieces=4)
    for index in range(len(start)):
        own = made.ribbon == index
        xs, ys = made.xs[own], made.ys[own]
        assert np.allclose(xs[0, 0], start[index, 0], atol=1e-3)
        assert np.allclose([ys[0, 0], ys[0, -1]], [start[index, 1] - w0[index], start[index, 1] + w0[index]], atol=1e-3)
        side = xs.shape[1] // 2
        assert np.allclose(
            [ys[-1, side - 1], ys[-1, side]], [end[index, 1] - w1[index], end[index, 1] + w1[index]], atol=1e-3
        )
        middle = side // 2
        for edge in (
            xs,
            ys,
        ):  # every piece ends where the next but one begins, so that all but the first are painted twice
            assert np.array_equal(edge[1:, 0], edge[:-1, middle])
            assert np.array_equal(edge[1:, : middle + 1], edge[:-1, middle:side])
            assert np.array_equal(edge[2:, -1], edge[:-2, side])
    assert (np.diff(made.along[made.ribbon == 0]) > 0).all()


def test_a_ribbon_never_turns_back():
    made = ribbons(np.zeros((1, 2)), np.array([[1.0, 5.0]]), np.ones(1), np.ones(1))
    lower = made.xs[:, : made.xs.shape[1] // 2]
    assert (np.diff(lower, axis=1) >= -1e-6).all()
    assert (np.diff(lower, axis=0) >= -1e-6).all()


def test_five_thousand_ribbons_cost_little():
    start, end = np.random.default_rng(0).normal(size=(2, 5000, 2))
    width = np.ones(5000)
    ribbons(start, end, width, width)
    begin = time.process_time()
    ribbons(start, end, width, width)
    plain = time.process_time()
    np.sort(np.random.default_rng(0).normal(size=5_000_000))  # a yardstick of this machine, about half a second
    assert plain - begin < time.process_time() - plain


def test_a_long_ribbon_bends_within_its_turn_and_then_runs_straight_with_its_colour_and_width_changing_evenly():
    made = ribbons(np.zeros((1, 2)), np.array([[4.0, 3.0]]), np.array([0.3]), np.array([0.1]), turn=1.0)
    side = made.xs.shape[1] // 2
    x = made.xs[:, :side].ravel()
    middle = (made.ys[:, :side] + made.ys[:, : side - 1 : -1]).ravel() / 2
    half = (made.ys[:, : side - 1 : -1] - made.ys[:, :side]).ravel() / 2
    assert np.allclose(middle[x >= 1 - 1e-6], 3.0)
    assert (middle[x < 0.9] < 3.0).all()
    assert (np.diff(half[np.argsort(x, kind="stable")]) <= 1e-6).all()
    at = (made.xs[:, 0] + made.xs[:, side // 2]) / 2
    assert np.allclose(made.along, at / 4.0, atol=1e-6)


def test_a_short_ribbon_is_the_same_with_and_without_a_turn():
    ends = np.zeros((1, 2)), np.array([[1.0, 3.0]]), np.array([0.3]), np.array([0.1])
    assert all(np.array_equal(a, b) for a, b in zip(ribbons(*ends, turn=1.0), ribbons(*ends), strict=True))


def test_ribbons_that_were_made_apart_stand_in_their_order():
    start, end = np.zeros((3, 2)), np.array([[1.0, 0.0], [1.0, 1.0], [1.0, 2.0]])
    half = np.full(3, 0.2)
    parts = [
        (rows, ribbons(start[rows], end[rows], half[rows], half[rows], pieces=pieces))
        for rows, pieces in ((np.array([0, 2]), 2), (np.array([1]), 5))
    ]
    made = joined(parts)
    assert made.ribbon.tolist() == [0, 0, 1, 1, 1, 1, 1, 2, 2]
    tip = made.ys.shape[1] // 2 - 1
    assert made.ys[[1, 6, 8], tip] == pytest.approx(np.array([0.0, 1.0, 2.0]) - 0.2)


def test_ribbons_whose_colour_changes_have_more_pieces():
    forest = Forest([Node("base", None), Node("alike", "base", op="prune"), Node("other", "base", op="prune")])
    rgb = np.array([[0, 60, 200], [4, 60, 200], [200, 90, 0]])
    looks = Looks(rgb, np.ones(3), np.ones(3, dtype=bool))
    made = draw(layout(forest), forest, {"base": 0, "alike": 1, "other": 2}, looks, Words(str, lambda node: ""))
    counts = {key: int((made.ribbons["child"] == row).sum()) for key, row in made.index.items()}
    assert counts == {"base": 0, "alike": 8, "other": 40}


@pytest.mark.parametrize("ground", ["#ffffff", "#1b222b"])
def test_what_is_outside_the_budget_is_opaque_and_hardly_stands_out_from_the_ground(ground):
    """An opacity would add up where pieces overlap, and show as stripes."""
    forest = Forest([Node("base", None), Node("child", "base", op="prune")])
    looks = Looks(np.array([[0, 60, 200], [200, 90, 0]]), np.ones(2), np.ones(2, dtype=bool), ground)
    made = draw(layout(forest), forest, {"base": 0, "child": 1}, looks, Words(str, lambda node: "")).ribbons
    color, faint = (made[name].view(np.uint8).reshape(-1, 4)[:, ::-1].astype(int) for name in ("color", "faint"))
    below = np.array(list(bytes.fromhex(ground[1:])))
    assert (faint[:, 3] == 255).all()
    assert len(np.unique(color[:, :3], axis=0)) == len(color) > 1
    ratio = np.abs(faint[:, :3] - below).sum(axis=1) / np.abs(color[:, :3] - below).sum(axis=1)
    assert ((ratio > 0.05) & (ratio < 0.2)).all()
