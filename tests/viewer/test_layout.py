"""The model map: all placed, none overlapping, few columns, readable at any size, fast."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.studies import study, synthetic_study
from tests.timing import in_loops
from tests.viewer.forests import chain, imported, node_lists
from viewer.map.bundles import Bundles
from viewer.map.layout import ROWS, layout
from viewer.results.lineage import Forest, Node, StepOutcome

ARRANGEMENTS = ["operation", "step", "time"]


@pytest.fixture(scope="module")
def ones():
    return Forest(imported(study()))


@pytest.fixture(scope="module", params=[500, 5000])
def large(request):
    return Forest(imported(synthetic_study(request.param)))


def least_columns(forest):
    """Return the columns that any alignment needs: per operation, the most that one lineage has of it; and the base's."""
    most = {}
    for key in forest.nodes:
        ops = [forest[step].op for step in forest.path(key)[1:]]
        for op in ops:
            most[op] = max(most.get(op, 0), ops.count(op))
    return sum(most.values()) + 1


def test_a_study_of_fifty_two_models_takes_eight_columns_and_no_arrangement_could_take_fewer(ones):
    found = layout(ones)
    assert len(found.columns) == least_columns(ones) == 8
    assert [column.label for column in found.columns] == [
        "train", "magnitude prune", "gradient prune", "train 2", "magnitude prune 2", "calibrate", "train 3", "quantize",
    ]  # fmt: skip
    assert len(found.columns[-1].models) == 26
    assert found.rows == 26
    assert len(found.positions) == 52
    assert not any(placed.hidden for placed in found.positions.values())


def test_large_studies_take_no_more_columns_than_kinds_times_steps_and_one(large):
    assert len(layout(large, rows=None).columns) <= 7 * 6 + 1


@pytest.mark.parametrize("seed", range(5))
def test_five_hundred_models_take_at_most_forty_three_columns(seed):
    assert len(layout(Forest(imported(synthetic_study(500, seed))), rows=None).columns) <= 43


@pytest.mark.parametrize("arrange", ARRANGEMENTS)
def test_large_studies_are_folded_to_what_can_be_read(large, arrange):
    found = layout(large, arrange=arrange)
    assert 20 <= found.rows <= ROWS
    assert len(found.owner) == len(large)
    assert sum(placed.hidden for placed in found.positions.values()) > 0


def test_it_is_fast(large):
    bundles = Bundles(large)
    assert in_loops(lambda: layout(large, bundles=Bundles(large))) < 0.08 * max(500, len(large))
    assert in_loops(lambda: layout(large, rows=None, bundles=bundles)) < 0.08 * len(large)


@pytest.mark.parametrize("arrange", ARRANGEMENTS)
def test_five_thousand_steps_in_a_row(arrange):
    forest = chain(5000)
    found = layout(forest, arrange=arrange)
    assert len(found.positions) == 5000
    assert found.rows == 1


@given(node_lists(most=60), st.sampled_from(ARRANGEMENTS), st.sampled_from([None, 5, 20]))
def test_all_are_placed_none_over_another_and_children_right_of_their_parents(nodes, arrange, rows):
    forest = Forest(nodes)
    found = layout(forest, arrange=arrange, rows=rows)
    assert set(found.owner) == set(forest.nodes)
    assert set(found.owner.values()) == set(found.positions)
    cells = [(placed.column, placed.row) for placed in found.positions.values()]
    assert len(set(cells)) == len(cells)
    assert all(0 <= column < len(found.columns) and 0 <= row < found.rows for column, row in cells)
    for edge in found.edges:
        assert found.positions[edge.parent].column < found.positions[edge.child].column
    assert len(found.edges) == sum(placed.parent is not None for placed in found.positions.values())


@given(node_lists(most=60), st.sampled_from(ARRANGEMENTS), st.randoms())
def test_the_map_does_not_depend_on_the_order_of_the_rows(nodes, arrange, rng):
    shuffled = nodes[:]
    rng.shuffle(shuffled)
    assert layout(Forest(nodes), arrange=arrange, rows=15) == layout(Forest(shuffled), arrange=arrange, rows=15)


@given(node_lists(most=60), st.data())
def test_a_folded_model_stands_for_its_descendants(nodes, data):
    forest = Forest(nodes)
    key = data.draw(st.sampled_from(sorted(forest.nodes)))
    found = layout(forest, rows=None, closed=[key])
    assert found.positions[key].hidden == len(forest.descendants(key))
    assert all(found.owner[below] == key for below in forest.descendants(key))
    assert found.positions[key].can_fold is bool(forest.children(key))


def test_columns_name_their_models_with_those_in_bundles():
    nodes = [Node("r", op="train", kind="base")] + [
        Node(f"p{at}", "r", op="prune", kind="prune", params={"amount": at}) for at in range(70)
    ]
    found = layout(Forest(nodes))
    base, prune = found.columns
    assert (base.label, base.kind, base.models) == ("train", "base", ("r",))
    assert (prune.label, prune.kind, set(prune.models)) == ("prune", "prune", {f"p{at}" for at in range(70)})
    (bundle,) = [placed for placed in found.positions.values() if placed.bundle]
    assert bundle.bundle.label == "prune amount 0…69, 70 models"
    assert bundle.hidden == 70
    assert found.owner["p3"] == bundle.id


def test_failed_steps_below_a_folded_model_are_counted():
    nodes = [Node("r", op="train"), Node("a", "r", op="prune"),
             Node("b", "a", op="quantize", outcome=StepOutcome.FAILED, reason="no such kernel"),
             Node("c", "b", op="finetune", outcome=StepOutcome.SKIPPED)]  # fmt: skip
    assert layout(Forest(nodes), closed=["a"]).positions["a"].failed == 2
    assert layout(Forest(nodes)).positions["b"].failed == 1


def test_no_models_no_map():
    found = layout(Forest([]))
    assert (found.positions, found.columns, found.rows, found.edges) == ({}, [], 0, [])
