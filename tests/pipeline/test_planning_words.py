"""Words of the command line that set nothing are named with the fix, and what messages advise works."""

import re

import pytest
import yaml

from ops.core.registry import nearest
from pipeline.cli import main
from pipeline.cli.configuration.overrides import apply_overrides, read_override
from tests.pipeline.command import ROOT
from tests.pipeline.test_planning_bounds import ALIASES, HEAD, TREE, plan, refused

__all__ = ["plan"]


@pytest.mark.parametrize(
    ("word", "parts"),
    [
        (
            "recipe.tree.x=",
            (
                "Step 'x': expected a mapping with `op`, `with`, `then`, `allocate`, `ablate`, `permute`, `optional`, got ''",
            ),
        ),
        ("+", ("'+' is not key=value. Write key=value, e.g. recipe=quickstart",)),
        ("~", ("'~': is not key=value. The key is missing",)),
        ("=5", ("'=5': is not key=value. The key is missing",)),
        ("recipe.tree={a", ("'recipe.tree={a': is not key=value. A brace is open",)),
        ("recipe.tree=[a", ("A bracket is open",)),
        ("recipe.name='a", ("A quote is open",)),
        ("recipe.name=€", ("Put a value with spaces or special characters into quotes",)),
        ("recipe.seed=1,2", ("'recipe.seed=1,2': gives several values. Give one",)),
        ("recipe.seed=range(1,3)", ("gives several values",)),
        ("recipe.name=glob(*)", ("gives several values",)),
        ("recipe.tree.base.op.x=1", ("recipe.tree.base.op is a value, and has no 'x'",)),
        ("recipe.targets.5=x", ("recipe.targets: expected a list of target names, got {'5': 'x'}",)),
        ("~recipe.tree.bas", ("'~recipe.tree.bas': recipe.tree has no 'bas' to remove. Did you mean 'base'?",)),
        ("~recipe.tree", ("recipe.tree: expected a mapping from names to steps, got None",)),
        ("recipe.tree={null:{op:train}}", ("a key is read as None. Put it into quotes",)),
        ("recipe=mine", ("recipe is given 2 times",)),
        ("model=null", ("'model=null': names nothing. Leave model out with ~model",)),
        ("model=[a]", ("No model is called '[a]'. Known: ",)),
        ("executor=x", ("No executor is called 'x'. Known: inprocess, local",)),
        ("hydra.verbose=true", ("settings of Hydra have no effect",)),
        ("model@a=digits_resnet", ("names a package (@). Give the group alone: model=NAME",)),
        ("force=[a,5]", ("config: force: expected the path of a step, or a list of paths (got ['a', 5])",)),
        ("plugins=x", ("config: plugins: expected a list of modules, e.g. plugins=[mine] (got 'x')",)),
        ("results=[1]", ("config: results: expected the path of a file (got [1])",)),
        ("limits=5", ("config: limits: expected a mapping, e.g. limits.seconds=60 (got 5)",)),
        ("limits.seconds=soon", ("config: limits.seconds: Input should be a valid number",)),
        ("executor.workers=0", ("config: executor.workers: Input should be greater than or equal to 1 (got 0)",)),
        ("explain=nothing", ("No step has the path 'nothing'.",)),
        ("+nothing=1", ("config: unknown key 'nothing'. Known: recipe, ",)),
        ("recipe.name=${nope", ("A brace is open",)),
        ("results=${results}", ("results: '${results}' refers to itself",)),
        (f"batch_size={'9' * 5000}", ("'batch_size=9999",)),
        (f"x={'[' * 3000}{']' * 3000}", ("is nested too deeply. Write it into a recipe file",)),
        (f"recipe.name={'x' * 20_000}", ("is 20,012 characters long. Write it into a recipe file",)),
        ("recipe.name=\x00", ("holds a character that cannot be shown",)),
        ("--nope", ("unknown option '--nope'. Known: --config-dir DIR",)),
        ("compare", ("'compare' is not key=value. A command comes first: python -m pipeline compare",)),
        ("mine", ("'mine' is not key=value. Try: recipe=mine",)),
    ],
)
def test_a_word_that_sets_nothing_is_named_with_the_fix(plan, word, parts):
    refused(plan(HEAD + TREE, word), *parts)


@pytest.mark.parametrize(
    "words",
    [["import"], ["import", "x", "y"], ["export", "compress-and-compare", "f", "--resuts", "x"], ["compare", "x"], ["show"],
     ["migrate", "a"]],
)  # fmt: skip
def test_a_command_with_wrong_words_is_one_line(words, capsys):
    code = main.run(words)
    refused((code, *capsys.readouterr()), "python -m pipeline", "--help shows what it takes")


def test_config_dir_without_a_folder_is_one_line(capsys):
    code = main.run(["recipe=quickstart", "--config-dir"])
    refused((code, *capsys.readouterr()), "--config-dir: expected one argument. Write --config-dir DIR")


