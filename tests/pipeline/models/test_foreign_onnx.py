"""ONNX files as other tools write them: brought into one form, computing what they computed, or refused in one line."""

import re
from dataclasses import replace

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from onnx import TensorProto, helper, numpy_helper

from ops.onnx_graph.layers import matrix_nodes
from ops.onnx_graph.macs import count_macs
from pipeline.models.api import ModelError
from pipeline.models.build import build
from tests.pipeline.models.conftest import PICTURES, TEXTS, entry

WEIGHT = np.random.default_rng(0).normal(size=(192, 3)).astype(np.float32)
PIXELS = np.random.default_rng(1).normal(size=(4, 3, 8, 8)).astype(np.float32)
LOGITS = PIXELS.reshape(4, -1) @ WEIGHT


def _graph(nodes, inputs, outputs, weights=(), name="g"):
    return helper.make_graph(list(nodes), name, list(inputs), list(outputs), list(weights))


def _info(name, shape, kind=TensorProto.FLOAT):
    return helper.make_tensor_value_info(name, kind, shape)


def _classifier(*, before=(), after=(), shape=("n", 3, 8, 8), kind=TensorProto.FLOAT, extra=(), first="image"):
    """Flatten and multiply, with nodes around that."""
    nodes = [
        *before,
        helper.make_node("Flatten", [first], ["flat"]),
        helper.make_node("MatMul", ["flat", "weight"], ["scores"]),
        *after,
    ]
    result = after[-1].output[0] if after else "scores"
    outputs = [_info(result, ["n", 3]), *extra]
    return _graph(nodes, [_info("image", shape, kind)], outputs, [numpy_helper.from_array(WEIGHT, "weight")])


def _save(graph, path, *, opset=18, ir=10):
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=ir)
    path.write_bytes(model.SerializeToString())
    return str(path)


def _built(graph, tmp_path, need=PICTURES, **how):
    return build(entry("onnx", path=_save(graph, tmp_path / "net.onnx", **how)), need)


def _answers(model, pixels=PIXELS):
    session = ort.InferenceSession(str(model.path), providers=["CPUExecutionProvider"])
    assert [value.name for value in session.get_inputs()] == ["pixel_values"]
    return session.run(["logits"], {"pixel_values": pixels})[0]


def test_probabilities_as_maps_are_refused_with_the_setting_of_the_converter(tmp_path):
    """As sklearn-onnx writes a classifier: the label, and a map from class to probability for each instance."""
    after = [
        helper.make_node("ArgMax", ["scores"], ["label"], axis=1, keepdims=0),
        helper.make_node("ZipMap", ["scores"], ["chances"], domain="ai.onnx.ml", classlabels_int64s=[0, 1, 2]),
    ]
    kind = helper.make_map_type_proto(TensorProto.INT64, helper.make_tensor_type_proto(TensorProto.FLOAT, []))
    maps = helper.make_value_info("chances", helper.make_sequence_type_proto(kind))
    graph = _classifier(after=after)
    del graph.output[:]
    graph.output.extend([_info("label", ["n"], TensorProto.INT64), maps])
    opsets = [helper.make_opsetid("", 18), helper.make_opsetid("ai.onnx.ml", 1)]
    file = tmp_path / "net.onnx"
    file.write_bytes(helper.make_model(graph, opset_imports=opsets, ir_version=10).SerializeToString())
    message = "has the outputs label, chances; the task needs logits. 'chances' is a sequence of maps: convert the model with `zipmap=False`"
    with pytest.raises(ModelError, match=re.escape(message)):
        build(entry("onnx", path=str(file)), PICTURES)


@pytest.mark.parametrize("free", [-1, 0])
def test_an_axis_of_size_zero_or_less_is_free(free, tmp_path):
    model = _built(_classifier(shape=(free, 3, 8, 8)), tmp_path)
    assert np.allclose(_answers(model), LOGITS, atol=1e-4)


def test_sizes_that_are_free_everywhere_fit(tmp_path):
    assert np.allclose(_answers(_built(_classifier(shape=(-1, -1, -1, -1)), tmp_path)), LOGITS, atol=1e-4)


def test_weights_in_constant_nodes_are_weights(tmp_path):
    graph = _classifier()
    constant = helper.make_node("Constant", [], ["weight"], value=numpy_helper.from_array(WEIGHT))
    graph = _graph([constant, *graph.node], graph.input, graph.output)
    model = _built(graph, tmp_path)
    stored = onnx.load(model.path)
    assert [found.weight for found in matrix_nodes(stored)] == ["weight"]
    assert np.array_equal(numpy_helper.to_array(stored.graph.initializer[0]), WEIGHT)
    assert np.allclose(_answers(model), LOGITS, atol=1e-4)


