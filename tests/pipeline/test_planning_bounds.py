"""Files that are no recipes, recipes that would grow without bounds, and words that set nothing: one line each, at once."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from pipeline.cli import main
from pipeline.cli.configuration.compose import compose
from pipeline.cli.configuration.interpolations import InterpolationError, check_references
from pipeline.cli.configuration.yaml_reader import read_yaml
from pipeline.plan.planner import make_plan
from pipeline.plan.recipe import MOST_PROBLEMS, MOST_STEPS, RecipeError, parse
from tests.pipeline.command import ROOT

HEAD = "name: m\nmodel: digits_resnet\ndataset: digits\n"
TREE = "tree: {base: {op: train}}\n"


@pytest.fixture
def plan(tmp_path, monkeypatch, capsys):
    """Plan a recipe of this text with some words; return (exit code, stdout, stderr)."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "conf" / "recipe").mkdir(parents=True)

    def planned(text, *words):
        content = text if isinstance(text, bytes) else text.encode()
        (tmp_path / "conf" / "recipe" / "mine.yaml").write_bytes(content)
        code = main.run(["--config-dir", "conf", "plan_only=true", "recipe=mine", *words])
        out, err = capsys.readouterr()
        return code, out, err

    return planned


def refused(planned, *parts):
    code, out, err = planned
    assert code == 2, out + err
    assert err.startswith("error: ")
    assert err.count("\n") == 1
    assert [part for part in parts if part not in err] == [], err


def bomb(levels):
    lines = ["b0: &b0 {" + ", ".join(f"k{n}: {n}" for n in range(10)) + "}"]
    lines += [
        f"b{level}: &b{level} {{" + ", ".join(f"k{n}: *b{level - 1}" for n in range(10)) + "}"
        for level in range(1, levels)
    ]
    return "\n".join(lines) + "\n"


