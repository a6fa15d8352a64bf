"""ONNX files whose weights lie beside them: read whole, part of the identity, never looked for outside of the folder."""

import re
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper

from ops.core.model import Architecture, TorchModel
from ops.onnx_graph.layers import rename_values
from ops.onnx_graph.session import open_session
from pipeline.models import storage
from pipeline.models.api import ModelError
from pipeline.models.build import build
from pipeline.models.builders import onnx as onnx_builder
from pipeline.models.identity import content_of
from pipeline.models.onnx_export import export_onnx
from pipeline.models.onnx_files import external_data
from tests.pipeline.models.conftest import PICTURES, entry

WEIGHT = np.random.default_rng(0).normal(size=(192, 3)).astype(np.float32)
SHIFT = np.array([1.0, 2.0, 3.0], np.float32)


def classifier(path, *, weight=WEIGHT, location="net.onnx.data"):
    """Flatten, multiply and add a constant; both tensors lie in a file beside the model."""
    constant = numpy_helper.from_array(SHIFT, "shift_value")
    graph = helper.make_graph(
        [
            helper.make_node("Flatten", ["pixel_values"], ["flat"]),
            helper.make_node("MatMul", ["flat", "weight"], ["product"]),
            helper.make_node("Constant", [], ["shift"], value=constant),
            helper.make_node("Add", ["product", "shift"], ["logits"]),
        ],
        "g",
        [helper.make_tensor_value_info("pixel_values", TensorProto.FLOAT, ["batch", 3, 8, 8])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["batch", 3])],
        [numpy_helper.from_array(weight, "weight")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    (path.parent / location).parent.mkdir(parents=True, exist_ok=True)
    (path.parent / location).unlink(missing_ok=True)  # it would be appended to
    onnx.save_model(
        model, str(path), save_as_external_data=True, all_tensors_to_one_file=True, location=location, size_threshold=0,
        convert_attribute=True,
    )  # fmt: skip
    return path


def relocate(path, location):
    """Let the file say that its weights are somewhere else."""
    model = onnx.load(str(path), load_external_data=False)
    for tensor in external_data._tensors(model):
        for part in tensor.external_data:
            if part.key == "location":
                part.value = location
    path.write_bytes(model.SerializeToString())
    return path


def pictures():
    return np.random.default_rng(1).normal(size=(5, 3, 8, 8)).astype(np.float32)


def logits(file):
    session = ort.InferenceSession(str(file), providers=["CPUExecutionProvider"])
    return session.run(None, {"pixel_values": pictures()})[0]


def expected(weight=WEIGHT):
    return pictures().reshape(5, -1) @ weight + SHIFT


@pytest.mark.parametrize("location", ["net.onnx.data", "deep/er/weights.bin"])
def test_the_artifact_is_whole_wherever_below_the_folder_the_weights_were(tmp_path, location):
    path = classifier(tmp_path / "net.onnx", location=location)
    model = build(entry("onnx", path=str(path)), PICTURES)
    folder = tmp_path / "artifact"
    folder.mkdir()
    storage.save(model, folder)
    path.unlink()
    (tmp_path / location).unlink()
    assert sorted(file.name for file in folder.iterdir()) == ["architecture.json", "model.onnx"]
    np.testing.assert_allclose(logits(folder / "model.onnx"), expected(), rtol=1e-5, atol=1e-5)
    onnx.checker.check_model(str(folder / "model.onnx"))


def test_other_weights_beside_the_same_file_are_another_model(tmp_path):
    path = classifier(tmp_path / "net.onnx")
    graph, conf = path.read_bytes(), entry("onnx", path=str(path))
    before = content_of(conf, tmp_path / "cache")
    classifier(path, weight=-WEIGHT)
    assert path.read_bytes() == graph
    assert content_of(conf, tmp_path / "cache") != before
    np.testing.assert_allclose(logits(build(conf, PICTURES).path), expected(-WEIGHT), rtol=1e-5, atol=1e-5)


def test_what_torch_exports_by_default_is_two_files_and_one_model(tmp_path):
    module = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(192, 3)).eval()
    torch.onnx.export(
        module, (torch.zeros(2, 3, 8, 8),), str(tmp_path / "net.onnx"), dynamo=True, verbose=False,
        dynamic_shapes=({0: torch.export.Dim("n", min=1, max=4096)},),
    )  # fmt: skip
    assert (tmp_path / "net.onnx.data").is_file()
    model = build(entry("onnx", path=str(tmp_path / "net.onnx")), PICTURES)
    with torch.no_grad():
        right = module(torch.from_numpy(pictures())).numpy()
    np.testing.assert_allclose(logits(model.path), right, rtol=1e-5, atol=1e-5)


