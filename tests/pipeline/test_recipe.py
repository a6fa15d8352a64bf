"""The grammar: every mistake is reported with the path at fault, and `each` makes one branch per value."""

import re

import pytest

from pipeline.plan.recipe import RecipeError, parse


def tree(**nodes):
    return {"name": "r", "tree": nodes}


@pytest.mark.parametrize(
    ("config", "message"),
    [
        pytest.param("text", "recipe: expected a mapping with `name`", id="not a mapping"),
        pytest.param({"name": "r"}, "recipe.tree: expected a mapping from names to steps, got None", id="no tree"),
        pytest.param({"name": "r", "tree": {}}, "recipe.tree: there is no step", id="empty tree"),
        pytest.param({"tree": {"a": {"op": "x"}}}, "recipe.name: a name is required", id="no name"),
        pytest.param(
            {"name": "r", "tre": {}}, "recipe: unknown word 'tre'. Did you mean 'tree'?", id="typo at the top"
        ),
        pytest.param(
            {**tree(a={"op": "x"}), "seed": -1},
            "recipe.seed: expected a whole number from 0 to 4294967295, got -1",
            id="seed",
        ),
        pytest.param({**tree(a={"op": "x"}), "targets": "onnx"}, "recipe.targets: expected a list", id="targets"),
        pytest.param(tree(a={"op": "x", "thne": {}}), "Step 'a': unknown word 'thne'. Did you mean 'then'?", id="typo"),
        pytest.param(
            tree(a={"op": "x", "then": {"b": {"with": {}}}}), "Step 'a/b': `op` must name an operation", id="no op"
        ),
        pytest.param(
            tree(a="prune"),
            "Step 'a': expected a mapping with `op`, `with`, `then`, `allocate`, `ablate`, `permute`, `optional`, got 'prune'",
            id="a word",
        ),
        pytest.param(tree(a={"op": "x", "with": [1]}), "Step 'a': `with` must map parameters to values", id="with"),
        pytest.param(tree(a={"op": "x", "then": ["b"]}), "Step 'a': `then` must map names to steps", id="then"),
        pytest.param(
            tree(a={"op": "x", "with": {"s": {"each": []}}}),
            "Step 'a': `s: each` needs a list of at least one",
            id="each of nothing",
        ),
        pytest.param(
            tree(a={"op": "x", "with": {"s": {"each": "abc"}}}),
            "Step 'a': `s: each` needs a list of at least one",
            id="each of text",
        ),
        pytest.param(
            tree(**{"a/b": {"op": "x"}}), "Step 'a/b': a step's name must not be empty or contain", id="slash"
        ),
    ],
)
def test_mistakes_are_named(config, message):
    with pytest.raises(RecipeError, match=re.escape(message)):
        parse(config)


def test_all_mistakes_are_reported_at_once():
    with pytest.raises(RecipeError) as caught:
        parse(tree(a={"op": "x", "thne": {}}, b={"opp": "x"}))
    assert len(caught.value.problems) == 2


def test_each_makes_one_branch_per_value_and_branches_go_on_below_each():
    recipe = parse(tree(p={"op": "x", "with": {"s": {"each": [0.3, 0.5]}, "t": 1}, "then": {"q": {"op": "y"}}}))
    assert [node.path for node in recipe.nodes] == ["p[s=0.3]", "p[s=0.3]/q", "p[s=0.5]", "p[s=0.5]/q"]
    assert recipe.nodes[0].params == {"s": 0.3, "t": 1}
    assert recipe.nodes[1].parent == "p[s=0.3]"


def test_two_sweeps_in_one_step_are_crossed():
    recipe = parse(tree(p={"op": "x", "with": {"s": {"each": [1, 2]}, "t": {"each": ["a/b", [1]]}}}))
    assert [node.path for node in recipe.nodes] == ["p[s=1,t=a|b]", "p[s=1,t=(1)]", "p[s=2,t=a|b]", "p[s=2,t=(1)]"]


def test_a_deep_tree_needs_no_deep_stack():
    node = {"op": "x"}
    for _ in range(3000):
        node = {"op": "x", "then": {"n": node}}
    assert len(parse(tree(n=node)).nodes) == 3001
