from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from ops.onnx_graph.layers import matrix_nodes
from ops.onnx_graph.macs import LayerMacs, count_macs, precision_shares
from tests.ops.digits import export, exported, trained
from tests.ops.test_quantize import bert_file


def write(path, nodes, inputs, outputs, weights, opsets=(("", 18),)):
    graph = helper.make_graph(
        nodes, "g",
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in inputs.items()],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in outputs],
        [numpy_helper.from_array(np.ones(shape, np.float32), name) for name, shape in weights.items()],
    )  # fmt: skip
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid(*opset) for opset in opsets])
    model.ir_version = 10
    onnx.save(model, path)
    return path


@pytest.mark.parametrize(
    ("node", "weight", "inputs", "expected"),
    [
        # 8 outputs x 5 x 5 positions x 4 inputs x 3 x 3
        (helper.make_node("Conv", ["x", "w"], ["y"], pads=[1, 1, 1, 1], strides=[2, 2]), (8, 4, 3, 3), ("n", 4, 9, 9), 7200),
        # depthwise: one input each
        (helper.make_node("Conv", ["x", "w"], ["y"], group=4), (4, 1, 3, 3), ("n", 4, 9, 9), 4 * 7 * 7 * 9),
        (helper.make_node("Conv", ["x", "w"], ["y"]), (6, 4, 3), ("n", 4, 9), 6 * 7 * 4 * 3),
        # every input is multiplied with every weight of its channel
        (helper.make_node("ConvTranspose", ["x", "w"], ["y"], strides=[2, 2]), (4, 5, 2, 2), ("n", 4, 9, 9), 324 * 20),
        (helper.make_node("MatMul", ["x", "w"], ["y"]), (16, 32), ("n", 7, 16), 7 * 16 * 32),
        (helper.make_node("Gemm", ["x", "w"], ["y"], transB=1), (32, 16), ("n", 16), 16 * 32),
        (helper.make_node("Gemm", ["w", "x"], ["y"], transA=1), (16, 32), (16, 3), 16 * 32 * 3),
    ],
)  # fmt: skip
def test_counts_by_hand(tmp_path, node, weight, inputs, expected):
    path = write(tmp_path / "m.onnx", [node], {"x": inputs}, ["y"], {"w": weight})
    [row] = count_macs(path)
    assert row.macs == expected
    assert (row.operator, row.precision) == (node.op_type, "float32")


def test_a_product_of_two_activations_is_counted(tmp_path):
    node = helper.make_node("MatMul", ["a", "b"], ["y"], "scores")
    path = write(tmp_path / "m.onnx", [node], {"a": ("n", 2, 5, 8), "b": ("n", 2, 8, 6)}, ["y"], {})
    assert count_macs(path) == (LayerMacs("scores", "MatMul", "MatMul", "float32", 2 * 5 * 8 * 6),)


@pytest.mark.parametrize(
    ("equation", "inputs", "expected"),
    [
        ("nk,mk->nm", {"a": (1, 16), "b": (32, 16)}, 16 * 32),
        ("bqhd,bkhd->bhqk", {"a": ("n", 5, 2, 8), "b": ("n", 7, 2, 8)}, 2 * 5 * 7 * 8),
        ("...ij, ...jk -> ...ik", {"a": ("n", 3, 5, 8), "b": ("n", 1, 8, 6)}, 3 * 5 * 8 * 6),
    ],
)
def test_what_is_written_as_einsum_counts_and_runs_in_float(equation, inputs, expected, tmp_path):
    """As tf2onnx writes Keras' attention."""
    node = helper.make_node("Einsum", ["a", "b"], ["y"], "scores", equation=equation)
    path = write(tmp_path / "m.onnx", [node], inputs, ["y"], {})
    assert count_macs(path) == (LayerMacs("scores", "Einsum", "Einsum", "float32", expected),)


def test_axes_that_a_file_leaves_free_have_the_sizes_of_the_data(tmp_path):
    node = helper.make_node("Conv", ["x", "w"], ["y"], pads=[1, 1, 1, 1])
    path = write(tmp_path / "m.onnx", [node], {"x": ("n", 4, "h", "w")}, ["y"], {"w": (8, 4, 3, 3)})
    assert count_macs(path, {"x": (4, 9, 7)})[0].macs == 8 * 9 * 7 * 4 * 9


def test_a_text_counts_with_all_its_tokens():
    """A BERT of two layers, 64 wide, 128 inside, on 16 tokens: by hand."""
    model = bert_file()
    tokens, wide, inner, layers = 16, 64, 128, 2
    sizes = {name: shape for name, (_, shape) in model.architecture.inputs.items()}
    assert set(sizes.values()) == {(tokens,)}
    each = 4 * tokens * wide**2 + 2 * tokens * wide * inner + 2 * tokens**2 * wide
    expected = layers * each + wide**2 + wide * 2  # and the pooler and the classifier, on one token
    assert sum(row.macs for row in count_macs(model.path, sizes)) == expected


def test_a_file_without_products_has_no_macs(tmp_path):
    path = write(tmp_path / "m.onnx", [helper.make_node("Relu", ["x"], ["y"])], {"x": ("n", 4)}, ["y"], {})
    assert count_macs(path) == ()
    assert precision_shares(()) == {}


def test_resnet18_has_the_published_count():
    """1.81 billion multiply-accumulates at 224x224 (He et al. 2016, table 1: 1.8e9), from a graph without the weights' values."""
    from transformers import ResNetConfig, ResNetForImageClassification

    from ops.core.model import Architecture
    from ops.core.operation import TorchModel

    config = ResNetConfig(depths=[2, 2, 2, 2], hidden_sizes=[64, 128, 256, 512], layer_type="basic", num_labels=1000)
    inputs = {"pixel_values": ("float32", (3, 224, 224))}
    architecture = Architecture("r", "", {}, "image-classification", tuple(map(str, range(1000))), inputs)
    file = export(TorchModel(ResNetForImageClassification(config).eval(), architecture))
    rows = count_macs(file.path)
    assert sum(row.macs for row in rows) == 1_814_073_344
    assert rows[0].layer == "resnet.embedder.embedder.convolution"
    assert rows[0].macs == 112 * 112 * 64 * 3 * 49


def test_layers_have_the_names_of_the_torch_modules():
    torch_names = {
        name for name, part in trained().module.named_modules() if hasattr(part, "weight") and part.weight.ndim > 1
    }
    assert {row.layer for row in count_macs(exported().path)} == torch_names


def test_layers_of_a_transformer_have_groups_and_surroundings():
    nodes = {found.layer.name: found.layer for found in matrix_nodes(onnx.load(bert_file().path))}
    query = nodes["bert.encoder.layer.0.attention.self.query"]
    assert query.groups == {"linear", "attention"}
    assert query.types[0] == "Linear"
    assert "BertLayer" in query.types
    assert "bert.encoder.layer.0" in query.around
    assert nodes["bert.encoder.layer.0.intermediate.dense"].groups == {"linear"}
    assert nodes["classifier"].groups == {"linear", "head"}
    assert nodes["bert.encoder.layer.1.attention.self.matmul"].groups == {"attention"}


def test_shares_add_up():
    rows = [
        LayerMacs("a", "", "", "int8", 30),
        LayerMacs("b", "", "", "float32", 60),
        LayerMacs("c", "", "", "int8", 10),
    ]
    assert precision_shares(rows) == {"float32": 0.6, "int8": 0.4}
    assert Path(exported().path).exists()
