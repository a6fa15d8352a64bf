"""Columns: few, in every lineage's order, and the same for any order of the input."""

import itertools
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from viewer.map.columns import ColumnHeading, by_operation, by_step, by_time, supersequence

sequences = st.lists(st.text("abcd", max_size=6), max_size=12)


def holds(long, short):
    rest = iter(long)
    return all(letter in rest for letter in short)


@given(sequences)
def test_a_supersequence_holds_every_sequence_and_nothing_that_none_needs(given_):
    found = supersequence(given_)
    assert all(holds(found, sequence) for sequence in given_)
    for at in range(len(found)):
        assert not all(holds(found[:at] + found[at + 1 :], sequence) for sequence in given_)


@given(sequences.filter(any))
def test_it_is_never_longer_than_kinds_times_length(given_):
    kinds = len(set("".join(given_)))
    assert len(supersequence(given_)) <= kinds * max(map(len, given_))


@given(sequences, st.randoms())
def test_it_does_not_depend_on_the_order_of_the_sequences(given_, rng):
    shuffled = given_ + given_[:2]
    rng.shuffle(shuffled)
    assert supersequence(shuffled) == supersequence(given_)


@given(st.lists(st.text("abc", max_size=3), max_size=4))
def test_for_few_short_sequences_it_is_the_shortest_there_is(given_):
    found = supersequence(given_)
    for length in range(len(found)):
        for other in itertools.product("abc", repeat=length):
            assert not all(holds(other, sequence) for sequence in given_)


@pytest.mark.parametrize(
    ("given_", "expected"),
    [([], ""), ([""], ""), (["ab"], "ab"), (["ab", "a"], "ab"), (["aq", "bq"], "abq"), (["pq", "pcq", "pfq"], "pcfq")],
)
def test_small_supersequences(given_, expected):
    assert "".join(supersequence(given_)) == expected


def test_what_usually_comes_last_is_put_last():
    assert supersequence([["prune", "quantize"], ["quantize"], ["calibrate", "quantize"]])[-1] == "quantize"


@st.composite
def trees(draw):
    """Draw parallel sequences in preorder: operations and the parents' indices."""
    rng = random.Random(draw(st.integers(0, 10**6)))
    parents, ops = [], []
    path = []
    for _ in range(draw(st.integers(0, 40))):
        del path[rng.randint(0, len(path)) :]
        parents.append(path[-1] if path else -1)
        ops.append(rng.choice("abcd"))
        path.append(len(ops) - 1)
    return ops, parents


@given(trees())
def test_a_child_stands_right_of_its_parent_under_its_operation(tree):
    ops, parents = tree
    columns, headers = by_operation(ops, parents)
    for column, op, parent in zip(columns, ops, parents, strict=True):
        assert (column == 0) == (parent < 0)
        if parent >= 0:
            assert column > columns[parent]
            assert headers[column].op == op
    assert set(columns) == set(range(len(headers)))


@given(trees())
def test_columns_are_never_more_than_kinds_times_depth_and_one(tree):
    ops, parents = tree
    steps = by_step(parents)[0]
    kinds = len({op for op, parent in zip(ops, parents, strict=True) if parent >= 0})
    assert len(by_operation(ops, parents)[1]) <= kinds * max(steps, default=0) + 1


@given(trees(), st.randoms())
def test_in_time_a_child_stands_right_of_its_parent_whatever_the_clock_said(tree, rng):
    ops, parents = tree
    times = [rng.choice([0.0, 1.0, 2.5]) for _ in ops]
    columns, headers = by_time(times, parents)
    assert all(parent < 0 or columns[at] > columns[parent] for at, parent in enumerate(parents))
    assert set(columns) == set(range(len(headers)))


def test_a_child_that_is_recorded_before_its_parent_counts_as_made_after_it():
    columns, headers = by_time([0.0, 2.0, 1.9, 3.0], [-1, 0, 1, 2])
    assert columns == [0, 1, 2, 3]
    assert [header.label for header in headers] == ["1", "2", "3", "4"]


def test_headers_number_the_columns_of_one_operation():
    columns, headers = by_operation(["train", "prune", "train", "prune"], [-1, 0, 1, 2])
    assert columns == [0, 1, 2, 3]
    assert headers == [ColumnHeading("train", "train", 1), ColumnHeading("prune", "prune", 1), ColumnHeading("train 2", "train", 2),
                       ColumnHeading("prune 2", "prune", 2)]  # fmt: skip


def test_base_models_of_different_operations_share_the_first_column():
    columns, headers = by_operation(["load", "train", "prune"], [-1, -1, 1])
    assert columns == [0, 0, 1]
    assert headers[0] == ColumnHeading("base", "base", 1)


def test_steps_are_counted_from_the_base():
    columns, headers = by_step([-1, 0, 1, 0])
    assert columns == [0, 1, 2, 1]
    assert [header.label for header in headers] == ["base", "step 1", "step 2"]


def test_time_columns_hold_equally_many_models():
    columns, headers = by_time(list(range(32)), [-1] * 32)
    assert columns == [at // 2 for at in range(32)]
    assert [header.label for header in headers[:2]] == ["1-2", "3-4"]


def test_nothing_has_no_columns():
    assert by_operation([], []) == by_step([]) == by_time([], []) == ([], [])
