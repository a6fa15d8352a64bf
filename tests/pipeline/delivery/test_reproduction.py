"""A model made anew agrees with what was written down of it, and what differs is named."""

import json
import shutil

import pytest

from pipeline.delivery.packaging.reproduction import FigureComparison, _compared
from pipeline.store.queries.model_facts import MeasuredFigure


def figure(value, low=None, high=None):
    return MeasuredFigure("accuracy", value, low, high, 100, "", ".1%", "quality", "instances", True, "Share.")


@pytest.mark.parametrize(
    ("then", "now", "beyond"),
    [
        (figure(0.9, 0.8, 0.95), (0.9, 0.8, 0.95), False),
        (figure(0.9, 0.8, 0.95), (0.89, 0.79, 0.94), False),
        # 0.2 apart; the sides that face each other are 0.12 and 0.15: sqrt(0.12^2 + 0.15^2) = 0.192
        (figure(0.9, 0.78, 0.95), (0.7, 0.6, 0.85), True),
        # the same, with 0.13 and 0.16: 0.206
        (figure(0.9, 0.77, 0.95), (0.7, 0.6, 0.86), False),
        (figure(0.7, 0.6, 0.85), (0.9, 0.78, 0.95), True),
        (figure(0.9), (0.8, 0.7, 0.9), None),
        (figure(0.9), (0.9, None, None), False),
        (figure(0.9, 0.8, 0.95), None, None),
    ],
)
def test_figures_differ_by_more_than_chance_or_not(then, now, beyond):
    compared = _compared(then, now)
    assert compared == FigureComparison(then, None if now is None else now[0], beyond)


@pytest.mark.slow
def test_a_package_is_made_anew_bit_for_bit(packaged, call, tmp_path):
    code, told, _ = call("reproduce", str(packaged), "--json", "--workspace", str(tmp_path / "anew"))
    report = json.loads(told)
    assert (report["changes"], report["failures"]) == ([], [])
    assert [each["metric"] for each in report["figures"] if each["beyond_noise"]] == []
    assert (code, report["outcome"]) == (0, "agrees")
    assert [(step["path"], step["identical"]) for step in report["steps"]] == [("base", True), ("base/int8", True)]
    assert report["weights"] is None
    same = {each["metric"]: each["then"] == each["now"] for each in report["figures"]}
    assert same["accuracy"]
    assert same["file_bytes"]
    assert (tmp_path / "anew" / "recipe.yaml").read_bytes() == (packaged / "recipe.yaml").read_bytes()


@pytest.mark.matrix
@pytest.mark.slow
def test_what_has_changed_is_named(packaged, call, tmp_path):
    """Another seed, written into the recipe of a package that is sealed again: weights and figures are others."""
    copy = shutil.copytree(packaged, tmp_path / "copy")
    recipe = (copy / "recipe.yaml").read_text()
    assert "evaluation: 397" in recipe
    (copy / "recipe.yaml").write_text(recipe.replace("evaluation: 397", "evaluation: 380"))
    provenance = json.loads((copy / "provenance.json").read_text())
    from hashlib import sha256

    provenance["files"]["recipe.yaml"] = sha256((copy / "recipe.yaml").read_bytes()).hexdigest()
    provenance["run"]["versions"]["onnx"] = "1.0"
    provenance["lineage"][0]["version"] = 1
    provenance["lineage"][1]["params"]["samples"] = 32
    provenance["code"]["my_plugin"] = "0" * 64
    provenance["device"] = "elsewhere"
    (copy / "provenance.json").write_text(json.dumps(provenance))
    code, told, said = call("reproduce", str(copy))
    assert code == 1, said
    assert "changed    data set 'digits': is not what it was (" in told
    assert "changed    onnx: 1.0 then, " in told
    assert "changed    step 'base': operation 'train' is of version " in told
    assert "changed    step 'base/int8': samples was 32 and is 64" in told
    assert "changed    code of plug-in 'my_plugin': has changed" in told
    assert "changed    machine: elsewhere then, " in told
    assert "differs    base: model.safetensors" in told
    assert "tensors differ, a number by at most" in told
    assert told.endswith("reproduction: differs\n")


def test_what_is_no_package_is_refused(packaged, call, tmp_path):
    code, _, said = call("reproduce", str(tmp_path))
    assert (code, said.count("\n")) == (2, 1)
    assert "provenance.json: is not the provenance of a package ([Errno 2] No such file" in said
    copy = shutil.copytree(packaged, tmp_path / "copy")
    for content, message in (
        ("{", "is not the provenance of a package"),
        ("{}", "is not the provenance of a package (format: Field required)"),
        ('{"format": 2}', "is not the provenance of a package (format: Input should be 1)"),
    ):
        (copy / "provenance.json").write_text(content)
        code, _, said = call("reproduce", str(copy))
        assert (code, said.count("\n")) == (2, 1)
        assert message in said


def test_a_workspace_with_something_in_it_is_refused(packaged, call):
    code, _, said = call("reproduce", str(packaged), "--workspace", str(packaged))
    line = f"error: --workspace {packaged}: is not an empty folder. Name a new one, or leave it out\n"
    assert (code, said) == (2, line)


def test_data_files_are_named_one_by_one(tmp_path):
    from types import SimpleNamespace

    from pipeline.delivery.packaging.provenance import local_files
    from pipeline.delivery.packaging.reproduction import _data_changes

    train, test = tmp_path / "train.csv", tmp_path / "test.csv"
    train.write_text("text,label\n")
    test.write_text("text,label\n")
    entry = {"dataset": "table", "path": {"train": str(train), "evaluation": str(test)}, "text": {"tokenizer": "x"}}
    data = {"name": "mine", "fingerprint": "a" * 64, "files": local_files(entry)}
    assert set(data["files"]) == {str(train), str(test)}
    test.write_text("text,label\na,b\n")
    now = SimpleNamespace(data=SimpleNamespace(fingerprint="b" * 64), config=SimpleNamespace(dataset=entry))
    assert _data_changes(data, now) == [
        f"data file {test}: has changed",
        "data set 'mine': is not what it was (aaaaaaaaaaaa then, bbbbbbbbbbbb now)",
    ]
    train.unlink()
    assert f"data file {train}: is missing" in _data_changes(data, now)