@pytest.mark.parametrize("name", ["a b", "ü%20'x", "🍲", "a,b=c"])
def test_a_folder_of_ones_own_may_have_any_name(plan, tmp_path, name):
    plan("")
    (tmp_path / name / "dataset").mkdir(parents=True)
    (tmp_path / name / "dataset" / "mine.yaml").write_text((ROOT / "conf" / "dataset" / "digits.yaml").read_text())
    assert main.run(["--config-dir", name, "plan_only=true", "recipe=quickstart", "dataset=mine"]) == 0


WORDS = [
    "recipe.seed=3", "recipe.tree.base.with={epochs: 3}", "recipe.tree.base.with.epochs=3", "+recipe.tree.other={op: train}",
    "++recipe.tree.base.then.p.with.sparsity=0.25", "~recipe.tree.base.then.p", "recipe.targets=[onnxruntime,pytorch]",
    "recipe.targets.0=pytorch", "recipe.tree.base.then.new.op=calibrate",
]  # fmt: skip


@pytest.mark.parametrize("word", WORDS)
def test_words_change_a_recipe_as_hydra_changes_it(word):
    from omegaconf import OmegaConf

    recipe = {
        "name": "r",
        "targets": ["onnxruntime"],
        "tree": {
            "base": {"op": "train", "with": {"epochs": 1, "samples": 2}, "then": {"p": {"op": "magnitude_prune"}}}
        },
    }
    before = yaml.safe_dump(recipe)
    override = read_override(word)
    config = OmegaConf.create({"recipe": recipe})
    if override.deletes:
        del config.recipe.tree.base.then["p"]
    else:
        OmegaConf.update(config, override.key, override.value, merge=True, force_add=True)
    assert apply_overrides(recipe, [override]) == OmegaConf.to_container(config)["recipe"]
    assert yaml.safe_dump(recipe) == before


def test_a_word_changes_one_of_two_places_that_an_alias_shares(plan):
    code, out, err = plan(ALIASES, "recipe.tree.base.then.a.with.sparsity=0.75")
    assert code == 0, err
    assert "4 models" in out


ADVICE = [
    ("recipe.tree.base.op=trian", "recipe.tree.base.op={}"),
    ("recipe.tree.base.with.epohs=1", "recipe.tree.base.with.{}=1"),
    ("recipe.tree.base.thne.x.op=calibrate", "recipe.tree.base.{}.x.op=calibrate"),
    ("recipe.sed=1", "recipe.{}=1"),
    ("recipe.targets=[onnxruntme]", "recipe.targets=[{}]"),
    ("recipe.tree.base.with.model=digits_resne", "recipe.tree.base.with.model={}"),
    ("model=digits_resne", "model={}"),
    ("dataset=digit", "dataset={}"),
    ("executor=loca", "executor={}"),
    ("bench=defalt", "bench={}"),
    ("bathc_size=2", "{}=2"),
    ("executor.worker=2", "{}=2"),
    ("+bacth_size=2", "{}=2"),
    ("dataset.trian=100", "dataset.{}=100"),
    ("model.depht=[1,1]", "model.{}=[1,1]"),
    ("bench.ruonds=3", "bench.{}=3"),
    ("explain=bse", "explain={}"),
    ("force=bse", "force={}"),
    ("~recipe.targts", "~recipe.{}"),
]  # fmt: skip


@pytest.mark.parametrize(("word", "mended"), ADVICE)
def test_what_a_message_says_was_meant_works(plan, word, mended):
    text = HEAD + "targets: [onnxruntime]\n" + TREE
    code, _, err = plan(text, word)
    assert code == 2
    advised = re.search(r"Did you mean '([^']+)'\?", err)
    assert advised, err
    code, _, err = plan(text, mended.format(advised[1]))
    assert code == 0, err


def test_what_a_message_says_to_set_or_to_try_works(plan):
    text = f"{HEAD}description: ???\n{TREE}"
    advised = re.search(r"must be set, e\.g\. (\S+)=\.\.\.", plan(text)[2])
    assert plan(text, f"{advised[1]}=x")[0] == 0
    advised = re.search(r"Try: (\S+)", plan(HEAD + TREE, "quickstart")[2])
    assert main.run(["plan_only=true", advised[1]]) == 0
    advised = re.search(r"Leave model out with (\S+),", plan(HEAD + TREE, "model=null")[2])
    assert plan(f"{HEAD}tree: {{base: {{op: train, with: {{model: digits_resnet}}}}}}\n", advised[1])[0] == 0
    assert plan("name: m\n" + TREE)[2].startswith(
        "error: dataset: none is chosen. Give `dataset:` in the recipe or dataset=NAME"
    )
    assert plan("name: m\n" + TREE, "dataset=digits", "model=digits_resnet")[0] == 0


def test_the_nearest_name_does_not_depend_on_the_order_of_the_known_ones():
    names = ["abcd", "abce", "abcf"]
    assert nearest("abc", names) == nearest("abc", reversed(names)) == nearest("abc", set(names))
