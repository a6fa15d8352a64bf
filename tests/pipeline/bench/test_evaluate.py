"""Predictions on the evaluation split: order, windows of questions, NaN, and what does not fit."""

import re
from dataclasses import replace
from typing import ClassVar

import numpy as np
import pytest

from ops.core.operation import Batch
from pipeline.datasets.api import Answers
from pipeline.measure.evaluate import EvaluationError, depends_on_batch, predict
from pipeline.measure.metrics.behaviour import kl_to_base
from pipeline.measure.metrics.quality import accuracy, invalid_outputs, loss
from pipeline.measure.predictions import prediction_record
from pipeline.models.api import Need
from pipeline.models.build import build
from pipeline.targets.open import open_target
from tests.pipeline.nets import CLASSES, samples


class Pictures:
    name, task, classes = "pictures", "image-classification", CLASSES
    inputs: ClassVar = {"pixel_values": ("float32", (3, 24, 24))}

    def __init__(self, count=20):
        self._count = count

    def ids(self, split):
        return tuple(f"p{row}" for row in range(self._count))

    def attributes(self, split):
        return {"colour": ["red"] * self._count}

    def batches(self, split, *, batch_size):
        assert split == "evaluation"
        pixels, labels = samples(self._count), np.arange(self._count) % 7
        for start in range(0, self._count, batch_size):
            part = slice(start, min(start + batch_size, self._count))
            yield Batch(self.ids(split)[part], {"pixel_values": pixels[part]}, {"labels": labels[part]})


class Echo:
    """A session whose outputs are given."""

    def __init__(self, inputs=("x",), **outputs):
        self.inputs, self._arrays, self._at = inputs, outputs, 0
        self.outputs = tuple(outputs)

    def run(self, inputs):
        count = len(inputs[self.inputs[0]])
        part = slice(self._at, self._at + count)
        self._at += count
        return tuple(array[part] for array in self._arrays.values())


class Questions:
    """Two questions; the first has two windows, and its answer is in the second."""

    name, task, classes = "questions", "question-answering", ()
    inputs: ClassVar = {"x": ("float32", (1,))}

    def ids(self, split):
        return ("q1", "q2")

    def attributes(self, split):
        return {}

    def batches(self, split, *, batch_size):
        yield Batch(("q1", "q1", "q2"), {"x": np.zeros((3, 1))}, {
            "start_positions": np.array([0, 2, 0]), "end_positions": np.array([0, 3, 0]),
        })  # fmt: skip

    def answers(self, outputs):
        assert outputs["start_logits"].shape == (3, 4)
        return Answers(("Paris", ""), np.array([0, 2]))

    def references(self):
        return (("Paris",), ("",))


def test_every_instance_is_answered_in_order(nets):
    with open_target({"target": "onnxruntime"}).open(nets.float32, threads=1) as session:
        found = predict(session, Pictures(), batch_size=8)
        (expected,) = session.run({"pixel_values": samples(20)})
    assert found.ids == tuple(f"p{row}" for row in range(20))
    np.testing.assert_allclose(found.outputs["logits"], expected, atol=1e-5)
    assert found.targets["labels"].tolist() == [row % 7 for row in range(20)]
    assert found.attributes == {"colour": ("red",) * 20}


def test_two_targets_agree(nets):
    pytest.importorskip("openvino", reason="the extra `openvino` is not installed")
    found = []
    for name, model in (("onnxruntime", nets.float32), ("pytorch", nets.folder), ("openvino", nets.float32)):
        with open_target({"target": name}).open(model, threads=1) as session:
            found.append(predict(session, Pictures(), batch_size=6))
    for other in found[1:]:
        np.testing.assert_allclose(found[0].outputs["logits"], other.outputs["logits"], atol=2e-5)
        assert accuracy(found[0]) == accuracy(other)


def test_nan_is_recorded_as_such(nets):
    with open_target({"target": "onnxruntime"}).open(nets.nan, threads=1) as session:
        found = predict(session, Pictures(), batch_size=8)
    assert np.isnan(found.outputs["logits"]).any()
    assert invalid_outputs(found).value == 1
    assert accuracy(found).value == 0


def test_an_empty_split_is_refused(nets):
    with (
        open_target({"target": "onnxruntime"}).open(nets.float32, threads=1) as session,
        pytest.raises(
            EvaluationError, match="The evaluation split of 'pictures' is empty: there is nothing to evaluate"
        ),
    ):
        predict(session, Pictures(0), batch_size=8)