def references(levels):
    """A text that doubles with every level."""
    lines = [f"t{level}: '${{recipe.t{level - 1}}}${{recipe.t{level - 1}}}'" for level in range(1, levels)]
    return "\n".join(["t0: aaaaaaaa", *lines]) + "\n"


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("5\n", ("recipe/mine.yaml: holds a number, not a mapping. Write `key: value` lines",)),
        ("true\n", ("holds true or false, not a mapping",)),
        ("- a\n", ("holds a list, not a mapping",)),
        ("2026-11-30\n", ("holds a text, not a mapping",)),
        ("", ("mine.yaml: is empty. Write at least `name: mine` and `tree: {base: {op: train}}`",)),
        (f"{HEAD}{TREE}---\nname: n\n", ("line 5: a second document begins",)),
        (f"null: x\n{HEAD}{TREE}", ("line 1: 'null' is read as None. Put it into quotes",)),
        (f"{HEAD}tree: {{on: {{op: train}}}}\n", ("line 4: 'on' is read as True. Put it into quotes",)),
        (f"{HEAD}tree: {{0x10: {{op: train}}}}\n", ("line 4: '0x10' is read as 16. Put it into quotes",)),
        (f"{HEAD}? [a, b]\n: x\n{TREE}", ("line 4: a key is a list or a mapping",)),
        (f"{HEAD}{TREE}name: n\n", ("line 5: found duplicate key name",)),
        ("defaults: [/bra, _self_]\nname: m\n", ("recipe.defaults: no folder of conf/ has 'bra'. Write /FOLDER/NAME",)),
        ("defaults: [/branche/recovery]\n", ("has 'branche/recovery'. Did you mean '/branch/recovery'? Write /FOLDER",)),
        ("defaults: [/branch/recovry]\n", ("No branch is called 'recovry'. Did you mean 'recovery'? Known: ",)),
        (f"{HEAD}tree: &t {{base: {{op: train, then: *t}}}}\n", ("line 4: '*t' stands inside what it repeats",)),
        (f"{HEAD}tree: *t\n", ("line 4: '*t' repeats nothing",)),
        (f"{HEAD}tree: {{<<: 5, base: {{op: train}}}}\n", ("line 4: `<<` takes a mapping",)),
        (f"{HEAD}tree: !!python/object/apply:os.system [id]\n", ("line 4: the tag '!!python/object/apply:os.system'",)),
        (f"{HEAD}tree: {{base: {{op: !!binary aGk=}}}}\n", ("line 4: the tag '!!binary' is not read",)),
        (f"{HEAD}tree: {{base: {{op: !!int x}}}}\n", ("line 4: 'x' is no int",)),
        (f"{HEAD}seed: {'9' * 5000}\n{TREE}", ("line 4: a number has 5,000 characters",)),
        (f"{HEAD}seed: {'9' * 200}\n{TREE}", ("recipe.seed: expected a whole number from 0 to 4294967295",)),
        (f"{HEAD}{bomb(7)}{TREE}", ("there are more than 300,000 values here, with what aliases (*) repeat",)),
        (f"{HEAD}x: {'[' * 2000}{']' * 2000}\n{TREE}", ("line 4: values are nested more than 1200 levels deep",)),
        (f'{HEAD}tree: {{"a\\0": {{op: train}}}}\n', ("line 4: the text 'a\\x00' holds a null character",)),
        (f'{HEAD}tree: {{"a\\ud800": {{op: train}}}}\n', ("mine.yaml",)),
        (f'{HEAD}tree: {{"a\\nb": {{op: train}}}}\n', ("Step 'a\\nb': a name has letters that can be shown",)),
        (f"{HEAD}tree: {{{'a' * 300}: {{op: train}}}}\n", ("a name has letters that can be shown, at most 200",)),
        ("name: '${.}'\nmodel: digits_resnet\ndataset: digits\n" + TREE, ("recipe.name: '${.}' refers to itself",)),
        (f"{HEAD}description: '${{recipe}}'\n{TREE}", ("recipe.description: '${recipe}' refers to itself",)),
        (f"{HEAD}description: '${{oc.select:recipe,1}}'\n{TREE}", ("recipe.description: ", "refers to itself")),
        (f"{HEAD}description: '${{nothing}}'\n{TREE}", ("recipe.description: Interpolation key 'nothing' not found",)),
        (f"{HEAD}description: '${{oc.env:NO_SUCH}}'\n{TREE}", ("recipe.description: ", "'NO_SUCH' not found")),
        (f"{HEAD}{references(60)}{TREE}", ("its references (${...}) stand for more than 300,000 values",)),
        (f"{HEAD}description: ???\n{TREE}", ("recipe.description: must be set",)),
        (f"defaults: [{{each: _self_}}]\n{HEAD}{TREE}", ("config: cannot be composed. Check `defaults` in the recipe, e.g. [/branch/",)),
        (f"defaults: 5\n{HEAD}{TREE}", ("recipe.defaults: expected a list of files of conf/", "got 5")),
        (f"defaults: ['${{recipe.tree}}']\n{HEAD}{TREE}", ("recipe.defaults: expected a list",)),
        (f"defaults: [/branch/recovry@tree.base.then]\n{HEAD}{TREE}", ("No branch is called 'recovry'", "'recovery'?")),
        ("name: m\nmodel: [1.5]\ndataset: digits\n" + TREE, ("recipe.model: expected the name of an entry", "got [1.5]")),
        ("name: m\nmodel: 'x y'\ndataset: digits\n" + TREE, ("recipe.model: expected the name", "got 'x y'")),
        ("name: m\nmodel: digits_resnet\ndataset: {a: 1}\n" + TREE, ("dataset: ", "no `dataset` is given. Known: arrays")),
        (
            f"{HEAD}tree: {{base: {{op: train, with: {{epochs: {'[' * 300}{']' * 300}}}}}}}\n",
            ("Step 'base': Operation 'train': epochs: Input should be a valid integer (got [[[",),
        ),
        (
            f"{HEAD}tree: {{base: {{op: train, with: {{epochs: {{each: {list(range(1, 101))}}}, "
            f"batch_size: {{each: {list(range(1, 101))}}}, learning_rate: {{each: {list(range(1, 101))}}}}}}}}}\n",
            ("Step 'base': there are more than 20,000 steps with the values of `each`",),
        ),
        (
            f"{HEAD}tree: {{base: {{op: train, with: {{epochs: {{each: [1, '1']}}}}}}}}\n",
            ("Step 'base': `epochs: each` has two values that are both called '1' in paths, 1 and '1'",),
        ),
        (f"{HEAD}tree: {{base: {{op: train, with: {{include: head}}}}}}\n", ("include: expected a list, e.g. [a, b]",)),
    ],
)  # fmt: skip
def test_what_is_no_recipe_is_refused_in_one_line(plan, text, parts):
    refused(plan(text), *parts)


