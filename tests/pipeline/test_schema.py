"""The JSON schema of recipes against every recipe that there is, and against the planner's own refusals."""

import copy
import json
import subprocess
import sys

import pytest
import yaml

from ops.core.operation import OPERATIONS
from pipeline.plan.recipe import RecipeError, parse
from pipeline.plan.schema import operation_schemas, recipe_schema
from tests.pipeline.command import CONF, ROOT

jsonschema = pytest.importorskip("jsonschema")
OURS = [name for name in OPERATIONS if OPERATIONS[name].apply.__module__.startswith("ops.")]
RECIPES = sorted([*(ROOT / "conf/recipe").glob("*.yaml"), *(CONF / "recipe").glob("*.yaml")])


@pytest.fixture(scope="module")
def validator():
    schema = recipe_schema()
    jsonschema.Draft202012Validator.check_schema(schema)
    return jsonschema.Draft202012Validator(schema)


@pytest.mark.parametrize("file", RECIPES, ids=lambda file: file.stem)
def test_every_recipe_fits(validator, file):
    validator.validate(yaml.safe_load(file.read_text()))


def quickstart():
    return yaml.safe_load((ROOT / "conf/recipe/quickstart.yaml").read_text())


CHANGES = {
    "an unknown word": lambda recipe: recipe.update(tre={}),
    "no tree": lambda recipe: recipe.pop("tree"),
    "a seed below zero": lambda recipe: recipe.update(seed=-1),
    "targets as text": lambda recipe: recipe.update(targets="onnxruntime"),
    "a step without operation": lambda recipe: recipe["tree"]["base"].pop("op"),
    "an unknown word in a step": lambda recipe: recipe["tree"]["base"].update(whit={}),
    "a name with a slash": lambda recipe: recipe["tree"].update({"a/b": {"op": "train"}}),
    "an empty each": lambda recipe: recipe["tree"]["base"]["with"].update(epochs={"each": []}),
    "steps as a list": lambda recipe: recipe["tree"]["base"].update(then=[1]),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_what_the_grammar_refuses_the_schema_refuses_too(validator, change):
    recipe = copy.deepcopy(quickstart())
    change(recipe)
    assert not validator.is_valid(recipe)
    with pytest.raises(RecipeError):
        parse(recipe)


@pytest.mark.parametrize(
    ("parameters", "fits"),
    [
        ({"sparsity": 0.5}, True),
        ({"sparsity": {"each": [0.5, 0.8]}}, True),
        ({"sparsity": "${recipe.seed}"}, True),
        ({"sparsity": 1.5}, False),
        ({"sparsity": {"each": [0.5, 2]}}, False),
        ({"sparsty": 0.5}, False),
        ({}, False),
    ],
)
def test_parameters_are_those_of_the_operation(validator, parameters, fits):
    recipe = quickstart()
    recipe["tree"] = {"base": {"op": "train", "then": {"pruned": {"op": "magnitude_prune", "with": parameters}}}}
    assert validator.is_valid(recipe) is fits


def test_every_parameter_of_every_operation_is_described():
    schemas = operation_schemas()
    for name in OURS:
        operation = schemas[name]
        assert operation["summary"], name
        for parameter, schema in operation["parameters"]["properties"].items():
            assert schema.get("description"), f"{name}: {parameter}"


def test_the_command_prints_names_of_entries():
    done = subprocess.run(
        [sys.executable, "-m", "pipeline", "schema"], check=True, capture_output=True, text=True, cwd=ROOT
    )
    schema = json.loads(done.stdout)
    assert "digits_resnet" in schema["properties"]["model"]["anyOf"][0]["enum"]
    assert {f"with_{name}" for name in OURS} <= set(schema["$defs"])
