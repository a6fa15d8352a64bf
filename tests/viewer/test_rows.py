"""Rows: packed, with nothing over anything else."""

import random
from functools import partial

from hypothesis import given
from hypothesis import strategies as st

from tests.timing import in_loops
from viewer.map.rows import pack


@st.composite
def drawn(draw, most=40):
    """Draw (columns, parents) in preorder, with edges over several columns."""
    rng = random.Random(draw(st.integers(0, 10**6)))
    columns, parents, path = [], [], []
    for _ in range(draw(st.integers(0, most))):
        del path[rng.randint(0, len(path)) :]
        parent = path[-1] if path else -1
        parents.append(parent)
        columns.append(0 if parent < 0 else columns[parent] + rng.choice([1, 1, 1, 2, 4]))
        path.append(len(columns) - 1)
    return columns, parents


def taken(columns, parents, rows):
    """Yield the cells of every model and of the straight part of the edge that leads to it."""
    for at, parent in enumerate(parents):
        first = columns[at] if parent < 0 else columns[parent] + 1
        yield from ((column, rows[at]) for column in range(first, columns[at] + 1))


@given(drawn())
def test_no_two_models_overlap_and_no_edge_passes_through_a_model_or_along_an_edge(tree):
    rows = pack(*tree)
    cells = list(taken(*tree, rows))
    assert len(cells) == len(set(cells))


@given(drawn())
def test_edges_do_not_cross(tree):
    """Two edges that bend in the same gap keep their order: whose parent is above, its children are above."""
    columns, parents = tree
    rows = pack(*tree)
    bends = [(columns[parent], rows[parent], rows[at]) for at, parent in enumerate(parents) if parent >= 0]
    passing = [
        (gap, rows[at], rows[at])
        for at, parent in enumerate(parents)
        if parent >= 0
        for gap in range(columns[parent] + 1, columns[at])
    ]
    edges = bends + passing
    for gap, start, end in edges:
        for other_gap, other_start, other_end in edges:
            if gap == other_gap and start < other_start:
                assert end < other_end


@given(drawn())
def test_rows_start_at_nothing_and_are_no_more_than_there_are_ends(tree):
    _, parents = tree
    rows = pack(*tree)
    ends = len(parents) - len({parent for parent in parents if parent >= 0})
    assert min(rows, default=0) == 0
    assert len(set(rows)) <= max(rows, default=-1) + 1 <= ends


@given(drawn())
def test_siblings_keep_their_order_and_a_parent_stands_in_a_childs_row(tree):
    _, parents = tree
    rows = pack(*tree)
    below = {}
    for at, parent in enumerate(parents):
        below.setdefault(parent, []).append(rows[at])
    for parent, children in below.items():
        if parent >= 0:
            assert children == sorted(children)
            assert rows[parent] in children


def test_a_parent_stands_in_the_middle_row_of_its_children():
    assert pack([0, 1, 1, 1], [-1, 0, 0, 0]) == [1, 0, 1, 2]
    assert pack([0, 1, 1], [-1, 0, 0]) == [0, 0, 1]


def test_short_subtrees_fit_beside_long_ones():
    # a - b          the second tree's end does not need a row of its own below the first tree's far ends
    #   \ c - d, e
    columns, parents = [0, 1, 1, 2, 2, 0], [-1, 0, 0, 2, 2, -1]
    assert pack(columns, parents) == [0, 0, 1, 1, 2, 1]


def test_a_chain_of_five_thousand_stands_in_one_row_at_little_cost():
    chain = list(range(5000)), list(range(-1, 4999))
    assert set(pack(*chain)) == {0}
    assert in_loops(partial(pack, *chain)) < 200