def test_symbolic_links_count_by_what_they_lead_to(tmp_path):
    """The cache of Hugging Face consists of links to files that are called by their digest."""
    (tmp_path / "blobs").mkdir()
    (tmp_path / "snapshot").mkdir()
    classifier(tmp_path / "blobs" / "net.onnx")
    for name in ("net.onnx", "net.onnx.data"):
        (tmp_path / "snapshot" / name).symlink_to(tmp_path / "blobs" / name)
    conf = entry("onnx", path=str(tmp_path / "snapshot" / "net.onnx"))
    before = content_of(conf, tmp_path / "cache")
    np.testing.assert_allclose(logits(build(conf, PICTURES).path), expected(), rtol=1e-5, atol=1e-5)
    classifier(tmp_path / "blobs" / "net.onnx", weight=-WEIGHT)
    assert content_of(conf, tmp_path / "cache") != before


def test_links_out_of_the_models_folder_are_refused_in_one_line(tmp_path):
    (tmp_path / "folder").mkdir()
    path = classifier(tmp_path / "folder" / "net.onnx")
    data = tmp_path / "folder" / "net.onnx.data"
    data.rename(tmp_path / "secret")
    data.symlink_to("../secret")
    for act in (lambda conf: content_of(conf, tmp_path / "cache"), lambda conf: build(conf, PICTURES)):
        with pytest.raises(
            ModelError, match=r"lie behind the link 'net.onnx.data', outside of the model's folder"
        ) as error:
            act(entry("onnx", path=str(path)))
        assert "\n" not in str(error.value)
    data.unlink()
    (tmp_path / "folder" / "deep").mkdir()
    (tmp_path / "secret").rename(tmp_path / "folder" / "deep" / "weights")
    data.symlink_to("deep/weights")
    np.testing.assert_allclose(
        logits(build(entry("onnx", path=str(path)), PICTURES).path), expected(), rtol=1e-5, atol=1e-5
    )


@pytest.mark.parametrize(
    "location",
    ["/etc/passwd", "../net.onnx.data", "sub/../../net.onnx.data", "C:\\weights.bin", "..\\w.bin", "\\w.bin", ""],
)
def test_weights_outside_of_the_models_folder_are_refused_in_one_line(tmp_path, location):
    (tmp_path / "folder").mkdir()
    path = classifier(tmp_path / "folder" / "net.onnx")
    (tmp_path / "net.onnx.data").write_bytes((tmp_path / "folder" / "net.onnx.data").read_bytes())
    relocate(path, location)
    for act in (lambda conf: content_of(conf, tmp_path / "cache"), lambda conf: build(conf, PICTURES)):
        with pytest.raises(ModelError, match=r"lie in '.*', outside of the model's folder\. Put them beside") as error:
            act(entry("onnx", path=str(path)))
        assert "\n" not in str(error.value)


def test_weights_that_are_missing_or_too_short_are_named(tmp_path):
    path = classifier(tmp_path / "net.onnx")
    conf, data = entry("onnx", path=str(path)), tmp_path / "net.onnx.data"
    content = data.read_bytes()
    data.write_bytes(content[:-100])
    with pytest.raises(
        ModelError, match=rf"'net\.onnx\.data' has {len(content) - 100} bytes, but '\w+' is at \d+ to \d+"
    ):
        build(conf, PICTURES)
    data.unlink()
    missing = re.escape("are missing: there is no 'net.onnx.data' beside the model")
    with pytest.raises(ModelError, match=missing):
        build(conf, PICTURES)


