"""Everything that can be known without computing is checked, and keys name what can change a result."""

import re
from dataclasses import replace

import pytest

from ops.core.operation import Format
from pipeline.plan.recipe import RecipeError

BASE = {"op": "toy_base"}


def under(**nodes):
    return {"base": {**BASE, "then": nodes}}


@pytest.mark.parametrize(
    ("tree", "message"),
    [
        pytest.param(
            under(a={"op": "toy_ad"}),
            "Step 'base/a': No operation is called 'toy_ad'. Did you mean 'toy_add'?",
            id="operation",
        ),
        pytest.param(
            under(a={"op": "toy_add", "with": {"amont": 2}}),
            "Step 'base/a': Operation 'toy_add': unknown parameter 'amont'. Did you mean 'amount'?",
            id="parameter",
        ),
        pytest.param(
            under(a={"op": "toy_add", "with": {"fraction": 2}}),
            "Step 'base/a': Operation 'toy_add': fraction: Input should be less than or equal to 1 (got 2)",
            id="range",
        ),
        pytest.param(
            under(q={"op": "toy_onnx", "then": {"t": {"op": "toy_tune"}}}),
            "Step 'base/q/t': 'toy_tune' takes a torch model, but 'toy_onnx' gives an ONNX model",
            id="chain",
        ),
        pytest.param({"a": {"op": "toy_add"}}, "Step 'a': 'toy_add' needs a model: put it under `then`", id="no root"),
        pytest.param(
            under(b=BASE), "Step 'base/b': 'toy_base' takes no model, so it can only stand at the top", id="root below"
        ),
        pytest.param(
            {"base": {"op": "toy_base", "with": {"model": "wid"}}},
            "Step 'base': No model is called 'wid'. Did you mean 'wide'?",
            id="model",
        ),
        pytest.param(
            under(t={"op": "toy_tune", "with": {"teacher": "bse"}}),
            "Step 'base/t': Operation 'toy_tune': no step is called 'bse'. Did you mean 'base'?",
            id="reference",
        ),
        pytest.param(
            under(t={"op": "toy_tune", "with": {"teacher": "base/t"}}),
            "Step 'base/t': Operation 'toy_tune': 'base/t' is this step itself. Name a step above it, or in another branch",
            id="itself",
        ),
        pytest.param(
            under(t={"op": "toy_tune", "with": {"teacher": "base/t/u"}, "then": {"u": {"op": "toy_add"}}}),
            "Step 'base/t': Operation 'toy_tune': 'base/t/u' is made from this step. Name a step above it, or in another branch",
            id="its own descendant",
        ),
        pytest.param(
            under(t={"op": "toy_tune", "with": {"teacher": "base/q"}}, q={"op": "toy_onnx"}),
            "teacher 'base/q' is an ONNX model; name a torch model",
            id="onnx teacher",
        ),
        pytest.param(
            under(
                t={"op": "toy_tune", "with": {"teacher": "base/u"}}, u={"op": "toy_tune", "with": {"teacher": "base/t"}}
            ),
            "they name each other",
            id="circle",
        ),
    ],
)
def test_mistakes_are_named(planned, tree, message):
    with pytest.raises(RecipeError, match=re.escape(message)):
        planned(tree)


def test_no_name_is_listed_twice(planned):
    with pytest.raises(RecipeError, match=r"no step is called 'zzz'\. Known: base, a, base/a, base/b$"):
        planned(
            under(
                b={"op": "toy_add"}, a={"op": "toy_add", "then": {"t": {"op": "toy_tune", "with": {"teacher": "zzz"}}}}
            )
        )


def test_unknown_target_is_named(planned):
    with pytest.raises(RecipeError, match=r"no target is called 'openvno'\. Did you mean 'openvino'\?"):
        planned({"base": BASE}, targets=["openvno"])


def test_a_target_that_takes_no_onnx_refuses_an_onnx_model(planned, facts):
    only_torch = replace(facts, accepts={"pytorch": Format.TORCH})
    with pytest.raises(RecipeError, match="none of the targets takes"):
        planned(under(q={"op": "toy_onnx"}), facts=only_torch, targets=["pytorch"])


def test_equal_steps_in_two_branches_are_one_step(planned):
    plan = planned(under(a={"op": "toy_add"}, b={"op": "toy_add", "with": {"amount": 1.0}}))
    assert [step.path for step in plan.steps] == ["base", "base/a"]
    assert plan.aliases == {"base/b": plan.steps[1].key}


