"""The files of a model that somebody else made are data: loading them calls nothing that they name."""

import json
from dataclasses import replace

import pytest

from pipeline.datasets.api import DataError
from pipeline.datasets.readers.tokenizers import open_tokenizer
from pipeline.models import factories, storage
from pipeline.models.api import ModelError
from pipeline.models.build import build, build_structure
from pipeline.models.class_names import class_names
from pipeline.models.identity import content_of
from pipeline.models.preprocessing.picture_settings import picture_settings
from pipeline.models.preprocessing.text_settings import text_settings
from tests.pipeline.models.conftest import PICTURES, entry

NESTED = "[" * 10**6 + "]" * 10**6


@pytest.fixture
def artifact(tmp_path):
    folder = tmp_path / "artifact"
    folder.mkdir()
    storage.save(build(entry("depthwise_cnn"), PICTURES), folder)
    return folder


def rebuilt(folder, **changes):
    """Let the architecture say something else."""
    file = folder / "architecture.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), **changes}))


def refused(folder, text):
    with pytest.raises(ModelError) as caught:
        storage.load(folder)
    assert text in str(caught.value)
    assert len(str(caught.value).splitlines()) == 1


@pytest.mark.parametrize(
    "factory", ["os:system", "subprocess:run", "builtins:exec", "pipeline.cli.main:main", "nowhere:x"]
)
def test_a_function_that_the_recipe_does_not_name_is_not_called(artifact, tmp_path, factory, monkeypatch):
    monkeypatch.delenv("BOUILLON_FACTORIES", raising=False)
    witness = tmp_path / "ran"
    first = {"os:system": "command", "subprocess:run": "args", "builtins:exec": "source"}.get(factory, "arguments")
    rebuilt(artifact, builder="python", arguments={"factory": factory, "arguments": {first: f"touch {witness}"}})
    refused(artifact, f"the recipe at hand does not name '{factory}'")
    assert not witness.exists()


def test_its_module_is_not_even_imported(artifact, tmp_path, monkeypatch):
    monkeypatch.delenv("BOUILLON_FACTORIES", raising=False)
    (tmp_path / "imported_by_nobody.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')")
    monkeypatch.syspath_prepend(str(tmp_path))
    rebuilt(artifact, builder="python", arguments={"factory": "imported_by_nobody:make"})
    refused(artifact, "does not name")
    assert not (tmp_path / "ran").exists()


def test_a_function_that_the_recipe_names_is_called(monkeypatch):
    monkeypatch.delenv("BOUILLON_FACTORIES", raising=False)
    named = entry("python", factory="tests.pipeline.models.test_weights:net")
    assert not factories.is_named(named["factory"])
    factories.name_factories([named, "a model of that name", {"builder": "small_cnn"}])
    assert factories.is_named(named["factory"])
    assert not factories.is_named("os:system")


@pytest.mark.parametrize("builder", ["exec", "os:system", "../python", ""])
def test_only_registered_builders_are_called(artifact, builder):
    rebuilt(artifact, builder=builder)
    refused(artifact, f"there is no model builder '{builder}'")


def test_an_architecture_does_not_have_a_file_opened_or_fetched(artifact, tmp_path):
    network = build(entry("depthwise_cnn"), PICTURES)
    for builder, arguments in (
        ("onnx", {"path": str(tmp_path / "net.onnx")}),
        ("huggingface", {"weights": "somebody/network"}),
        ("huggingface", {"architecture": "resnet", "config": {"auto_map": {"AutoModel": "evil--net.Net"}}}),
        ("huggingface", {"architecture": "vit", "config": {"_attn_implementation": "somebody/kernels"}}),
    ):
        with pytest.raises(ModelError) as caught:
            build_structure(replace(network.architecture, builder=builder, arguments=arguments))
        assert "hub cannot be reached" not in str(caught.value)
        assert len(str(caught.value).splitlines()) == 1


def test_a_damaged_architecture_is_named(artifact):
    for text in (NESTED, "[]", "{}", '{"inputs": {"x": 3}}', '{"surprise": 1, "inputs": {}, "classes": []}', "\0"):
        (artifact / "architecture.json").write_text(text)
        refused(artifact, "architecture.json is missing or damaged")


def test_files_that_are_nested_too_deeply_are_damaged(artifact, tmp_path):
    (artifact / "edits.json").write_text(NESTED)
    refused(artifact, "edits.json is missing or damaged (nested too deeply)")
    for name in ("config.json", "preprocessor_config.json", "tokenizer.json", "model.safetensors.index.json"):
        (tmp_path / name).write_text(NESTED)
    theirs = entry("huggingface", weights=str(tmp_path))
    index = entry("python", weights=str(tmp_path / "model.safetensors.index.json"))
    assert class_names(theirs, tmp_path / "cache") is None
    for error, act in (
        (ModelError, lambda: text_settings(theirs)),
        (ModelError, lambda: picture_settings(theirs)),
        (ModelError, lambda: content_of(index, tmp_path / "cache")),
        (ModelError, lambda: build(theirs, replace(PICTURES, pretrained=True))),
        (DataError, lambda: open_tokenizer(tmp_path)),
    ):
        with pytest.raises(error) as caught:
            act()
        assert str(tmp_path) in str(caught.value)
        assert len(str(caught.value).splitlines()) == 1


def test_an_edit_that_is_not_registered_is_not_made(artifact):
    (artifact / "edits.json").write_text(json.dumps([{"edit": "os:system", "command": "true"}]))
    refused(artifact, "No edit is called 'os:system'")
