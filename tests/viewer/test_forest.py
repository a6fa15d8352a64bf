"""Lineage as plain data: robust against what files contain, the same for any order of the input."""

import random

from hypothesis import given
from hypothesis import strategies as st

from tests.timing import in_loops
from tests.viewer.forests import chain, node_lists
from viewer.results.lineage import Forest, Node, Problem


def test_children_are_listed_by_operation_then_by_parameter_in_natural_order():
    nodes = [Node("r")] + [
        Node(f"{op}{amount}", "r", op=op, params={"amount": amount}, order=-amount)
        for op in ("quantize", "prune")
        for amount in (16, 4, 8)
    ]
    assert Forest(nodes).children("r") == ["prune4", "prune8", "prune16", "quantize4", "quantize8", "quantize16"]


def test_relations():
    forest = Forest([Node("c", "b"), Node("b", "a"), Node("a"), Node("d", "b"), Node("e", "a"), Node("x")])
    assert forest.roots == ["a", "x"]
    assert forest.path("c") == ["a", "b", "c"]
    assert forest.ancestors("c") == ["b", "a"]
    assert forest.descendants("a") == ["b", "c", "d", "e"]
    assert [forest.depth(key) for key in "abcx"] == [0, 1, 2, 0]
    assert forest.root("d") == "a"
    assert forest.common_ancestor(["c", "d"]) == "b"
    assert forest.common_ancestor(["c", "b"]) == "b"
    assert forest.common_ancestor(["c", "x"]) is None
    assert forest.common_ancestor([]) is None
    assert not forest.problems


def test_a_missing_parent_makes_a_root_and_is_reported():
    forest = Forest([Node("a", "gone", name="net/int8")])
    assert forest.roots == ["a"]
    assert forest.parent("a") is None
    assert forest.problems == [Problem("a", "net/int8: its parent 'gone' is not among the models")]


def test_a_cycle_is_cut_at_its_earliest_model_and_reported():
    forest = Forest([Node("a", "c", order=2), Node("b", "a", order=1), Node("c", "b", order=3), Node("d", "c")])
    assert forest.roots == ["b"]
    assert forest.path("d") == ["b", "c", "d"]
    assert [problem.key for problem in forest.problems] == ["b"]
    assert "lead back to itself" in forest.problems[0].text


def test_a_model_that_is_its_own_parent_is_a_root():
    forest = Forest([Node("a", "a")])
    assert forest.roots == ["a"]
    assert len(forest.problems) == 1


def test_of_two_models_with_one_key_the_earlier_is_kept_and_the_other_reported():
    forest = Forest([Node("a", name="late", order=2), Node("a", name="early", order=1)])
    assert forest["a"].name == "early"
    assert [problem.text for problem in forest.problems] == [
        "late: another model has the same key; this one is not shown"
    ]


@given(st.lists(st.tuples(st.integers(0, 12), st.none() | st.integers(0, 14)), max_size=14), st.randoms())
def test_any_input_gives_a_forest_that_does_not_depend_on_its_order(records, rng):
    nodes = [Node(str(key), None if parent is None else str(parent), order=key % 3) for key, parent in records]
    forest = Forest(nodes)
    shuffled = nodes[:]
    rng.shuffle(shuffled)
    again = Forest(shuffled)
    assert sorted(forest.preorder) == sorted({node.key for node in nodes})
    assert forest.preorder == again.preorder
    assert {problem.key for problem in forest.problems} == {problem.key for problem in again.problems}
    for key in forest.nodes:
        assert forest.path(key)[0] in forest.roots
        assert all(forest.parent(child) == key for child in forest.children(key))


@given(node_lists())
def test_relations_agree_with_their_definitions(nodes):
    forest = Forest(nodes)
    assert not forest.problems
    position = {key: at for at, key in enumerate(forest.preorder)}
    for node in nodes:
        assert forest.depth(node.key) == len(forest.ancestors(node.key))
        assert all(node.key in forest.ancestors(key) for key in forest.descendants(node.key))
        assert node.parent is None or position[node.parent] < position[node.key]
    keys = [node.key for node in random.Random(0).sample(nodes, min(3, len(nodes)))]
    shared = set.intersection(*(set(forest.path(key)) for key in keys))
    assert forest.common_ancestor(keys) == max(shared, key=forest.depth, default=None)


def test_a_lineage_of_five_thousand_steps_is_followed_quickly():
    def follow():
        forest = chain(5000)
        assert forest.depth("04999") == 4999
        assert len(forest.descendants("00000")) == 4999

    assert in_loops(follow) < 400