def test_a_model_of_other_inputs_is_refused():
    message = "The model takes tokens, which 'pictures' does not give. It gives: pixel_values"
    with pytest.raises(EvaluationError, match=re.escape(message)):
        predict(Echo(("tokens",), logits=np.zeros((20, 7))), Pictures(), batch_size=8)


def test_an_output_of_other_length_is_refused():
    with pytest.raises(EvaluationError, match="Output 'logits' has 1 rows for a batch of 8 instances"):
        predict(Echo(("pixel_values",), logits=np.zeros((1, 7))), Pictures(), batch_size=8)


def test_a_question_is_judged_once_and_by_the_window_of_its_answer():
    rows = np.arange(12.0, dtype=np.float32).reshape(3, 4)
    found = predict(Echo(start_logits=rows, end_logits=rows + 1), Questions(), batch_size=8)
    assert found.ids == ("q1", "q2")
    assert found.answers == ("Paris", "")
    assert found.references == (("Paris",), ("",))
    np.testing.assert_array_equal(found.outputs["start_logits"], rows[[1, 2]])
    assert found.targets["start_positions"].tolist() == [2, 0]


@pytest.mark.parametrize("end", ["Softmax", "LogSoftmax", "Sigmoid"])
def test_figures_of_a_file_that_takes_the_softmax_itself_are_those_of_its_probabilities(end, tmp_path):
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    weight = np.random.default_rng(0).normal(size=(1728, 7)).astype(np.float32) / 10
    nodes = [
        helper.make_node("Flatten", ["pixel_values"], ["flat"]),
        helper.make_node("MatMul", ["flat", "weight"], ["scores"]),
        helper.make_node(end, ["scores"], ["logits"]),
    ]
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("pixel_values", TensorProto.FLOAT, ["n", 3, 24, 24])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["n", 7])],
        [numpy_helper.from_array(weight, "weight")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    onnx.save(model, tmp_path / "net.onnx")
    need = Need("image-classification", CLASSES, Pictures.inputs, pretrained=True)
    built = build({"name": "mine", "builder": "onnx", "path": str(tmp_path / "net.onnx")}, need)
    with open_target({"name": "onnxruntime", "target": "onnxruntime"}).open(built.path, threads=1) as session:
        found = predict(session, Pictures(), batch_size=8, output_kinds=built.architecture.output_kinds)
    scores = samples(20).reshape(20, -1).astype(np.float64) @ weight
    p = 1 / (1 + np.exp(-scores)) if end == "Sigmoid" else np.exp(scores - scores.max(axis=1, keepdims=True))
    p /= p.sum(axis=1, keepdims=True)
    labels = np.arange(20) % 7
    record = prediction_record(found, model="m", target="onnxruntime", dataset="d")
    assert np.allclose(record.probabilities, p, atol=1e-5)
    assert np.allclose(record.confidence, p.max(axis=1), atol=1e-5)
    assert loss(found).value == pytest.approx(-np.log(p[np.arange(20), labels]).mean(), rel=1e-4)
    base = replace(found, outputs={"logits": np.zeros((20, 7), np.float32)})
    assert kl_to_base(found, base).value == pytest.approx((np.log(1 / 7) - np.log(p)).mean(axis=1).mean(), rel=1e-4)


class Alone:
    """A session that allows one row at a time, and gives its sum."""

    inputs, outputs = ("x",), ("start_logits", "end_logits")

    def run(self, inputs):
        assert len(inputs["x"]) == 1
        return inputs["x"] + np.arange(4), inputs["x"] - np.arange(4)


def test_windows_of_one_question_are_run_alone_where_the_batch_matters():
    class Windows(Questions):
        def batches(self, split, *, batch_size):
            for batch in super().batches(split, batch_size=batch_size):
                yield Batch(batch.ids, {"x": np.zeros((len(batch), 1), np.float32)}, batch.targets)

    assert predict(Alone(), Windows(), batch_size=1).ids == ("q1", "q2")


def test_files_that_find_ranges_while_running_depend_on_the_batch(nets):
    from ops.core.model import OnnxModel
    from tests.ops.digits import apply, context
    from tests.pipeline.nets import ARCHITECTURE

    dynamic = apply("quantize", OnnxModel(nets.float32, ARCHITECTURE), context(), method="dynamic").path
    assert depends_on_batch(dynamic)
    assert not any(depends_on_batch(file) for file in (nets.float32, nets.int8, nets.folder))
