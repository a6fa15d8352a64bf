"""Tensors of ONNX files beside those of the float model: every parameter is counted once, with the values it stands for."""

from dataclasses import asdict
from functools import partial
from pathlib import Path

import numpy as np
import onnx
import pytest
import yaml
from onnx import TensorProto, helper, numpy_helper

from ops.onnx_graph.layers import rename_tensors
from ops.onnx_graph.session import open_session, quiet_tools
from pipeline.layers.records_file import load_layers
from pipeline.layers.tensors.onnx_tensors import onnx_tensors
from pipeline.measure.metrics.api import METRICS, ModelFiles
from pipeline.models import onnx_export, storage
from pipeline.models.api import Need
from pipeline.models.build import build
from tests.ops.digits import Sentences
from tests.pipeline.layers.layers_bench import Bench

CONF = Path(__file__).parents[3] / "conf/model/tiny_bert.yaml"
WORDS, POSITIONS = "bert.embeddings.word_embeddings.weight", "bert.embeddings.position_embeddings.weight"
ROUNDED = "embedding_2"
"""What the exporter calls the rows of the table of positions, which quantization looks up in advance."""


@pytest.fixture(scope="module")
def bench(tmp_path_factory):
    """A small BERT for 16 tokens, with 512 positions, and what ONNX Runtime's quantizers make of it."""
    import torch

    torch.manual_seed(0)
    entry = yaml.safe_load(CONF.read_text())
    entry["config"] |= {"vocab_size": 300, "initializer_range": 0.2}
    model = build(entry, Need(Sentences.task, Sentences.classes, dict(Sentences.inputs), pretrained=False))
    for parameter in model.module.parameters():  # equal ones, as all new biases are, would be one constant in the file
        parameter.data += 0.1 * torch.randn_like(parameter)
    made = Bench(tmp_path_factory.mktemp("bert"), dataset=Sentences())
    with pytest.MonkeyPatch.context() as patch:  # a file of one length, as where the exporter cannot follow the network
        patch.setattr(onnx_export, "_axes", partial(onnx_export._axes, fixed=True))
        made.put("base", model, None)
    made.apply("static", "base", "quantize", samples=16)
    made.apply("dynamic", "base", "quantize", method="dynamic")
    return made


def file_of(bench, name):
    source = bench.sources[name]
    return bench.artifacts.path(source.export if name == "base" else source.model) / "model.onnx"


class Feeds:
    """Calibration data, as `onnxruntime.quantization` reads them."""

    def __init__(self, feeds):
        self.left = feeds

    def get_next(self):
        return self.left.pop() if self.left else None


def tensors(path):
    return {tensor.name: tensor for tensor in onnx_tensors(path)}


def away(first, second):
    """Size of the difference, as a share; a bias that is all zeros has to be equal."""
    assert first.shape == second.shape
    return np.linalg.norm(first - second) / (np.linalg.norm(second) or 1e-9)


@pytest.mark.parametrize("method", ["static", "dynamic"])
def test_an_int8_transformer_has_the_parameters_of_the_float_one(bench, method):
    before, after = tensors(file_of(bench, "base")), tensors(file_of(bench, method))
    assert set(before) - set(after) == {POSITIONS}
    assert set(after) - set(before) == {ROUNDED}
    gone = (512 - 16) * 64
    assert sum(t.size for t in after.values()) == sum(t.size for t in before.values()) - gone
    assert after[WORDS].how == ("int8 dequantized",)
    assert (after[WORDS].bits, after[WORDS].bytes, after[WORDS].module_type) == (8, 300 * 64, "Gather")
    for name, tensor in after.items():
        if name != ROUNDED:
            assert tensor.shape == before[name].shape
            assert away(tensor.read(), before[name].read()) < 0.02, name
    assert np.array_equal(after[ROUNDED].read()[0], before[POSITIONS].read()[:16])


