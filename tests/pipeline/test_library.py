"""The engine as other programs drive it: plan and run a recipe, read what came out."""

import json
import os
import re
import subprocess
import sys

import pytest

import bouillon
from tests.pipeline.command import CONF, ROOT

RECIPE = {
    "name": "mine",
    "model": "digits_resnet",
    "dataset": "digits",
    "tree": {
        "base": {
            "op": "train",
            "with": {"epochs": 1},
            "then": {"pruned": {"op": "magnitude_prune", "with": {"sparsity": {"each": [0.5, 0.9]}}}},
        }
    },
}
WORDS = ("bench=none", "executor=inprocess")


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder in which the recipe has run."""
    folder = tmp_path_factory.mktemp("library")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        result = bouillon.run(bouillon.Recipe(RECIPE, *WORDS))
        assert result.succeeded
        yield folder


def test_a_plan_says_what_would_run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    plan = bouillon.plan(bouillon.Recipe(RECIPE, *WORDS, "recipe.tree.base.with.epochs=2"))
    assert [step.path for step in plan.plan.steps] == ["base", "base/pruned[sparsity=0.5]", "base/pruned[sparsity=0.9]"]
    assert plan.plan.steps[0].params["epochs"] == 2
    assert len(plan.missing()) == len(plan.jobs) > 3
    assert RECIPE["tree"]["base"]["with"] == {"epochs": 1}, "the person's own mapping stays what it is"


def test_a_recipe_by_name_and_the_same_as_data_have_the_same_keys(tmp_path, monkeypatch):
    import yaml

    monkeypatch.chdir(tmp_path)
    by_name = bouillon.plan(bouillon.Recipe("small", *WORDS, folder=CONF))
    data = yaml.safe_load((CONF / "recipe/small.yaml").read_text())
    as_data = bouillon.plan(bouillon.Recipe(data, *WORDS))
    assert [step.key for step in by_name.plan.steps] == [step.key for step in as_data.plan.steps]


def test_results_are_frames(place):
    results = bouillon.Results(place / "results.duckdb")
    models = results.models()
    assert list(models["model"]) == ["base", "base/pruned[sparsity=0.5]", "base/pruned[sparsity=0.9]"]
    layers = results.layers("base/pruned[sparsity=0.9]")
    shares = layers["nonzeros"].sum() / layers["size"].sum()
    assert 1 - shares == pytest.approx(models["sparsity"].iloc[2])
    predictions = results.predictions("base")
    assert predictions["correct"].mean() == pytest.approx(models["accuracy"].iloc[0])
    assert list(results.lineage("base/pruned[sparsity=0.9]")["name"]) == ["base", "base/pruned[sparsity=0.9]"]


def test_a_comparison_is_the_gates(place):
    change = bouillon.Results(place / "results.duckdb").compare("base/pruned[sparsity=0.9]", "base").set_index("metric")
    judged = subprocess.run(
        [
            sys.executable, "-m", "pipeline", "gate", "base/pruned[sparsity=0.9]", "base", "--fail-if", "accuracy drop > 0pt",
            "--json", "gate.json",
        ],
        cwd=place, env={"PYTHONPATH": str(ROOT), "PATH": ""}, check=False, capture_output=True, text=True,
    )  # fmt: skip
    (rule,) = json.loads((place / "gate.json").read_text())["rules"]
    row = change.loc["accuracy"]
    assert (-row["change"], -row["high"], -row["low"]) == pytest.approx(
        tuple(rule[name] for name in ("value", "low", "high"))
    ), judged.stderr


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: bouillon.Recipe("quikstart"), "Did you mean 'quickstart'"),
        (lambda: bouillon.Recipe(RECIPE, "recipe=quickstart"), "the recipe is given as data"),
        (lambda: bouillon.Recipe({**RECIPE, "defaults": ["/branch/recovery"]}), "only a file can build on others"),
        (lambda: bouillon.Recipe({**RECIPE, "tre": {}}), "unknown word 'tre'.*Did you mean 'tree'"),
        (lambda: bouillon.Recipe(RECIPE, "recipe.seed=-1"), "seed"),
        (lambda: bouillon.Recipe({}), "recipe.name"),
        (lambda: bouillon.Recipe(RECIPE, folder="nowhere"), "there is no such folder"),
    ],
)
def test_mistakes_are_one_line_each(make, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(bouillon.BouillonError, match=message):
        bouillon.plan(make())


def test_everything_that_is_promised_has_types_and_words():
    for name in bouillon.__all__:
        assert getattr(bouillon, name).__doc__, name


def test_the_notebook_runs_from_top_to_bottom(tmp_path):
    cells = json.loads((ROOT / "scripts/examples/own_models.ipynb").read_text())["cells"]
    code = "\n".join("".join(cell["source"]) for cell in cells if cell["cell_type"] == "code")
    check = "\nassert len(results.models()) == 8 and set(results.models()['recipe']) == {'logged', 'two_prunings'}"
    done = subprocess.run(
        [sys.executable, "-c", code + check], cwd=tmp_path, env={**os.environ, "PYTHONPATH": str(ROOT)},
        check=False, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr


def test_the_guide_runs_from_top_to_bottom(tmp_path):
    blocks = re.findall(r"```python\n(.*?)```", (ROOT / "scripts/examples/README.md").read_text(), flags=re.DOTALL)
    check = "assert len(results.models()) == 5 and len(plan.missing()) == len(plan.jobs)"
    done = subprocess.run(
        [sys.executable, "-c", "\n".join([*blocks, check])], cwd=tmp_path, env={**os.environ, "PYTHONPATH": str(ROOT)},
        check=False, capture_output=True, text=True,
    )  # fmt: skip
    assert len(blocks) == 3
    assert done.returncode == 0, done.stderr
