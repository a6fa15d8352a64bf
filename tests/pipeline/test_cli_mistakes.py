"""Mistakes in what a person brings (YAML, plug-ins, numbers, data): one line on stderr, exit status 2, no traceback."""

import sys

import pytest

from pipeline.cli import main
from tests.pipeline.command import CONF

OPERATION = """\
from ops.core.operation import Context, Kind, TorchModel, operation


@operation(kind=Kind.PRUNE, version=1)
"""


@pytest.fixture
def plan(tmp_path, monkeypatch, capsys):
    """Plan with the command line's words, in a folder of its own; return (exit code, stdout, stderr)."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))

    def planned(*words, conf=CONF):
        code = main.run(["--config-dir", str(conf), "plan_only=true", *words])
        out, err = capsys.readouterr()
        return code, out, err

    return planned


def refused(planned, *parts):
    code, out, err = planned
    assert code == 2, out + err
    assert err.startswith("error: ")
    assert err.count("\n") == 1
    assert [part for part in parts if part not in err] == [], err


@pytest.fixture
def conf(tmp_path):
    """Write files of a --config-dir and return it."""

    def written(**files):
        for place, content in files.items():
            file = tmp_path / "conf" / f"{place.replace('__', '/')}.yaml"
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(content if isinstance(content, bytes) else content.encode())
        return tmp_path / "conf"

    return written


@pytest.mark.parametrize(
    ("content", "parts"),
    [
        ("name: x\n  tree: [\n", ("recipe/mine.yaml line 2, column 7: mapping values are not allowed here",)),
        ("name: x\ntree:\n  a: {op: train}\n  a: {op: load}\n", ("recipe/mine.yaml line 4", "duplicate key a")),
        ("name: x\ntree:\n\ta: {op: train}\n", ("recipe/mine.yaml line 3, column 1", "spaces, not with tabs")),
        (b"name: \xff\n", ("recipe/mine.yaml: not a text in UTF-8",)),
        ("name: \x07\n", ("recipe/mine.yaml: special characters are not allowed at character 7",)),
    ],
)
def test_a_recipe_that_is_no_yaml_is_named_with_the_line(plan, conf, content, parts):
    refused(plan("recipe=mine", conf=conf(recipe__mine=content)), *parts)


def test_a_broken_file_of_another_group_is_named(plan, conf):
    folder = conf(recipe__mine=(CONF / "recipe" / "small.yaml").read_text(), model__other="name: [\n")
    refused(plan("recipe=mine", conf=folder), "model/other.yaml line 2, column 1: expected the node content")


@pytest.mark.parametrize(
    ("code", "parts"),
    [
        ("\nraise ValueError('boom')\n", ("ValueError: boom", "{file}:2)")),
        ("def x(:\n", ("SyntaxError: invalid syntax", "{file}:1)")),
        ("import no_such_library\n", ("No module named 'no_such_library'", "{file}:1)")),
        ("import sys\nsys.exit(0)\n", ("SystemExit: 0", "{file}:2)")),
        (
            f"{OPERATION}def magnitude_prune(model: TorchModel, ctx: Context) -> TorchModel:\n    return model\n",
            ("operation 'magnitude_prune' is defined twice: in ops.prune.magnitude_prune and ", "{file}:4)"),
        ),
        (
            f"{OPERATION}def mine(model: TorchModel, ctx: Context, *, share=0.5) -> TorchModel:\n    return model\n",
            ("mine: parameter 'share' must be keyword-only and annotated", "{file}:4)"),
        ),
    ],
    ids=["raises", "syntax", "import", "exit", "duplicate", "annotation"],
)
def test_a_plugin_that_cannot_be_imported_is_named_with_its_line(plan, tmp_path, request, code, parts):
    name = f"bad_plugin_{request.node.callspec.id}"
    file = tmp_path / f"{name}.py"
    file.write_text(code)
    refused(
        plan("recipe=small", f"plugins=[{name}]"),
        f"plugins: '{name}' cannot be imported: ",
        *(part.format(file=file) for part in parts),
    )


@pytest.mark.parametrize(
    ("word", "message"),
    [
        ("recipe.tree.base.with.learning_rate=inf", "recipe.tree.base.with.learning_rate: must be a finite number"),
        ("dataset.mean=inf", "dataset.mean: must be a finite number (got inf)"),
        ("+dataset.std=[nan]", "dataset.std.0: must be a finite number (got nan)"),
        ("limits.memory_gb=inf", "limits.memory_gb: must be a finite number (got inf)"),
        ("bathc_size=2", "unknown key 'bathc_size'. Did you mean 'batch_size'?"),
        ("executor.worker=2", "unknown key 'executor.worker'. Did you mean 'executor.workers'?"),
        ("dataset.trian=10", "unknown parameter 'trian'. Did you mean 'train'?"),
        ("model.depht=3", "unknown parameter 'depht'. Did you mean 'depths'?"),
        ("bench.ruonds=3", "unknown parameter 'ruonds'. Did you mean 'rounds'?"),
        ("model.builder=[1]", "builder: expected a name, got [1]. Known: "),
        ("model.name=[1]", "Model: name: expected a text, got [1]"),
        ("dataset.dataset={a:1}", "dataset: expected a name, got {'a': 1}. Known: "),
        (f"model.builder={'x' * 3000}", "No model builder is called 'xxx"),
        (f"model.weights={'x' * 3000}", f"{'x' * 497}...: File name too long"),
        (
            "recipe.tree.base.with.model=[1]",
            "model: expected the name of a model, or an entry of conf/model written out, got [1]",
        ),
        ("recipe.tree.base.with.model=false", "or an entry of conf/model written out, got False"),
        ("recipe.tree.base.with.model={builder:residual_cn}", "Did you mean 'residual_cnn'?"),
        ("recipe.tree.base.with.model={}", "Step 'base': Model '?': no `builder` is given. Known: "),
    ],
)
def test_a_wrong_number_or_key_is_named_with_the_nearest(plan, word, message):
    refused(plan("recipe=small", word), message)


def test_a_parameter_that_the_entry_does_not_set_needs_no_plus(plan):
    keys = [plan("recipe=small", word)[1] for word in ("dataset.mean=0.4", "+dataset.mean=0.4", "dataset.mean=0.5")]
    assert keys[0] == keys[1] != keys[2]


def chain(steps):
    node = "{op: magnitude_prune, with: {sparsity: 0.5}}"
    for _ in range(steps - 1):
        node = f"{{op: magnitude_prune, with: {{sparsity: 0.5}}, then: {{n: {node}}}}}"
    return f"name: d\nmodel: digits_resnet\ndataset: digits\ntree: {{base: {{op: train, then: {{a: {node}}}}}}}\n"


def test_a_chain_of_five_hundred_steps_can_be_planned(plan, conf):
    code, out, err = plan("recipe=deep", conf=conf(recipe__deep=chain(500)))
    assert code == 0, err
    assert "501 models" in out


def test_a_chain_that_is_too_deep_is_one_message(plan, conf):
    usual = sys.getrecursionlimit()
    refused(
        plan("recipe=deep", conf=conf(recipe__deep=chain(700))),
        "recipe/deep.yaml line 4: values are nested more than 1200 levels deep. A chain may have some 596 steps",
    )
    assert sys.getrecursionlimit() == usual


def test_a_word_that_is_not_utf8_is_refused_by_name(plan):
    refused(plan("recipe=small", "dataset.root='/data/n\udcfcx'"), "/data/n\\udcfcx", "not UTF-8", "make a link to it")


PICTURES = (
    "recipe=small", "dataset=image_folder", "dataset.size=8", "dataset.channels=1", "dataset.mean=0.5", "dataset.std=0.5",
)  # fmt: skip


@pytest.fixture
def pictures(tmp_path):
    from PIL import Image

    for kind in ("a", "b"):
        (tmp_path / "pictures" / kind).mkdir(parents=True)
        for number in range(10):
            Image.new("L", (8, 8), number).save(tmp_path / "pictures" / kind / f"{number}.png")
    return f"dataset.root={tmp_path / 'pictures'}"


def test_good_pictures_are_planned(plan, pictures):
    code, _, err = plan(*PICTURES, pictures)
    assert code == 0, err


@pytest.mark.parametrize(
    ("word", "message"),
    [
        ("dataset.classes=[a,c]", "'b' is none of the classes"),
        ("dataset.evaluation_share=0", "no picture is held out for evaluation"),
    ],
)
def test_data_that_cannot_be_used_are_refused_when_planned(plan, pictures, word, message):
    refused(plan(*PICTURES, pictures, word), "dataset: Data set 'image_folder': ", message)


@pytest.mark.parametrize("when", ["opening", "loading", "classes"])
def test_a_data_set_of_the_users_that_raises_is_named_with_the_line(plan, conf, tmp_path, when):
    from pipeline.datasets.api import DATASETS

    file = tmp_path / f"odd_data_{when}.py"
    file.write_text(
        "from pathlib import Path\n"
        "from pipeline.datasets.api import dataset\n"
        "from pipeline.datasets.splits import SplitDataset\n"
        "def load(): raise KeyError('rows')\n"
        "class Odd(SplitDataset):\n"
        + ("    classes = property(lambda self: load())\n" if when == "classes" else "    pass\n")
        + "@dataset\n"
        f"def odd_{when}(folder: Path):\n"
        + ("    load()\n" if when == "opening" else "")
        + f"    return Odd(name='of the plug-in', task='image-classification', fingerprint='odd {when}', load=load)\n"
    )
    recipe = (CONF / "recipe" / "small.yaml").read_text().replace("dataset: digits", "dataset: odd")
    folder = conf(recipe__mine=recipe, dataset__odd=f"name: odd\ndataset: odd_{when}\n")
    try:
        refused(
            plan("recipe=mine", f"plugins=[{file.stem}]", conf=folder),
            f"dataset: Data set 'odd': KeyError: 'rows' ({file}:4)\n",
        )
    finally:
        DATASETS._items.pop(f"odd_{when}", None)


def test_the_version_is_said_with_those_of_the_libraries(capsys):
    assert main.run(["--version"]) == 0
    lines = dict(line.split(" ", 1) for line in capsys.readouterr().out.splitlines())
    assert {"python", "bouillon", "torch", "onnxruntime", "duckdb"} <= lines.keys()


def test_an_unknown_level_of_the_log_is_refused_with_the_known_ones(plan):
    refused(
        plan("recipe=small", "--log-level", "shout"), "--log-level: invalid choice: 'shout'", "debug|info|warning|error"
    )


def test_nodes_that_may_not_hand_on_their_results_are_refused(plan):
    words = ("recipe=small", "executor=ray", "artifacts.url=s3://team/nowhere", "artifacts.upload=false")
    refused(plan(*words), "artifacts.upload: false does not go with executor=ray", "name an object store of your own")