def test_figures_of_size_count_the_table(bench):
    counted = {}
    for name in ("base", "static"):
        layers = [asdict(layer) for layer in load_layers(bench.artifacts.path(bench.sources[name].layers))]
        files = ModelFiles(file=file_of(bench, name), layers=layers, macs=None)
        wanted = ("parameters", "nonzeros", "sparsity", "ideal_sparse_bytes")
        counted[name] = {metric: METRICS[metric].compute(files) for metric in wanted}
    base, static = counted["base"], counted["static"]
    network = storage.load(bench.artifacts.path(bench.sources["base"].model)).module
    values = [parameter.detach().numpy() for parameter in network.parameters()]
    assert base["parameters"] == sum(array.size for array in values)
    assert base["nonzeros"] == sum(np.count_nonzero(array) for array in values)
    stored = {t.name: numpy_helper.to_array(t) for t in onnx.load(file_of(bench, "static")).graph.initializer}
    assert not any(array.any() for name, array in stored.items() if name.endswith("weight_zero_point"))
    weights = [
        array
        for name, array in stored.items()
        if name.removesuffix("_quantized").endswith((".weight", ".bias")) or name == ROUNDED
    ]
    assert static["parameters"] == sum(array.size for array in weights) == base["parameters"] - (512 - 16) * 64
    assert static["nonzeros"] == sum(np.count_nonzero(array) for array in weights)
    assert static["sparsity"] == pytest.approx(1 - static["nonzeros"] / static["parameters"])
    assert 0 < static["sparsity"] < 0.05, "small values are rounded to zero"
    assert static["ideal_sparse_bytes"] > 300 * 64 * 0.9 + 16 * 64 * 4, "no file is smaller than its tables"


@pytest.mark.parametrize("method", ["static", "dynamic"])
def test_tables_of_embeddings_are_compared_with_their_reference(bench, method):
    changes, _ = bench.compare(method, "base")
    found = {change.site: change for change in changes if change.place == "parameter"}
    assert (found[WORDS].status, found[WORDS].how) == ("compared", ["int8 dequantized"])
    assert found[WORDS].sqnr_db > 35
    assert found[ROUNDED].how == [f"reference: rows of '{POSITIONS}'"]
    assert found[ROUNDED].sqnr_db == np.inf
    assert (found[POSITIONS].status, found[POSITIONS].reason) == (
        "gone",
        f"not in this model: its rows are in '{ROUNDED}'",
    )
    outputs = {c.site: c for c in changes if c.place == "activation" and c.reference_key != c.model_key}
    words = outputs[WORDS.removesuffix(".weight")]
    assert words.status == "compared", "rows are widened after the lookup"
    assert words.sqnr_db > 35


def test_a_reference_whose_table_was_looked_up_already(bench):
    both = {c.site: c for c in bench.compare("dynamic", "static")[0] if c.place == "parameter"}
    assert both[ROUNDED].sqnr_db == np.inf
    back = {c.site: c for c in bench.compare("base", "static")[0] if c.place == "parameter"}
    assert back[ROUNDED].status == "compared"
    assert back[POSITIONS].status == "new"


# ---- what other quantizers write
VALUES = np.random.default_rng(0).standard_normal((40, 64)).astype(np.float32)
IDS = np.arange(40, dtype=np.int64).reshape(5, 8)


def table_file(path, nodes, constants, domain=""):
    """A graph that looks up `ids` in a table called `net.table.weight`, however it is stored."""
    ids = helper.make_tensor_value_info("ids", TensorProto.INT64, ["n", "m"])
    out = helper.make_tensor_value_info("out", TensorProto.FLOAT, None)
    graph = helper.make_graph(nodes, "g", [ids], [out], constants)
    opsets = [helper.make_opsetid("", 21), *([helper.make_opsetid(domain, 1)] if domain else [])]
    onnx.save(helper.make_model(graph, opset_imports=opsets, ir_version=10), path)
    return path


def float_file(path):
    table = numpy_helper.from_array(VALUES, "net.table.weight")
    return table_file(path, [helper.make_node("Gather", [table.name, "ids"], ["out"], "look")], [table])


def check(path, tolerance):
    """The one tensor is the table as ONNX Runtime reads it."""
    (tensor,) = onnx_tensors(path)
    assert (tensor.name, tensor.shape, tensor.size) == ("net.table.weight", (40, 64), 40 * 64)
    (out,) = open_session(path, optimize="none").run(None, {"ids": IDS})
    assert tensor.read() == pytest.approx(out.reshape(40, 64), abs=1e-6)
    assert away(tensor.read(), VALUES) < tolerance
    return tensor


