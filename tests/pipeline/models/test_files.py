import json

import pytest
import torch
from safetensors.torch import save_file

from pipeline.models import identity
from pipeline.models.api import ModelError
from pipeline.models.identity import content_of
from pipeline.models.weights import read_tensors
from tests.pipeline.models.conftest import entry


def test_other_content_under_the_same_path_is_another_model(tmp_path):
    (tmp_path / "net.onnx").write_text("one")
    conf, cache = entry("onnx", path=str(tmp_path / "net.onnx")), tmp_path / "cache"
    one = content_of(conf, cache)
    assert content_of(conf, cache) == one
    (tmp_path / "net.onnx").write_text("two")
    assert content_of(conf, cache) != one


def test_every_file_of_a_folder_counts(tmp_path):
    (tmp_path / "model" / "sub").mkdir(parents=True)
    (tmp_path / "model" / "config.json").write_text("{}")
    conf, cache = entry("huggingface", weights=str(tmp_path / "model")), tmp_path / "cache"
    one = content_of(conf, cache)
    (tmp_path / "model" / "sub" / "model.safetensors").write_text("tensors")
    assert content_of(conf, cache) != one


def test_the_place_of_the_files_does_not_count(tmp_path):
    for place in ("here", "there"):
        (tmp_path / place).mkdir()
        (tmp_path / place / "w.pt").write_text("tensors")
    here, there = (
        content_of(entry("python", weights=str(tmp_path / place / "w.pt")), tmp_path) for place in ("here", "there")
    )
    assert here == there


def test_an_entry_without_local_files_has_no_content_where_no_hub_knows_it(tmp_path, monkeypatch):
    monkeypatch.setattr(identity, "commit_of", lambda name, revision: None)
    for weights in (None, "google/vit-base-patch16-224", "???", "IMAGENET1K_V2", ""):
        assert content_of(entry("huggingface", weights=weights), tmp_path) is None


def test_the_commit_that_a_hub_id_means_counts(tmp_path, monkeypatch):
    commits = {("google/vit", None): "a" * 40, ("google/vit", "v2"): "b" * 40}
    monkeypatch.setattr(identity, "commit_of", lambda name, revision: commits[name, revision])
    main, other = (
        content_of(entry("huggingface", weights="google/vit", **revision), tmp_path)
        for revision in ({}, {"revision": "v2"})
    )
    assert main is not None
    assert other not in (None, main)
    commits["google/vit", None] = "c" * 40  # somebody publishes others
    assert content_of(entry("huggingface", weights="google/vit"), tmp_path) not in (None, main, other)
    commits["google/vit", None] = "a" * 40
    assert content_of(entry("huggingface", weights="google/vit"), tmp_path) == main


def _shards(folder, *, ending="safetensors"):
    """Two shards with their index, as `save_pretrained` writes large models; returns the tensors."""
    tensors = {"1.weight": torch.arange(576.0).reshape(3, 192), "1.bias": torch.tensor([1.0, 2.0, 3.0])}
    names = [f"model-0000{number}-of-00002.{ending}" for number in (1, 2)]
    for name, part in zip(names, tensors, strict=True):
        if ending == "safetensors":
            save_file({part: tensors[part]}, folder / name)
        else:
            torch.save({part: tensors[part]}, folder / name)
    index = {"metadata": {}, "weight_map": dict(zip(tensors, names, strict=True))}
    (folder / f"model.{ending}.index.json").write_text(json.dumps(index))
    return tensors


@pytest.mark.parametrize("ending", ["safetensors", "bin"])
@pytest.mark.parametrize("named", ["index", "first", "second"])
def test_all_shards_are_read_and_count(tmp_path, ending, named):
    tensors = _shards(tmp_path, ending=ending)
    names = {
        "index": f"model.{ending}.index.json",
        "first": f"model-00001-of-00002.{ending}",
        "second": f"model-00002-of-00002.{ending}",
    }
    path = str(tmp_path / names[named])
    found = read_tensors(path)
    assert found.keys() == tensors.keys()
    assert all(torch.equal(found[name], tensors[name]) for name in tensors)
    conf, before = entry("python", weights=path), content_of(entry("python", weights=path), tmp_path / "cache")
    for name in ("first", "second"):
        file = tmp_path / names[name]
        content = file.read_bytes()
        file.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
        assert content_of(conf, tmp_path / "cache") != before
        file.write_bytes(content)
    missing = "first" if named == "second" else "second"
    (tmp_path / names[missing]).unlink()
    with pytest.raises(ModelError, match=r"there is no (such file|'model-0000[12]-of-00002)"):
        content_of(conf, tmp_path / "cache")


@pytest.mark.parametrize("name", ["../other.safetensors", "/etc/passwd", 7])
def test_an_index_leads_nowhere_outside_of_its_folder(tmp_path, name):
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps({"weight_map": {"w": name}}))
    with pytest.raises(ModelError, match="which is no file beside it"):
        content_of(entry("python", weights=str(tmp_path / "model.safetensors.index.json")), tmp_path / "cache")


def test_files_behind_links_count_and_a_circle_of_links_ends(tmp_path):
    (tmp_path / "model").mkdir()
    (tmp_path / "blobs").mkdir()
    (tmp_path / "blobs" / "abc").write_text("tensors")
    (tmp_path / "model" / "weights").symlink_to(tmp_path / "blobs")
    (tmp_path / "model" / "round").symlink_to(tmp_path / "model")
    (tmp_path / "model" / "model.safetensors").symlink_to(tmp_path / "blobs" / "abc")
    conf = entry("huggingface", weights=str(tmp_path / "model"))
    before = content_of(conf, tmp_path / "cache")
    (tmp_path / "blobs" / "abc").write_text("other tensors")
    assert content_of(conf, tmp_path / "cache") != before
