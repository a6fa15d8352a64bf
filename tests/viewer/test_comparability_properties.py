"""Selection details of any selection: always drawn, no two models over each other, in order, and soon."""

import random
from functools import partial

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.studies import study, synthetic_study
from tests.timing import in_loops
from tests.viewer.forests import chain, imported, lineage_keys, node_lists
from viewer.compare.alignment import token
from viewer.compare.comparison import compare_selection, narrow
from viewer.results.lineage import Forest, Node

AT_ONCE = 40
"""Loops; about a tenth of a second: details must follow a click."""


@pytest.fixture(scope="module")
def studies():
    return {count: Forest(imported(synthetic_study(count))) for count in (500, 5000)} | {52: Forest(imported(study()))}


def steps(forest, key):
    """Return everything that may tell two lineages apart."""
    path = forest.path(key)
    root = forest[path[0]]
    return (root.name, token(root.params), *((forest[step].op, token(forest[step].params)) for step in path[1:]))


def check(forest, keys):
    """Assert what must hold of every comparison, and return it."""
    comparison = compare_selection(forest, keys)
    assert sorted(comparison.keys) == sorted(set(keys))
    places = {mark.key: (mark.x, mark.color, mark.facet) for mark in comparison.marks}
    assert len({(mark.x, mark.color, mark.facet, mark.repeat) for mark in comparison.marks}) == len(set(keys))
    if len(set(keys)) > 1:
        assert 1 <= len(comparison.encodings) <= 3
    one_lineage = {}
    for key in keys:
        one_lineage.setdefault(steps(forest, key), []).append(places[key])
    if len(one_lineage) > 1:  # else they are repeats, drawn by their number
        assert all(len(set(found)) == 1 for found in one_lineage.values())
        assert len({found[0] for found in one_lineage.values()}) == len(one_lineage)
    for variable in comparison.encodings:
        assert len(set(variable.values)) == len(variable.values) > 1
        assert all(variable.values)
        numbers = [number for number in variable.numbers or () if number is not None]
        assert numbers == sorted(numbers)
    assert comparison.sentence
    return comparison


@given(node_lists(most=50), st.data())
def test_any_selection_of_any_forest(nodes, data):
    forest = Forest(nodes)
    keys = data.draw(st.lists(st.sampled_from(sorted(forest.nodes)), min_size=1, max_size=20))
    check(forest, keys)


@given(node_lists(most=30), st.randoms())
def test_neither_the_order_of_the_selection_nor_of_the_rows_matters(nodes, rng):
    keys = [node.key for node in nodes]
    comparison = compare_selection(Forest(nodes), keys)
    shuffled, again = keys[:], nodes[:]
    rng.shuffle(shuffled)
    rng.shuffle(again)
    assert compare_selection(Forest(again), shuffled) == comparison


@given(st.lists(st.permutations("abcd").map(tuple), min_size=2, max_size=8, unique=True))
def test_lineages_of_the_same_operations_in_other_orders_are_told_apart(orders):
    forest, keys = lineage_keys(*[("net", *order) for order in orders])
    comparison = check(forest, keys)
    drawn = [tuple(variable.value(key) for variable in comparison.encodings) for key in keys]
    assert len(set(drawn)) == len(orders)
    if len(comparison.encodings) == 1:
        for (label,), order in zip(drawn, orders, strict=True):
            named = [part for part in label.split(" → ") if part in order]
            assert named == [op for op in order if op in named]


@pytest.mark.parametrize("size", [2, 4, 8, 16, 30])
def test_random_selections_of_the_study_are_always_drawn(studies, size):
    rng = random.Random(size)
    for _ in range(25):
        check(studies[52], rng.sample(sorted(studies[52].nodes), size))


@pytest.mark.parametrize("count", [500, 5000])
def test_any_sixteen_models_are_compared_at_once(studies, count):
    forest = studies[count]
    rng = random.Random(0)
    slowest = 0.0
    for size in (2, 4, 8, 12, 16) * 2:
        keys = rng.sample(sorted(forest.nodes), size)
        slowest = max(slowest, in_loops(partial(compare_selection, forest, keys)))
        check(forest, keys)
    assert slowest < AT_ONCE


def test_siblings_subtrees_and_paths_of_a_large_study(studies):
    forest = studies[500]
    rng = random.Random(1)
    parents = [key for key in forest.nodes if forest.children(key)]
    for key in rng.sample(parents, 12):
        check(forest, forest.children(key))
        check(forest, [key, *forest.descendants(key)][:60])
        check(forest, forest.path(key))


def test_five_hundred_models_at_once(studies):
    keys = sorted(studies[500].nodes)
    check(studies[500], keys)
    assert in_loops(partial(compare_selection, studies[500], keys)) < 10 * AT_ONCE


def branches(count, length, kinds):
    rng = random.Random(count * length)
    nodes = [Node("r", None, "net", op="train")]
    for branch in range(count):
        parent = "r"
        for at in range(length):
            key = f"{branch}-{at}"
            params = {"amount": rng.choice([1, 2])}
            nodes.append(Node(key, parent, key, op=rng.choice("abcdefgh"[:kinds]), params=params, order=at))
            parent = key
    return Forest(nodes), [f"{branch}-{length - 1}" for branch in range(count)]


@pytest.mark.parametrize("kinds", [1, 3, 8])
def test_time_grows_slowly_with_the_number_of_steps(kinds):
    """The prototype's grew sixfold with every step: 1.1 s at five steps of three kinds."""
    for length in (5, 20, 80):
        forest, keys = branches(16, length, kinds)
        check(forest, keys)
        assert in_loops(partial(compare_selection, forest, keys)) < 40 + length


def test_lineages_of_thousands_of_steps():
    forest = chain(3000)
    keys = ["00001", "00900", "02999"]
    comparison = check(forest, keys)
    assert in_loops(partial(compare_selection, forest, keys)) < 10 * AT_ONCE
    assert all(len(value) < 400 for value in comparison.x.values)


@given(node_lists(most=30), st.data())
def test_narrowing_agrees_with_its_definition(nodes, data):
    comparison = compare_selection(Forest(nodes), [node.key for node in nodes])
    chosen = {
        variable.id: data.draw(st.lists(st.sampled_from(variable.values), unique=True))
        for variable in comparison.variables
    }
    kept = narrow(comparison, chosen)
    for key in comparison.keys:
        fits = [not chosen[v.id] or v.value(key) in chosen[v.id] for v in comparison.variables]
        assert (key in kept) is all(fits)