@pytest.mark.parametrize("form", ["QOperator", "QDQ", "dynamic"])
def test_lookups_as_onnx_runtime_quantizes_them(tmp_path, form):
    with quiet_tools(tmp_path):
        from onnxruntime.quantization import QuantFormat, QuantType, quantize_dynamic, quantize_static

        source, result = float_file(tmp_path / "float.onnx"), tmp_path / "int8.onnx"
        kinds = {"op_types_to_quantize": ["Gather"], "weight_type": QuantType.QInt8}
        if form == "dynamic":
            quantize_dynamic(source, result, **kinds)
        else:
            quantize_static(source, result, Feeds([{"ids": IDS}]), quant_format=QuantFormat[form], **kinds)
    (tensor,) = onnx_tensors(result)
    assert (tensor.name, tensor.shape, tensor.bits) == ("net.table.weight", (40, 64), 8)
    assert away(tensor.read(), VALUES) < 0.02


@pytest.mark.parametrize("symmetric", [True, False])
def test_lookups_in_blocks_of_4_bits(tmp_path, symmetric):
    with quiet_tools(tmp_path):
        from onnxruntime.quantization.matmul_nbits_quantizer import MatMulNBitsQuantizer

        made = MatMulNBitsQuantizer(
            onnx.load(float_file(tmp_path / "float.onnx")), block_size=16, is_symmetric=symmetric,
            op_types_to_quantize=("Gather",), quant_axes=(("Gather", 1),),
        )  # fmt: skip
        made.process()
        path = tmp_path / "blocks.onnx"
        onnx.save(made.model.model, path)
    tensor = check(path, 0.2)
    assert tensor.module_type == "GatherBlockQuantized"
    scales = 40 * 4 * (4 if symmetric else 4.5)
    assert tensor.bytes == 40 * 64 / 2 + scales, "what belongs to the blocks counts"


@pytest.mark.parametrize("bits", [4, 8])
def test_lookups_in_blocks_of_packed_bytes(tmp_path, bits):
    scale = np.abs(VALUES.reshape(40, 4, 16)).max(axis=2) / (2 ** (bits - 1) - 1)
    whole = np.rint(VALUES / np.repeat(scale, 16, axis=1)).astype(np.int64) + 2 ** (bits - 1)
    packed = (whole if bits == 8 else whole[:, ::2] | whole[:, 1::2] << 4).astype(np.uint8)
    constants = [
        numpy_helper.from_array(packed, "net.table.weight_quantized"),
        numpy_helper.from_array(scale.astype(np.float32), "net.table.weight_scales"),
    ]
    node = helper.make_node(
        "GatherBlockQuantized", [constants[0].name, "ids", constants[1].name], ["out"], "look", domain="com.microsoft",
        bits=bits, block_size=16, quantize_axis=1, gather_axis=0,
    )  # fmt: skip
    check(table_file(tmp_path / "packed.onnx", [node], constants, "com.microsoft"), 0.2)


@pytest.mark.parametrize("where", ["before", "after", "behind an identity"])
def test_scales_are_those_of_the_operator_that_dequantizes_whatever_they_are_called(tmp_path, where):
    """A scale per column, and a zero point; the axis after a lookup counts the axes of what is looked up."""
    scale = (np.abs(VALUES).max(axis=0) / 100).astype(np.float32)
    zero = np.arange(64, dtype=np.int8) % 9
    constants = [
        numpy_helper.from_array((np.rint(VALUES / scale) + zero).astype(np.int8), "net.table.weight"),
        numpy_helper.from_array(scale, "steps"),
        numpy_helper.from_array(zero, "offsets"),
    ]
    table, last = "net.table.weight", "out"
    nodes = []
    if where == "before":
        nodes.append(helper.make_node("DequantizeLinear", [table, "steps", "offsets"], ["wide"], "widen", axis=1))
        nodes.append(helper.make_node("Gather", ["wide", "ids"], [last], "look"))
    else:
        nodes.append(helper.make_node("Gather", [table, "ids"], ["rows"], "look"))
        nodes += [helper.make_node("Identity", ["rows"], ["same"], "pass")] if where != "after" else []
        given = "rows" if where == "after" else "same"
        nodes.append(helper.make_node("DequantizeLinear", [given, "steps", "offsets"], [last], "widen", axis=2))
    tensor = check(table_file(tmp_path / "columns.onnx", nodes, constants), 0.02)
    assert tensor.how == ("int8 dequantized",)
    assert tensor.module_type in {"Gather", "Identity"}


