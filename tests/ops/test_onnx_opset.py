"""Files of older operator sets are converted where quantization needs it, and compute what they computed."""

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from onnx import TensorProto, helper, numpy_helper

from ops.core.errors import OperationError
from ops.core.model import Architecture
from ops.core.operation import OnnxModel
from ops.onnx_graph.opset import NEEDED, opset_of, with_operators
from ops.quantize.quantize import quantize
from tests.ops.context import digits, make_context

METHODS = [
    {"method": "static"}, {"method": "static", "per_channel": False}, {"method": "dynamic"}, {"method": "float16"},
    {"method": "bfloat16"}, {"method": "weight_only", "bits": 8},
]  # fmt: skip


def _model(opset):
    """A convolution, batch normalisation and a linear layer for 8x8 digits."""
    rng = np.random.default_rng(0)
    weights = {
        "c.weight": rng.normal(size=(4, 1, 3, 3)) / 3, "c.bias": rng.normal(size=4), "n.scale": rng.uniform(0.5, 1, 4),
        "n.bias": rng.normal(size=4), "n.mean": rng.normal(size=4), "n.var": rng.uniform(0.5, 1, 4),
        "fc.weight": rng.normal(size=(10, 4)), "fc.bias": rng.normal(size=10),
    }  # fmt: skip
    nodes = [
        helper.make_node("Conv", ["pixel_values", "c.weight", "c.bias"], ["a"], "c", kernel_shape=[3, 3], pads=[1] * 4),
        helper.make_node("BatchNormalization", ["a", "n.scale", "n.bias", "n.mean", "n.var"], ["b"], "n"),
        helper.make_node("Relu", ["b"], ["d"], "r"),
        helper.make_node("GlobalAveragePool", ["d"], ["e"], "p"),
        helper.make_node("Flatten", ["e"], ["f"], "f"),
        helper.make_node("Gemm", ["f", "fc.weight", "fc.bias"], ["logits"], "fc", transB=1),
    ]
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("pixel_values", TensorProto.FLOAT, ["n", 1, 8, 8])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["n", 10])],
        [numpy_helper.from_array(value.astype(np.float32), name) for name, value in weights.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=7)


def _run(model, inputs):
    source = model if isinstance(model, str) else model.SerializeToString()
    return ort.InferenceSession(source, providers=["CPUExecutionProvider"]).run(["logits"], inputs)[0]


@pytest.fixture
def inputs():
    return dict(next(iter(digits().batches("calibration", batch_size=16, samples=16))).inputs)


@pytest.mark.parametrize("opset", [9, 11, 12])
def test_an_older_file_computes_the_same(opset, inputs):
    old = _model(opset)
    new = with_operators(old, inputs)
    assert opset_of(new) == NEEDED
    assert np.allclose(_run(new, inputs), _run(old, inputs), atol=1e-5)
    assert opset_of(old) == opset


@pytest.mark.parametrize("opset", [9, 11])
@pytest.mark.parametrize("params", METHODS, ids=lambda params: "-".join(map(str, params.values())))
def test_every_method_takes_an_older_file(opset, params, inputs, tmp_path):
    old = _model(opset)
    onnx.save(old, tmp_path / "old.onnx")
    architecture = Architecture(
        "old", "onnx", {}, "image-classification", tuple(map(str, range(10))), {"pixel_values": ("float32", (1, 8, 8))}
    )
    context = make_context(tmp_path)
    result = quantize(OnnxModel(tmp_path / "old.onnx", architecture), context, **params)
    assert context.notes["operator_set"] == {"was": opset, "is": NEEDED}
    wanted, found = _run(old, inputs), _run(str(result.path), inputs)
    assert np.abs(found - wanted).max() < 0.05 * np.abs(wanted).max()


def test_a_file_that_cannot_be_converted_is_refused_in_one_line(inputs):
    model = _model(11)
    model.graph.node[2].op_type = "NoSuchOperator"
    with pytest.raises(
        OperationError, match="operator set is 11, quantizing needs 13, and it cannot be converted"
    ) as found:
        with_operators(model, inputs)
    assert "\n" not in str(found.value)


def test_a_damaged_file_is_said_in_one_line(tmp_path):
    (tmp_path / "model.onnx").write_bytes(_model(13).SerializeToString()[:-200])
    model = OnnxModel(
        tmp_path / "model.onnx",
        Architecture("old", "onnx", {}, "image-classification", ("a", "b"), {"pixel_values": ("float32", (1, 8, 8))}),
    )
    with pytest.raises(OperationError, match=r"model\.onnx is damaged") as found:
        quantize(model, make_context(tmp_path), method="static")
    assert "\n" not in str(found.value)