def test_parents_come_first_and_a_later_step_can_be_named(planned):
    plan = planned(under(t={"op": "toy_tune", "with": {"teacher": "base/z"}}, z={"op": "toy_add"}))
    assert [step.path for step in plan.steps] == ["base", "base/z", "base/t"]
    assert plan.steps[2].references == {"teacher": plan.steps[1].key}


def test_data_and_seed_are_in_the_key_of_operations_that_use_them_only(planned, facts):
    tree = under(a={"op": "toy_add"}, t={"op": "toy_tune"})
    one = {step.path: step.key for step in planned(tree).steps}
    other_data = {step.path: step.key for step in planned(tree, facts=replace(facts, data_fingerprint="d1")).steps}
    other_seed = {step.path: step.key for step in planned(tree, seed=7).steps}
    assert one["base/a"] == other_data["base/a"]
    assert one["base/t"] != other_data["base/t"]
    assert one["base"] != other_seed["base"]


def test_the_models_entry_is_in_the_key(planned):
    toy, wide = (planned({"base": {"op": "toy_base", "with": {"model": name}}}).steps[0] for name in ("toy", "wide"))
    assert toy.key != wide.key
    assert wide.params["model"]["width"] == 5


def test_another_exporter_renames_what_was_made_from_an_export_and_nothing_else(planned, facts):
    tree = under(a={"op": "toy_add"}, q={"op": "toy_onnx"})
    one, two = (
        {step.path: step.key for step in planned(tree, facts=replace(facts, export_version=version)).steps}
        for version in (1, 2)
    )
    assert one["base/a"] == two["base/a"]
    assert one["base/q"] != two["base/q"]


def test_an_alias_of_the_nearest_ancestor_is_found_before_a_path(planned):
    tree = under(
        a={
            "op": "toy_add",
            "with": {"amount": {"each": [1, 2]}},
            "then": {"t": {"op": "toy_tune", "with": {"teacher": "a"}}},
        }
    )
    plan = planned(tree)
    tuned = [step for step in plan.steps if step.op == "toy_tune"]
    assert all(step.references["teacher"] == step.parent for step in tuned)


def test_a_step_may_give_its_own_seed_which_holds_below_it(planned):
    tree = {
        "base": {
            "op": "toy_base",
            "with": {"seed": {"each": [0, 7]}},
            "then": {"a": {"op": "toy_add"}},
        }
    }
    own = {step.path: step for step in planned(tree).steps}
    plain = {seed: planned(under(a={"op": "toy_add"}), seed=seed).steps for seed in (0, 7)}
    for seed, (root, child) in plain.items():
        assert own[f"base[seed={seed}]"].key == root.key
        assert own[f"base[seed={seed}]/a"].key == child.key
        assert own[f"base[seed={seed}]/a"].seed == seed
        assert own[f"base[seed={seed}]"].written["seed"] == seed
        assert "seed" not in own[f"base[seed={seed}]"].params
        assert "seed" not in own[f"base[seed={seed}]/a"].written


@pytest.mark.parametrize("seed", [-1, 0.5, "one", True])
def test_a_seed_that_is_no_whole_number_is_refused(planned, seed):
    message = f"Step 'base': Operation 'toy_base': seed: expected a whole number from 0 to 4294967295 (got {seed!r})"
    with pytest.raises(RecipeError, match=re.escape(message)):
        planned({"base": {"op": "toy_base", "with": {"seed": seed}}})


def test_an_operation_that_draws_no_random_numbers_takes_no_seed(planned):
    with pytest.raises(RecipeError, match=re.escape("Operation 'toy_add': unknown parameter 'seed'.")):
        planned(under(a={"op": "toy_add", "with": {"seed": 1}}))


@pytest.mark.parametrize("between", [False, True])
def test_below_an_onnx_file_nothing_impossible_is_advised(planned, facts, between):
    file = {"name": "file", "builder": "onnx", "path": "net.onnx"}
    tuned = {"op": "toy_tune"}
    then = {"q": {"op": "toy_onnx", "then": {"t": tuned}}} if between else {"t": tuned}
    tree = {"base": {"op": "load_onnx", "with": {"model": "file"}, "then": then}}
    with pytest.raises(
        RecipeError, match=r"'toy_tune' takes a torch network, and 'load_onnx' gives an ONNX file"
    ) as found:
        planned(tree, facts=replace(facts, models={**facts.models, "file": file}))
    assert "quantize" in str(found.value)
    assert "Put 'toy_tune' before" not in str(found.value)
