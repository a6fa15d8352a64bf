"""Files with `If`: what their bodies hold is counted, stays what it was, and is not called quantized."""

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from ops.onnx_graph.macs import count_macs, precision_shares, total_macs
from ops.onnx_graph.session import open_session
from pipeline.layers.tensors.onnx_tensors import onnx_tensors
from tests.ops.digits import apply, context, digits
from tests.ops.onnx_graphs import Graph, draw, write

FIRST, THEN, ELSE = draw(64, 64, scale=0.125), draw(64, 10, seed=1), draw(64, 10, seed=2)
WHERE = ["inside", "constant", "around", "shared"]
"""Where the weights of the bodies are: initialisers or constants of theirs, the graph's, or one that the graph uses too."""


def body(name, weight, where):
    taken = {"shared": "then"}.get(where, name)
    nodes, own = [helper.make_node("MatMul", ["hidden", taken], [f"{name}_out"])], []
    if where == "constant":
        nodes.insert(0, helper.make_node("Constant", [], [name], value=numpy_helper.from_array(weight, "value")))
    elif where == "inside":
        own = [numpy_helper.from_array(weight, name)]
    out = helper.make_tensor_value_info(f"{name}_out", TensorProto.FLOAT, ["n", 10])
    return helper.make_graph(nodes, f"{name}_body", [], [out], own)


def graph_with(where):
    shared = where == "shared"
    around = {"around": {"then": THEN, "else": ELSE}, "shared": {"then": THEN}}.get(where, {})

    def nodes():
        chosen = {"then_branch": body("then", THEN, where), "else_branch": body("else", ELSE, where)}
        result = [
            helper.make_node("Flatten", ["x"], ["flat"], "flat"),
            helper.make_node("MatMul", ["flat", "first"], ["sums"], "first"),
            helper.make_node("Relu", ["sums"], ["hidden"], "relu"),
            helper.make_node("ReduceMean", ["hidden"], ["mean"], "mean", keepdims=0),
            helper.make_node("Greater", ["mean", "limit"], ["large"], "greater"),
            helper.make_node("If", ["large"], ["chosen" if shared else "y"], "if", **chosen),
        ]
        if shared:
            result += [
                helper.make_node("Gemm", ["hidden", "then"], ["half"], "half", alpha=0.5),
                helper.make_node("Add", ["chosen", "half"], ["y"], "add"),
            ]
        return result

    def expected(x, weights):
        hidden = np.maximum(x.reshape(len(x), -1) @ FIRST, 0)
        return hidden @ THEN * 1.5 if shared else hidden @ (THEN if hidden.mean() > 0 else ELSE)

    return Graph(nodes, {"first": FIRST, "limit": np.array(0, np.float32)} | around, expected)


@pytest.mark.parametrize("where", WHERE)
def test_weights_of_bodies_are_counted_and_their_work_is_not_known(where, tmp_path):
    model = write(graph_with(where), tmp_path / "model.onnx")
    tensors = {tensor.name: tensor for tensor in onnx_tensors(model.path)}
    assert sum(tensor.size for tensor in tensors.values()) == FIRST.size + THEN.size * (1 if where == "shared" else 2)
    if where != "shared":
        np.testing.assert_array_equal(tensors["then_out.weight"].read(), THEN.T)  # (outputs, inputs), as of any product
    rows = count_macs(model.path)
    assert rows[0].macs == FIRST.size
    assert [(row.operator, row.kernel, row.precision, row.macs) for row in rows[-2:]] == [
        ("MatMul", None, None, None)
    ] * 2
    assert total_macs(rows) is None
    assert precision_shares(rows) == {}


def test_integers_in_bodies_are_read_as_those_of_any_graph(tmp_path):
    """Of a file that another tool has quantized; both innermost bodies of a branch take the one weight that the branch has."""
    scale, stored = np.float32(0.01), np.rint(THEN / 0.01).clip(-127, 127).astype(np.int8)
    value = helper.make_tensor_value_info
    innermost = helper.make_graph(
        [
            helper.make_node("DequantizeLinear", ["then", "scale"], ["wide"], "widen"),
            helper.make_node("MatMul", ["hidden", "wide"], ["deep"], "deep"),
        ],
        "innermost", [], [value("deep", TensorProto.FLOAT, ["n", 10])],
        [numpy_helper.from_array(np.array(scale), "scale")],
    )  # fmt: skip
    middle = helper.make_graph(
        [helper.make_node("If", ["large"], ["out"], "inner", then_branch=innermost, else_branch=innermost)],
        "middle", [], [value("out", TensorProto.FLOAT, ["n", 10])], [numpy_helper.from_array(stored, "then")],
    )  # fmt: skip

    def nodes():
        around = [node for node in graph_with("inside").nodes() if node.op_type != "If"]
        return [*around, helper.make_node("If", ["large"], ["y"], "if", then_branch=middle, else_branch=middle)]

    weights = {"first": FIRST, "limit": np.array(0, np.float32)}
    model = write(Graph(nodes, weights, lambda x, weights: x), tmp_path / "model.onnx")
    tensors = {tensor.name: tensor for tensor in onnx_tensors(model.path)}
    inner = [tensor for name, tensor in tensors.items() if name != "first.weight"]
    assert [(tensor.size, tensor.dtype, tensor.bits) for tensor in inner] == [(THEN.size, "int8", 8.0)] * 2
    np.testing.assert_allclose(inner[0].read(), stored.T * scale)
    assert total_macs(count_macs(model.path)) is None


@pytest.mark.parametrize("method", ["static", "dynamic", "weight_only"])
@pytest.mark.parametrize("where", WHERE)
def test_quantize_leaves_bodies_as_they_are_and_says_so(where, method, tmp_path):
    graph, pictures = graph_with(where), next(digits().batches("calibration", batch_size=64)).inputs["pixel_values"]
    ctx = context(tmp_path)
    result = apply("quantize", write(graph, tmp_path / "model.onnx"), ctx, method=method, samples=64)
    [given] = open_session(result.path).run(None, {"x": pictures})
    expected = graph.expected(pictures, graph.weights)
    assert 10 * np.log10(np.square(expected).sum() / np.square(given - expected).sum()) > 25
    assert any("bodies of If, Loop and Scan are left as they are" in warning for warning in ctx.notes["warnings"])
    assert "integer_mac_share" not in ctx.notes
    file = onnx.load(result.path).graph
    inner = next(node for node in file.node if node.op_type == "If").attribute[0].g
    assert {node.op_type for node in inner.node} <= {"Constant", "MatMul"}
    kinds = {tensor.name: tensor.data_type for tensor in (*file.initializer, *inner.initializer)}
    taken = next(node for node in inner.node if node.op_type == "MatMul").input[1]
    assert kinds.get(taken, TensorProto.FLOAT) == TensorProto.FLOAT