def test_products_inside_functions_are_layers(tmp_path):
    """As torch's exporter writes modules with `export_modules_as_functions`, and onnxscript its own."""
    graph = _classifier()
    graph.node[1].CopyFrom(helper.make_node("Score", ["flat", "weight"], ["scores"], domain="mine"))
    opset = helper.make_opsetid("", 18)
    inside = [helper.make_node("MatMul", ["x", "w"], ["y"])]
    score = helper.make_function("mine", "Score", ["x", "w"], ["y"], inside, [opset])
    opsets = [opset, helper.make_opsetid("mine", 1)]
    file = tmp_path / "net.onnx"
    whole = helper.make_model(graph, functions=[score], opset_imports=opsets, ir_version=10)
    file.write_bytes(whole.SerializeToString())
    model = build(entry("onnx", path=str(file)), PICTURES)
    assert np.allclose(_answers(model), LOGITS, atol=1e-4)
    assert [found.weight for found in matrix_nodes(onnx.load(model.path))] == ["weight"]
    assert sum(row.macs for row in count_macs(model.path)) == WEIGHT.size


def test_a_file_for_one_kind_of_processor_is_refused(tmp_path):
    """ONNX Runtime's optimiser fills channels up to blocks: MACs and weights would be those of the blocks."""
    node = helper.make_node("ReorderInput", ["image"], ["blocks"], "blocks", domain="com.microsoft.nchwc")
    graph = _classifier(before=[node], first="blocks")
    opsets = [helper.make_opsetid("", 18), helper.make_opsetid("com.microsoft.nchwc", 1)]
    file = tmp_path / "net.onnx"
    file.write_bytes(helper.make_model(graph, opset_imports=opsets, ir_version=10).SerializeToString())
    message = (
        "was optimised by ONNX Runtime for one kind of processor ('blocks' is a ReorderInput of com.microsoft.nchwc)"
    )
    with pytest.raises(ModelError, match=re.escape(message)):
        build(entry("onnx", path=str(file)), PICTURES)


@pytest.mark.parametrize("ir", [3, 8])
def test_weights_among_the_inputs_are_weights(ir, tmp_path):
    graph = _classifier()
    graph.input.append(_info("weight", WEIGHT.shape))
    model = _built(graph, tmp_path, opset=9, ir=ir)
    assert [value.name for value in onnx.load(model.path).graph.input] == ["pixel_values"]
    assert np.allclose(_answers(model), LOGITS, atol=1e-4)


def test_the_same_weight_twice_is_one(tmp_path):
    graph = _classifier()
    graph.initializer.append(numpy_helper.from_array(WEIGHT, "weight"))
    assert np.allclose(_answers(_built(graph, tmp_path)), LOGITS, atol=1e-4)
    graph.initializer.append(numpy_helper.from_array(WEIGHT + 1, "weight"))
    with pytest.raises(ModelError, match="'weight' is defined twice, with different values"):
        _built(graph, tmp_path)