def test_more_than_one_file_holds_lies_beside_the_artifact_and_counts_in_its_size(tmp_path, monkeypatch):
    from pipeline.measure.metrics.api import ModelFiles
    from pipeline.measure.metrics.size import file_bytes

    monkeypatch.setattr(external_data, "_LARGEST", 100)
    model = build(entry("onnx", path=str(classifier(tmp_path / "net.onnx"))), PICTURES)
    folder = tmp_path / "artifact"
    folder.mkdir()
    storage.save(model, folder)
    assert sorted(file.name for file in folder.iterdir()) == ["architecture.json", "model.onnx", "model.onnx.data"]
    np.testing.assert_allclose(logits(folder / "model.onnx"), expected(), rtol=1e-5, atol=1e-5)
    assert file_bytes(ModelFiles(folder / "model.onnx", (), None)) > WEIGHT.nbytes


@pytest.mark.parametrize("linked", [False, True])
def test_more_than_one_message_holds_is_run_from_its_file(tmp_path, monkeypatch, linked):
    """Links as the cache of Hugging Face has them; outputs that are renamed after the run; a batch axis of size -1."""
    sources = []

    def open_and_note(source):
        sources.append(source)
        return open_session(source)

    monkeypatch.setattr(external_data, "_LARGEST", 100)
    monkeypatch.setattr(onnx_builder, "open_session", open_and_note)
    path = classifier(tmp_path / "blobs" / "net.onnx")
    model = onnx.load(str(path), load_external_data=False)
    rename_values(model, {"logits": "scores"})
    model.graph.input[0].type.tensor_type.shape.dim[0].dim_value = -1
    path.write_bytes(model.SerializeToString())
    if linked:
        (tmp_path / "snapshot").mkdir()
        for name in ("net.onnx", "net.onnx.data"):
            (tmp_path / "snapshot" / name).symlink_to(tmp_path / "blobs" / name)
        path = tmp_path / "snapshot" / "net.onnx"
    built = build(entry("onnx", path=str(path)), PICTURES)
    assert [isinstance(source, Path) for source in sources] == [True]
    np.testing.assert_allclose(logits(built.path), expected(), rtol=1e-5, atol=1e-5)
    folder = tmp_path / "artifact"
    folder.mkdir()
    storage.save(built, folder)
    np.testing.assert_allclose(logits(folder / "model.onnx"), expected(), rtol=1e-5, atol=1e-5)


def test_a_large_model_that_is_damaged_is_refused_by_its_own_name(tmp_path, monkeypatch):
    monkeypatch.setattr(external_data, "_LARGEST", 100)
    path = classifier(tmp_path / "net.onnx")
    model = onnx.load(str(path), load_external_data=False)
    model.graph.node[1].input[0] = "nowhere"
    path.write_bytes(model.SerializeToString())
    with pytest.raises(ModelError, match=rf"{re.escape(str(path))}: damaged or no ONNX model") as error:
        build(entry("onnx", path=str(path)), PICTURES)
    assert "\n" not in str(error.value)


def test_a_large_network_is_exported_with_its_weights_beside_the_file(tmp_path, monkeypatch):
    monkeypatch.setattr(external_data, "_LARGEST", 100)
    module = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(192, 3)).eval()
    architecture = Architecture("net", "python", {}, PICTURES.task, PICTURES.classes, PICTURES.inputs)
    export_onnx(TorchModel(module, architecture), tmp_path / "net.onnx")
    assert (tmp_path / "net.onnx.data").stat().st_size >= 192 * 3 * 4
    with torch.no_grad():
        right = module(torch.from_numpy(pictures())).numpy()
    np.testing.assert_allclose(logits(tmp_path / "net.onnx"), right, rtol=1e-5, atol=1e-5)
