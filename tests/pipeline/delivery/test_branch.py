"""The branch of a recipe that leads to a model, and entries that a recipe writes out."""

import pytest
import yaml

from pipeline.cli.configuration.compose import UsageError, compose
from pipeline.delivery.packaging.branch import branch, recipe_text
from pipeline.plan.recipe import parse

ENTRY = {"name": "net", "builder": "residual_cnn", "content": "digest of its files"}
DATA = {"name": "digits", "dataset": "digits", "evaluation": 397}
RECIPE = {
    "name": "wide",
    "description": "yes: on",
    "model": "net",
    "dataset": "digits",
    "seed": 3,
    "tree": {
        "base": {
            "op": "train",
            "then": {
                "int8": {"op": "quantize"},
                "pruned": {
                    "op": "magnitude_prune",
                    "with": {"sparsity": {"each": [0.5, 0.7, 0.8]}, "scope": {"each": ["layer", "global"]}},
                    "then": {
                        "tuned": {
                            "op": "finetune",
                            "with": {"teacher": "base", "epochs": 2},
                            "then": {"int8": {"op": "quantize"}},
                        },
                        "calibrated": {"op": "calibrate"},
                    },
                },
            },
        },
        "other": {"op": "train"},
    },
}
LEAF = "base/pruned[sparsity=0.7,scope=layer]/tuned/int8"


def paths(recipe):
    words = {name: value for name, value in recipe.items() if name != "dataset"}
    return [node.path for node in parse(words).nodes]


def test_a_branch_has_the_steps_above_a_model_and_no_others():
    result = branch(RECIPE, [LEAF], {"base": {"model": ENTRY}}, DATA)
    assert paths(result) == [
        "base", "base/pruned[sparsity=0.7,scope=layer]", "base/pruned[sparsity=0.7,scope=layer]/tuned", LEAF
    ]  # fmt: skip
    assert result["dataset"] == DATA
    assert (result["name"], result["seed"]) == ("wide", 3)
    assert "model" not in result
    assert result["tree"]["base"]["with"] == {"model": {"name": "net", "builder": "residual_cnn"}}


def test_models_that_parameters_name_come_too():
    other = "base/pruned[sparsity=0.5,scope=layer]/calibrated"
    result = branch(RECIPE, [LEAF, other, "other"], {"base": {"model": ENTRY}, "other": {"model": ENTRY}}, DATA)
    assert {LEAF, other, "other"} <= set(paths(result))
    assert not any("0.8" in path or "global" in path for path in paths(result))


def test_a_branch_of_a_branch_is_the_same():
    once = branch(RECIPE, [LEAF], {"base": {"model": ENTRY}}, DATA)
    assert branch(once, [LEAF], {"base": {"model": ENTRY}}, DATA) == once


def test_no_reader_takes_a_text_for_anything_else():
    texts = [
        "1e3",
        "yes",
        "on",
        "null",
        "12",
        "a: b",
        "two words",
        "x\ny",
        "ä",
        "",
        " a",
        "1_000",
        "0x1F",
        "~",
        "- a",
        "1:30",
    ]
    recipe = {"name": "a", "texts": texts, "keys": dict.fromkeys(texts, 0), "numbers": [1e-05, 3, 0.5, None, True]}
    from pipeline.cli.configuration.yaml_reader import read_yaml

    text = recipe_text(recipe, "about it")
    assert text.startswith("# about it\n")
    assert yaml.safe_load(text) == recipe
    import tempfile
    from pathlib import Path

    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "recipe.yaml")
        file.write_text(text)
        assert read_yaml(file).data == recipe


# ---- entries that are written out
def written(**more):
    entry = {"name": "mine", "dataset": "digits", "train": 100, "text": {"a": 1, "b": 2}}
    return {"name": "x", "dataset": entry, "model": ENTRY, "tree": {"base": {"op": "train"}}, **more}


def test_entries_that_are_written_out_are_taken():
    raw, _ = compose(["dataset.train=50", "dataset.text.b=3", "dataset.shift=0"], recipe=written())
    assert raw["dataset"] == {"name": "mine", "dataset": "digits", "train": 50, "text": {"a": 1, "b": 3}, "shift": 0}
    assert raw["model"] == ENTRY
    assert raw["recipe"]["dataset"] is raw["recipe"]["model"] is None


def test_the_command_line_chooses_another_entry():
    raw, _ = compose(["dataset=fashion_mnist"], recipe=written())
    assert raw["dataset"]["dataset"] == "fashion_mnist"
    assert raw["recipe"]["dataset"] is None


def test_a_recipe_is_run_from_anywhere(tmp_path):
    file = tmp_path / "elsewhere.yaml"
    file.write_text(recipe_text(written(), "mine"))
    raw, _ = compose([f"recipe={file}"])
    assert (raw["recipe"]["name"], raw["dataset"]["name"]) == ("x", "mine")
    with pytest.raises(UsageError, match="No recipe is called"):
        compose([f"recipe={tmp_path / 'nowhere.yaml'}"])
