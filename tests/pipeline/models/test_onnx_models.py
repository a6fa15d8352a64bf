"""ONNX files as roots: matched with the task, tried, and never changed."""

import re
from dataclasses import replace

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from onnx import TensorProto, helper, numpy_helper

from ops.core.operation import OnnxModel
from pipeline.models.api import ModelError
from pipeline.models.build import build
from tests.pipeline.models.conftest import PICTURES, QUESTIONS, entry


def _classifier(path, *, name="pixel_values", output="logits", batch="batch", classes=3, inner=None):
    """Flatten and multiply; saved in `path`."""
    weight = numpy_helper.from_array(np.random.default_rng(0).normal(size=(192, classes)).astype(np.float32), "weight")
    hidden = inner or "hidden"
    graph = helper.make_graph(
        [helper.make_node("Flatten", [name], [hidden]), helper.make_node("MatMul", [hidden, "weight"], [output])],
        "g",
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, [batch, 3, 8, 8])],
        [helper.make_tensor_value_info(output, TensorProto.FLOAT, [batch, classes])],
        [weight],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    onnx.save(model, str(path))
    return str(path)


def _run(path, name):
    session = ort.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    return session.run(None, {name: np.ones((3, 3, 8, 8), np.float32)})[0]


def test_a_file_that_fits_is_taken_as_it_is(tmp_path):
    path = _classifier(tmp_path / "net.onnx")
    model = build(entry("onnx", path=path), PICTURES)
    assert isinstance(model, OnnxModel)
    assert str(model.path) == path
    assert model.architecture.classes == PICTURES.classes


@pytest.mark.parametrize("inner", [None, "logits"])
def test_other_names_are_changed_in_a_copy(tmp_path, inner):
    path = _classifier(tmp_path / "net.onnx", name="image", output="scores", inner=inner)
    before = (tmp_path / "net.onnx").read_bytes()
    model = build(entry("onnx", path=path), PICTURES)
    session = ort.InferenceSession(str(model.path), providers=["CPUExecutionProvider"])
    assert [one.name for one in session.get_inputs()] == ["pixel_values"]
    assert [one.name for one in session.get_outputs()] == ["logits"]
    assert np.array_equal(_run(model.path, "pixel_values"), _run(path, "image"))
    assert (tmp_path / "net.onnx").read_bytes() == before


def _reader(path, inputs, outputs):
    """A model of three inputs of tokens: the second gives the first output, the sum of the others the second."""
    first, second, third = inputs
    graph = helper.make_graph(
        [
            helper.make_node("Cast", [second], [outputs[0]], to=TensorProto.FLOAT),
            helper.make_node("Cast", [first], ["one"], to=TensorProto.FLOAT),
            helper.make_node("Cast", [third], ["other"], to=TensorProto.FLOAT),
            helper.make_node("Add", ["one", "other"], [outputs[1]]),
        ],
        "g",
        [helper.make_tensor_value_info(name, TensorProto.INT64, ["batch", 12]) for name in inputs],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["batch", 12]) for name in outputs],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10), str(path))
    return str(path)


def test_names_that_fit_stay_where_only_some_do(tmp_path):
    inputs = ["mask", "input_ids", "token_type_ids"]  # only the first has another name
    path = _reader(tmp_path / "q.onnx", inputs, ["starts", "end_logits"])
    model = build(entry("onnx", path=path), QUESTIONS)
    assert "matched_by_order" not in model.notes  # what is left over is the only one
    session = ort.InferenceSession(str(model.path), providers=["CPUExecutionProvider"])
    feed = {
        name: np.full((2, 12), number, np.int64)
        for number, name in enumerate(("input_ids", "attention_mask", "token_type_ids"), 5)
    }
    starts, ends = session.run(["start_logits", "end_logits"], feed)
    assert (starts == 5).all()
    assert (ends == 6 + 7).all()


def test_what_is_matched_by_its_order_alone_is_noted(tmp_path):
    path = _reader(tmp_path / "q.onnx", ["a", "b", "token_type_ids"], ["s", "e"])
    model = build(entry("onnx", path=path), QUESTIONS)
    assert model.notes["matched_by_order"] == [
        "a as input_ids", "b as attention_mask", "s as start_logits", "e as end_logits",
    ]  # fmt: skip
    session = ort.InferenceSession(str(model.path), providers=["CPUExecutionProvider"])
    feed = {name: np.full((2, 12), number, np.int64) for number, name in enumerate(QUESTIONS.inputs, 5)}
    starts, ends = session.run(["start_logits", "end_logits"], feed)
    assert (starts == 6).all()
    assert (ends == 5 + 7).all()


@pytest.mark.parametrize(
    ("changes", "need", "message"),
    [
        (
            {"classes": 5},
            PICTURES,
            "output 'logits' has shape [2, 5] for 2 instances; the data has 3 classes, so it must be [2, 3]",
        ),
        (
            {"batch": 1},
            PICTURES,
            "input 'pixel_values' has the fixed batch size 1; export it with a dynamic batch axis",
        ),
        (
            {},
            replace(PICTURES, inputs={"pixel_values": ("float32", (3, 9, 9))}),
            "input 'pixel_values' takes [batch, 3, 8, 8], the data gives [batch, 3, 9, 9]. Set `size: 8` of the pictures",
        ),
        ({}, QUESTIONS, "has the inputs pixel_values; the task needs input_ids, attention_mask, token_type_ids"),
    ],
)
def test_files_that_do_not_suit_the_data_are_refused(tmp_path, changes, need, message):
    path = _classifier(tmp_path / "net.onnx", **changes)
    with pytest.raises(ModelError, match=rf"^Model 'mine': .*{re.escape(message)}"):
        build(entry("onnx", path=path), need)


@pytest.mark.parametrize(
    "damage", [lambda whole: whole[: len(whole) // 2], lambda whole: b"no model", lambda whole: b""]
)
def test_damaged_files_are_named(tmp_path, damage):
    path = _classifier(tmp_path / "net.onnx")
    (tmp_path / "net.onnx").write_bytes(damage((tmp_path / "net.onnx").read_bytes()))
    with pytest.raises(ModelError, match=re.escape(f"Model 'mine': {path}: damaged or no ONNX model (")):
        build(entry("onnx", path=path), PICTURES)


def test_a_missing_file_is_named():
    with pytest.raises(ModelError, match=re.escape("Model 'mine': path: nowhere.onnx: there is no such file")):
        build(entry("onnx", path="nowhere.onnx"), PICTURES)