def test_integers_that_nothing_dequantizes_are_no_parameters(tmp_path):
    table = numpy_helper.from_array(np.arange(2560, dtype=np.int8).reshape(40, 64), "net.table.weight")
    nodes = [
        helper.make_node("Gather", [table.name, "ids"], ["rows"], "look"),
        helper.make_node("Cast", ["rows"], ["out"], "cast", to=TensorProto.FLOAT),
    ]
    assert onnx_tensors(table_file(tmp_path / "integers.onnx", nodes, [table])) == []


# ---- convolutions in integers
@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    made = Bench(tmp_path_factory.mktemp("pictures"))
    made.base()
    return made


def test_dynamic_convolutions_have_a_scale_per_output_channel(pictures):
    pictures.apply("dynamic", "base", "quantize", method="dynamic", include=["conv", "linear"])
    before, after = tensors(file_of(pictures, "base")), tensors(file_of(pictures, "dynamic"))
    for name in ("conv.weight", "conv2.weight", "mixer.0.weight", "head.weight"):
        assert after[name].how == ("int8 dequantized",)
        assert away(after[name].read(), before[name].read()) < 0.02


def test_operators_that_take_integers_with_their_scales(pictures, tmp_path):
    """ONNX Runtime's older form: weights and biases without any DequantizeLinear."""
    with quiet_tools(tmp_path):
        from onnxruntime.quantization import QuantFormat, QuantType, quantize_static

        feeds = Feeds([dict(batch.inputs) for batch in pictures.dataset.batches("calibration", batch_size=32)])
        source, path = file_of(pictures, "base"), tmp_path / "int8.onnx"
        quantize_static(
            source, path, feeds, quant_format=QuantFormat.QOperator, per_channel=True, weight_type=QuantType.QInt8,
            activation_type=QuantType.QUInt8, op_types_to_quantize=["Conv", "Gemm", "MatMul"],
        )  # fmt: skip
    model = onnx.load(path)
    assert {"QLinearConv", "QGemm"} & {node.op_type for node in model.graph.node}
    names = [t.name for t in model.graph.initializer if t.name.endswith(("_scale", "_zero_point"))]
    rename_tensors(model, {name: f"k{number}" for number, name in enumerate(names)})  # they say nothing any more
    onnx.save(model, path)
    before, after = tensors(source), tensors(path)
    weights = [name for name in before if before[name].module_type in {"Conv", "Gemm", "MatMul"}]
    assert {"conv.weight", "conv2.weight", "conv2.bias", "head.weight", "head.bias"} <= set(weights)
    for name in weights:
        assert away(after[name].read(), before[name].read()) < 0.02, name


