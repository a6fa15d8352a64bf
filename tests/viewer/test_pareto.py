"""The front and the relaxing budget against brute force."""

import math

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from viewer.format.metrics import Better
from viewer.results.pareto import best_within, front

values = st.one_of(st.integers(-3, 3).map(float), st.floats(-1, 1), st.just(math.nan), st.just(math.inf))
points = st.lists(st.tuples(values, values), max_size=12)
better = st.sampled_from([Better.HIGHER, Better.LOWER])


def sign(direction):
    return -1 if direction is Better.LOWER else 1


def dominates(a, b, sx, sy):
    return sx * a[0] >= sx * b[0] and sy * a[1] >= sy * b[1] and a != b


@given(points, better, better)
def test_the_front_is_what_nothing_dominates(rows, bx, by):
    finite = [i for i, row in enumerate(rows) if all(map(math.isfinite, row))]
    expected = {i for i in finite if not any(dominates(rows[j], rows[i], sign(bx), sign(by)) for j in finite)}
    found = front([x for x, _ in rows], [y for _, y in rows], bx, by)
    assert set(found) == expected
    assert len(found) == len(expected)
    assert [rows[i][0] for i in found] == sorted(rows[i][0] for i in found)


@given(points, better, better, st.data())
def test_a_wider_budget_buys_the_best_there_is(rows, bx, by, data):
    among = np.array(data.draw(st.lists(st.booleans(), min_size=len(rows), max_size=len(rows))), dtype=bool)
    steps = best_within([x for x, _ in rows], [y for _, y in rows], bx, by, among)
    usable = [row for row, use in zip(rows, among, strict=True) if use and all(map(math.isfinite, row))]
    for budget in {x for x, _ in usable}:
        affordable = [sign(by) * y for x, y in usable if sign(bx) * x >= sign(bx) * budget]
        reached = [sign(by) * step.value for step in steps if sign(bx) * step.budget >= sign(bx) * budget]
        assert max(reached) == max(affordable)
    goals = [sign(by) * step.value for step in steps]
    assert goals == sorted(set(goals))