def test_a_value_that_each_gives_twice_is_one_branch(plan):
    code, out, _ = plan(f"{HEAD}tree: {{base: {{op: train, with: {{epochs: {{each: [1, 1, 2]}}}}}}}}\n")
    assert code == 0
    assert "2 models" in out


ALIASES = f"""{HEAD}tree:
  base:
    op: train
    then:
      a: &s {{op: magnitude_prune, with: {{sparsity: 0.5}}}}
      b: {{<<: *s, with: {{sparsity: 0.25}}}}
      3: *s
"""


@pytest.mark.parametrize(
    "text",
    [ALIASES, "\ufeff" + ALIASES, ALIASES.replace("\n", "\r\n"), f"%YAML 1.1\n---\n{ALIASES}...\n"],
    ids=["aliases", "BOM", "CRLF", "directive"],
)
def test_ordinary_files_are_read_as_they_are_meant(plan, text):
    code, out, err = plan(text)
    assert code == 0, err
    assert "base/3: the same model as base/a" in out
    assert "3 models" in out


VALUES = [
    "1", "-1", "+1", "1_000", "0x10", "0o17", "010", "1.5", "1e3", "1E-3", ".5", "1.", ".inf", "-.inf", "yes", "no", "on", "off",
    "true", "~", "null", "2026-11-30", "12:30:45", "1:2", "a", "'a'", "'1'", '"\\u00e9"', "[1, a, ~]", "{a: 1}", "!!str 5",
    "!!float 5", "!!int 7", "''", "é", "|\n  a\n  b", ">\n  a\n  b",
]  # fmt: skip


def test_plain_values_are_those_of_omegaconf(tmp_path):
    from omegaconf import OmegaConf

    file = tmp_path / "values.yaml"
    file.write_text("".join(f"k{number}: {value}\n" for number, value in enumerate(VALUES)))
    expected = OmegaConf.to_container(OmegaConf.load(file))
    found = read_yaml(file).data
    assert found == expected
    assert [type(value) for value in found.values()] == [type(value) for value in expected.values()]
    assert list(found) == list(expected)


def test_all_recipes_of_ours_are_read_as_omegaconf_reads_them():
    from omegaconf import OmegaConf

    files = sorted((ROOT / "conf").rglob("*.yaml"))
    assert len(files) > 30
    for file in files:
        assert read_yaml(file).data == OmegaConf.to_container(OmegaConf.load(file)), file.name


def test_a_recipe_may_be_called_like_anything_and_lie_in_a_folder(plan, tmp_path):
    plan("")
    for name in ("a b", "ä", "🍲", "x.y", "sub/inner"):
        file = tmp_path / "conf" / "recipe" / f"{name}.yaml"
        file.parent.mkdir(exist_ok=True)
        file.write_text(HEAD + TREE)
        assert main.run(["--config-dir", "conf", "plan_only=true", f'recipe="{name}"']) == 0, name