# ---- recurrent layers in integers, and weights that a quantizer transposed
@pytest.mark.parametrize("per_channel", [False, True])
@pytest.mark.parametrize("name", ["cell", "named"])
def test_an_int8_lstm_has_the_parameters_of_the_float_one(tmp_path, per_channel, name):
    """Dequantized to half a step, in torch's order of gates; biases are stored in float."""
    import torch

    torch.manual_seed(0)
    cell = torch.nn.LSTM(6, 5, bidirectional=True)
    by_name = {key: value.detach().numpy() for key, value in cell.named_parameters()}

    def stacked(kind):
        """Both directions, with the gates in ONNX's order: input, output, forget, cell."""
        blocks = (np.split(by_name[f"{kind}_l0{direction}"], 4) for direction in ("", "_reverse"))
        return np.stack([np.concatenate([i, o, f, c]) for i, f, c, o in blocks])

    weight = "cell.weight_ih_l0" if name == "named" else "W"
    constants = [
        numpy_helper.from_array(stacked("weight_ih"), weight), numpy_helper.from_array(stacked("weight_hh"), "R"),
        numpy_helper.from_array(np.concatenate([stacked("bias_ih"), stacked("bias_hh")], axis=1), "B"),
    ]  # fmt: skip
    node = helper.make_node("LSTM", ["x", weight, "R", "B"], ["y"], "cell", hidden_size=5, direction="bidirectional")
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, [3, 1, 6])
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, None)
    source, result = tmp_path / "float.onnx", tmp_path / "int8.onnx"
    graph = helper.make_graph([node], "g", [x], [y], constants)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10), source)
    with quiet_tools(tmp_path):
        from onnxruntime.quantization import quantize_dynamic

        quantize_dynamic(source, result, per_channel=per_channel)
    assert [node.op_type for node in onnx.load(result).graph.node] == ["DynamicQuantizeLSTM"]
    layer = "cell" if name == "named" else "cell_quant"
    after = tensors(result)
    assert set(after) == {f"{layer}.{key}" for key in by_name}
    for key, values in by_name.items():
        tensor = after[f"{layer}.{key}"]
        if key.startswith("bias"):
            np.testing.assert_array_equal(tensor.read(), values)
            continue
        step = np.abs(values).max(axis=1, keepdims=True) if per_channel else np.abs(values).max()
        assert tensor.shape == values.shape
        assert (np.abs(tensor.read() - values) <= step * 2 / 254 * 0.51).all()
        assert (tensor.dtype, tensor.bits, tensor.how) == ("int8", 8, ("int8 dequantized",))


def test_a_weight_that_the_quantizer_transposed_is_that_of_the_layer(tmp_path):
    values = np.random.default_rng(0).standard_normal((4, 8)).astype(np.float32)
    constants = [numpy_helper.from_array(values, "fc.weight"), numpy_helper.from_array(values[:, 0].copy(), "fc.bias")]
    node = helper.make_node("Gemm", ["x", "fc.weight", "fc.bias"], ["y"], "gemm", transB=1)
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 8])
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 4])
    source, result = tmp_path / "float.onnx", tmp_path / "int8.onnx"
    graph = helper.make_graph([node], "g", [x], [y], constants)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10), source)
    with quiet_tools(tmp_path):
        from onnxruntime.quantization import quantize_dynamic

        quantize_dynamic(source, result)
    assert any("_Transposed" in tensor.name for tensor in onnx.load(result).graph.initializer)
    after = tensors(result)
    assert set(after) == {"fc.weight", "fc.bias"}
    assert away(after["fc.weight"].read(), values) < 0.02
    np.testing.assert_array_equal(after["fc.bias"].read(), values[:, 0])


def test_a_transposed_copy_has_a_scale_of_its_own(tmp_path):
    constants = [
        numpy_helper.from_array(np.full((4, 4), 10, np.int8), "w.weight_quantized"),
        numpy_helper.from_array(np.float32(0.5), "w.weight_scale"),
        numpy_helper.from_array(np.full((4, 4), 20, np.int8), "w.weight_transposed_quantized"),
        numpy_helper.from_array(np.float32(0.125), "w.weight_transposed_scale"),
    ]
    nodes = [
        helper.make_node("MatMulInteger", ["x", "w.weight_quantized"], ["a"], "first"),
        helper.make_node("MatMulInteger", ["x", "w.weight_transposed_quantized"], ["b"], "second"),
    ]
    x = helper.make_tensor_value_info("x", TensorProto.INT8, [1, 4])
    outputs = [helper.make_tensor_value_info(name, TensorProto.INT32, [1, 4]) for name in "ab"]
    graph = helper.make_graph(nodes, "g", [x], outputs, constants)
    onnx.save(helper.make_model(graph, ir_version=10), tmp_path / "copies.onnx")
    values = sorted(float(tensor.read()[0, 0]) for tensor in onnx_tensors(tmp_path / "copies.onnx"))
    assert values == [20 * 0.125, 10 * 0.5]