def test_weights_beside_the_file_come_with_it(tmp_path):
    path = tmp_path / "net.onnx"
    model = helper.make_model(_classifier(), opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    onnx.save_model(model, str(path), save_as_external_data=True, location="net.onnx.data", size_threshold=0)
    built = build(entry("onnx", path=str(path)), PICTURES)
    assert not any(tensor.external_data for tensor in onnx.load(built.path, load_external_data=False).graph.initializer)
    assert np.allclose(_answers(built), LOGITS, atol=1e-4)
    (tmp_path / "net.onnx.data").unlink()
    with pytest.raises(ModelError, match=re.escape("there is no 'net.onnx.data' beside the model")):
        build(entry("onnx", path=str(path)), PICTURES)


@pytest.mark.parametrize(
    ("kind", "dtype", "tolerance"),
    [(TensorProto.DOUBLE, np.float64, 1e-4), (TensorProto.FLOAT16, np.float16, 0.1)],
)
def test_other_floats_are_converted(kind, dtype, tolerance, tmp_path):
    weight = numpy_helper.from_array(WEIGHT.astype(dtype), "weight")
    nodes = [helper.make_node("Flatten", ["image"], ["flat"]), helper.make_node("MatMul", ["flat", "weight"], ["s"])]
    graph = _graph(nodes, [_info("image", ("n", 3, 8, 8), kind)], [_info("s", ("n", 3), kind)], [weight])
    model = _built(graph, tmp_path)
    answers = _answers(model)
    assert answers.dtype == np.float32
    assert np.allclose(answers, LOGITS, atol=tolerance)
    assert len(model.notes["adaptations"]) == 2


def test_raw_pixels_are_refused(tmp_path):
    cast = helper.make_node("Cast", ["image"], ["f"], to=TensorProto.FLOAT)
    with pytest.raises(
        ModelError, match=r"input 'image' takes uint8, raw pixels, and the data gives float32, normalised"
    ):
        _built(_classifier(before=[cast], kind=TensorProto.UINT8, first="f"), tmp_path)


def test_pictures_with_their_channels_last_are_turned(tmp_path):
    turn = helper.make_node("Transpose", ["image"], ["first"], perm=[0, 3, 1, 2])
    model = _built(_classifier(before=[turn], shape=("n", 8, 8, 3), first="first"), tmp_path)
    assert np.allclose(_answers(model), LOGITS, atol=1e-4)
    assert "channels last" in model.notes["adaptations"][0]


def test_whole_numbers_of_32_bits_are_taken(tmp_path):
    names = ("ids", "mask")  # and no token types
    nodes = [
        *(helper.make_node("Cast", [name], [f"{name}_f"], to=TensorProto.FLOAT) for name in names),
        helper.make_node("Mul", ["ids_f", "mask_f"], ["product"]),
        helper.make_node("MatMul", ["product", "weight"], ["scores"]),
    ]
    weight = np.random.default_rng(0).normal(size=(12, 2)).astype(np.float32)
    inputs = [_info(name, ("n", 12), TensorProto.INT32) for name in names]
    graph = _graph(nodes, inputs, [_info("scores", ("n", 2))], [numpy_helper.from_array(weight, "weight")])
    model = _built(graph, tmp_path, TEXTS)
    ids = np.random.default_rng(1).integers(0, 9, (3, 12))
    mask = np.tile(np.arange(12) < 8, (3, 1)).astype(np.int64)
    session = ort.InferenceSession(str(model.path), providers=["CPUExecutionProvider"])
    found = session.run(["logits"], {"input_ids": ids, "attention_mask": mask})[0]
    assert np.allclose(found, (ids * mask) @ weight, atol=1e-4)


def test_further_outputs_stay_and_are_named(tmp_path):
    extra = [_info("flat", ("n", 192)), _info("best", ("n",), TensorProto.INT64)]
    best = helper.make_node("ArgMax", ["scores"], ["best"], axis=1, keepdims=0)
    same = helper.make_node("Identity", ["scores"], ["last"])
    graph = _classifier(after=[best, same], extra=extra)
    model = _built(graph, tmp_path)
    assert np.allclose(_answers(model), LOGITS, atol=1e-4)
    assert model.notes["further_outputs"] == ["flat", "best"]


@pytest.mark.parametrize(("end", "kind"), [("Softmax", "probabilities"), ("Sigmoid", "sigmoid"), ("Relu", None)])
def test_what_the_output_is_is_recorded(end, kind, tmp_path):
    model = _built(_classifier(after=[helper.make_node(end, ["scores"], ["out"])]), tmp_path)
    assert model.architecture.output_kinds == ({"logits": kind} if kind else {})


@pytest.mark.parametrize(
    ("shape", "message"),
    [
        (
            ("n", 3, 224, 224),
            "input 'image' takes [batch, 3, 224, 224], the data gives [batch, 3, 8, 8]. Set `size: 224`",
        ),
        (("n", 1, 8, 8), "input 'image' takes [batch, 1, 8, 8], the data gives [batch, 3, 8, 8]. Set `channels: 1`"),
        (("n", 192), "input 'image' takes [batch, 192], the data gives [batch, 3, 8, 8]"),
    ],
)
def test_sizes_that_differ_are_told_whole(shape, message, tmp_path):
    with pytest.raises(ModelError, match=re.escape(f"{tmp_path / 'net.onnx'}: {message}")):
        _built(_classifier(shape=shape), tmp_path)


def test_a_text_model_of_one_length_says_which(tmp_path):
    nodes = [helper.make_node("Cast", ["input_ids"], ["f"], to=1), helper.make_node("MatMul", ["f", "weight"], ["s"])]
    weight = numpy_helper.from_array(np.ones((7, 2), np.float32), "weight")
    graph = _graph(nodes, [_info("input_ids", ("n", 7), TensorProto.INT64)], [_info("s", ("n", 2))], [weight])
    with pytest.raises(
        ModelError, match=re.escape("takes [batch, 7], the data gives [batch, 12]. Set `max_length: 7`")
    ):
        _built(graph, tmp_path, replace(TEXTS, inputs={"input_ids": ("int64", (12,))}))


def test_a_format_that_is_newer_than_the_library_is_said(tmp_path):
    with pytest.raises(
        ModelError, match=rf"net\.onnx: its IR version is {onnx.IR_VERSION + 1}, and {onnx.IR_VERSION} is"
    ):
        _built(_classifier(), tmp_path, ir=onnx.IR_VERSION + 1)
    newest = onnx.defs.onnx_opset_version()
    with pytest.raises(ModelError, match=rf"net\.onnx: its operator set is {newest + 1}, and {newest} is the newest"):
        _built(_classifier(), tmp_path, opset=newest + 1)


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9, 0.99])
def test_a_file_that_was_cut_off_is_one_line(share, tmp_path):
    path = tmp_path / "net.onnx"
    _save(_classifier(), path)
    whole = path.read_bytes()
    path.write_bytes(whole[: int(share * len(whole))])
    with pytest.raises(ModelError, match=re.escape(f"{path}: damaged or no ONNX model (")) as found:
        build(entry("onnx", path=str(path)), PICTURES)
    assert "\n" not in str(found.value)