def test_what_is_no_file_is_named(plan, tmp_path, capsys):
    plan("")
    folder = tmp_path / "conf" / "recipe"
    os.mkfifo(folder / "pipe.yaml")
    (folder / "lost.yaml").symlink_to(folder / "nothing")
    (folder / "sub").mkdir()
    (folder / "sub" / "inner.yaml").write_text(HEAD + TREE)
    capsys.readouterr()
    for word, message in (
        ("recipe=pipe", "No recipe is called 'pipe'"),
        ("recipe=lost", "No recipe is called 'lost'"),
        ("recipe=sub", "recipe=sub: is a folder. Name a recipe in it: sub/inner"),
        ("recipe=../recipe/mine", "No recipe is called '../recipe/mine'"),
    ):
        code = main.run(["--config-dir", "conf", "plan_only=true", word])
        refused((code, *capsys.readouterr()), message)


def test_a_file_that_is_too_large_is_refused_unread(plan):
    refused(plan(f"{HEAD}{TREE}# " + "x" * 9_000_000), "mine.yaml: is larger than 8 MB, the most that is read")


def test_a_file_of_another_group_has_bounds_too(plan, tmp_path):
    (tmp_path / "conf" / "model").mkdir(parents=True)
    (tmp_path / "conf" / "model" / "other.yaml").write_text(bomb(7))
    refused(plan(HEAD + TREE), "model/other.yaml line", "there are more than 5,000 values here")


def test_files_of_other_programs_in_the_folder_are_not_read(plan, tmp_path):
    other = tmp_path / "conf" / "deploy" / "templates"
    other.mkdir(parents=True)
    (other / "service.yaml").write_text("on: [push]\n---\nport: !vault {{ .Values.port }}\n")
    code, out, err = plan(HEAD + TREE)
    assert code == 0, err
    assert "1 models" in out


def test_the_first_mistakes_of_many_are_named_and_the_rest_is_not_looked_for(plan):
    steps = ", ".join(f"s{number}: {{op: trian}}" for number in range(5000))
    code, _, err = plan(f"{HEAD}tree: {{{steps}}}\n")
    assert code == 2
    assert err.count("\n") == MOST_PROBLEMS
    assert err.count("Did you mean 'train'?") == MOST_PROBLEMS


def test_steps_that_name_each_other_in_reverse_are_each_tried_twice(facts, monkeypatch):
    """Whatever the order in which they are written, planning grows with their number, not with its square."""
    from ops.core.operation import OpSpec

    tries = []
    usual = OpSpec.check
    monkeypatch.setattr(OpSpec, "check", lambda spec, given: tries.append(1) or usual(spec, given))
    count = 60
    tunes = {
        f"t{number}": {"op": "toy_tune", "with": {"teacher": f"base/t{number + 1}" if number + 1 < count else "base"}}
        for number in range(count)
    }
    plan = make_plan(parse({"name": "r", "tree": {"base": {"op": "toy_base", "then": tunes}}}), facts)
    assert len(plan.steps) == count + 1
    assert len(tries) <= 2 * count + 1


def test_as_many_steps_as_there_may_be(facts):
    amounts = {"each": [number / 1000 for number in range(150)]}
    tree = {"op": "toy_add", "with": {"amount": amounts}}
    within = {"base": {"op": "toy_base", "then": {"a": {**tree, "then": {"b": {**tree}}}}}}
    with pytest.raises(RecipeError, match="more than 20,000 steps") as error:
        parse({"name": "r", "tree": within})
    assert len(error.value.problems) == 1
    assert len(parse({"name": "r", "tree": {"base": tree}}).nodes) == 150 < MOST_STEPS


@pytest.mark.parametrize(
    "values", [{"a": "${b}", "b": "${a}"}, {"a": {"b": "${a}"}}, {"a": ["${a[0]}"]}, {"a": {"b": "${.b}"}}]
)
def test_references_in_a_circle_are_told(values):
    with pytest.raises(InterpolationError, match="refers to itself"):
        check_references(values)


@pytest.mark.parametrize(
    "values",
    [{"a": 1, "b": "${a}"}, {"a": {"b": 1, "c": "${.b}"}, "d": "${a.c}"}, {"a": "${x.y}"}, {"a": ["${b}"], "b": 2}],
)
def test_references_that_end_are_fine(values):
    check_references(values)


