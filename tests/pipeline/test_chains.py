"""`ablate` and `permute` become ordinary branches, each once; words of a search are refused by a plain run."""

import itertools
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.plan.chains import with_variants
from pipeline.plan.recipe import RecipeError, parse

PRUNE, TUNE, FILE = ("magnitude_prune", {"sparsity": 0.5}), ("finetune", {"epochs": 1}), ("quantize", {})


def chain(*steps, **words):
    """A tree with one chain below a base; `words` stand on its first step."""
    tree: dict = {}
    for number, (op, params) in reversed(list(enumerate(steps))):
        tree = {f"s{number}": {"op": op, "with": params, **({"then": tree} if tree else {})}}
    tree["s0"] |= words
    return {"base": {"op": "train", "then": tree}}


def paths(tree):
    return {node.path for node in parse({"name": "mine", "tree": tree}).nodes}


def problems(tree):
    with pytest.raises(RecipeError) as caught:
        parse({"name": "mine", "tree": tree})
    return str(caught.value)


def test_ablation_leaves_each_step_out_once():
    assert paths(chain(PRUNE, TUNE, FILE, ablate=True)) == {
        "base", "base/s0", "base/s0/s1", "base/s0/s1/s2",  # as written
        "base/s1", "base/s1/s2", "base/s0/s2",
    }  # fmt: skip


@given(st.integers(2, 6))
def test_all_parts_of_a_chain_are_its_subsets(length):
    below = {path.removeprefix("base/") for path in paths(chain(*[TUNE] * length, ablate="all")) - {"base"}}
    names = [f"s{number}" for number in range(length)]
    subsets = itertools.chain(*(itertools.combinations(names, size) for size in range(1, length + 1)))
    assert below == {"/".join(subset) for subset in subsets}


@given(st.integers(2, 5))
def test_all_orders_of_a_chain(length):
    own = paths(chain(*[TUNE] * length, permute=True))
    whole = [path for path in own if path.count("/") == length]
    assert len(whole) == math.factorial(length)
    assert {frozenset(path.split("/")) for path in whole} == {frozenset(["base", *(f"s{n}" for n in range(length))])}


def test_named_steps_take_each_others_places_and_a_file_is_never_trained():
    assert "base/s1/s0/s2" in paths(chain(PRUNE, TUNE, FILE, permute=["s0", "s1"]))
    assert not [path for path in paths(chain(PRUNE, TUNE, FILE, permute=True)) if "s2/" in path]


def test_a_recipe_without_the_words_is_left_as_it_is_and_one_with_them_is_not_changed_in_place():
    tree = chain(PRUNE, TUNE, FILE)
    assert with_variants(tree, pytest.fail) == tree
    tree, again = chain(PRUNE, TUNE, ablate="all"), chain(PRUNE, TUNE, ablate="all")
    parse({"name": "mine", "tree": tree})
    assert tree == again


def test_variants_are_marked_and_what_was_written_is_not():
    nodes = {
        node.path: node.is_variant for node in parse({"name": "mine", "tree": chain(PRUNE, TUNE, ablate=True)}).nodes
    }
    assert nodes == {"base": False, "base/s0": False, "base/s0/s1": False, "base/s1": True}


def test_values_of_each_are_in_every_variant():
    swept = ("magnitude_prune", {"sparsity": {"each": [0.5, 0.7]}})
    assert {"base/s1", "base/s1/s0[sparsity=0.5]", "base/s1/s0[sparsity=0.7]"} <= paths(
        chain(swept, TUNE, permute=True)
    )


@pytest.mark.parametrize(
    ("tree", "expected"),
    [
        (chain(PRUNE, ablate=True), "`ablate` needs a chain"),
        (chain(PRUNE, TUNE, ablate="each"), "`ablate`: expected true or all, got 'each'"),
        (chain(PRUNE, TUNE, permute=["s0", "s9"]), "`permute`: 's9' is no step of the chain. Known: s0, s1"),
        (chain(*[TUNE] * 9, ablate="all"), "at most 8 steps"),
        (chain(*[TUNE] * 7, permute=True), "at most 6 steps"),
        (
            chain(("magnitude_prune", {"sparsity": {"from": 0.3, "to": 0.9}})),
            "`sparsity` is a range, which a search tries",
        ),
        (chain(("magnitude_prune", {"sparsity": {"any": [0.3]}})), "`sparsity` is a choice, which a search tries"),
        (chain(("magnitude_prune", {"sparsity": {"default": {"from": 0, "to": 1}}})), "`sparsity.default` is a range"),
        (
            chain(PRUNE, optional=True),
            "`optional: true` leaves a choice, which a search makes: python -m pipeline search",
        ),
    ],
)
def test_mistakes_name_the_step_and_the_fix(tree, expected):
    assert expected in problems(tree)
    assert problems(tree).startswith("Step 'base/s0'")


def test_a_branch_that_needs_a_name_which_is_taken_is_refused():
    tree = chain(PRUNE, TUNE, ablate=True)
    tree["base"]["then"]["s1"] = {"op": "finetune", "with": {"epochs": 9}}
    assert "Step 'base/s1': a branch of `ablate` or `permute` needs this name" in problems(tree)