def test_references_are_resolved(plan):
    code, _, err = plan(f"{HEAD}seed: 3\ntree: {{base: {{op: train, with: {{epochs: '${{recipe.seed}}'}}}}}}\n")
    assert code == 0, err
    raw, _ = compose(["recipe=mine"], extra=Path("conf"))
    assert raw["recipe"]["tree"]["base"]["with"]["epochs"] == 3


def test_the_recipe_of_one_run_needs_little_memory_and_time_to_be_refused(tmp_path):
    """In a process of its own, with no more address space than a refusal may take."""
    import resource

    (tmp_path / "recipe").mkdir()
    (tmp_path / "recipe" / "bomb.yaml").write_text(HEAD + bomb(9) + TREE)
    process = subprocess.run(
        [sys.executable, "-m", "pipeline", "--config-dir", tmp_path, "plan_only=true", "recipe=bomb"],
        cwd=tmp_path, env={**os.environ, "PYTHONPATH": str(ROOT)}, capture_output=True, text=True, check=False,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_CPU, (60, 60)),
    )  # fmt: skip
    refused((process.returncode, process.stdout, process.stderr), "there are more than 300,000 values here")


HEAVY = {"torch", "onnx", "onnxruntime", "openvino", "transformers", "sklearn", "pandas", "matplotlib"}


def test_planning_imports_no_library_that_computes(tmp_path):
    script = (
        "import sys; from pipeline.cli import main; code = main.run(sys.argv[1:]); "
        f"print(code, sorted({HEAVY!r} & set(sys.modules)))"
    )
    (tmp_path / "recipe").mkdir()
    (tmp_path / "recipe" / "mine.yaml").write_text(HEAD + TREE)
    process = subprocess.run(
        [sys.executable, "-c", script, "--config-dir", tmp_path, "plan_only=true", "recipe=mine"],
        cwd=tmp_path, env={**os.environ, "PYTHONPATH": str(ROOT)}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert process.stdout.endswith("0 []\n"), process.stdout + process.stderr


BRANCHES = f"""{HEAD}tree:
  base:
    op: train
    then:
      a: {{op: magnitude_prune, with: {{sparsity: 0.5}}, then: {{tuned: {{op: finetune, then: {{c: {{op: calibrate}}}}}}}}}}
      b: {{op: calibrate, then: {{tuned: {{op: finetune}}, p: {{op: magnitude_prune, with: {{sparsity: 0.25}}}}}}}}
  other: {{op: train, with: {{epochs: 77}}}}
"""
DRAWN = """\
KEY  base  train  never run here
├── KEY  a  magnitude_prune  never run here
│   └── KEY  tuned  finetune  never run here
│       └── KEY  c  calibrate  never run here
└── KEY  b  calibrate  never run here
    ├── KEY  tuned  finetune  never run here
    └── KEY  p  magnitude_prune  never run here
KEY  other  train  never run here
8 models; """


def test_the_plan_is_drawn_as_a_tree(plan):
    code, out, err = plan(BRANCHES)
    assert code == 0, err
    assert re.sub(r"\b[0-9a-f]{12}\b", "KEY", out).startswith(DRAWN)


def test_a_plan_is_drawn_in_ascii_where_the_output_takes_nothing_else(tmp_path):
    (tmp_path / "recipe").mkdir()
    (tmp_path / "recipe" / "mine.yaml").write_text(BRANCHES)
    process = subprocess.run(
        [sys.executable, "-m", "pipeline", "--config-dir", tmp_path, "plan_only=true", "recipe=mine"],
        cwd=tmp_path, env={**os.environ, "PYTHONPATH": str(ROOT), "PYTHONIOENCODING": "ascii"}, capture_output=True, check=False,
    )  # fmt: skip
    lines = re.sub(r"\b[0-9a-f]{12}\b", "KEY", process.stdout.decode("ascii")).splitlines()
    assert lines[1:4] == [
        "+-- KEY  a  magnitude_prune  never run here",
        "|   `-- KEY  tuned  finetune  never run here",
        "|       `-- KEY  c  calibrate  never run here",
    ], process.stderr
