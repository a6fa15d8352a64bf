"""What somebody's ONNX file records beside its nodes is read as names, or says nothing: it never stops the reader."""

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

from ops.onnx_graph.layers import matrix_nodes
from ops.onnx_graph.metadata import recorded_names
from ops.onnx_graph.recurrent import recurrent_nodes
from pipeline.core.json_text import parse_json
from pipeline.models.class_names import class_names

SCOPES, CLASSES = "pkg.torch.onnx.name_scopes", "pkg.torch.onnx.class_hierarchy"
HOSTILE = {
    "nested lists": "[" * 10**6,
    "nested signs": "-" * 10**6 + "1",
    "a sum without end": "1" + "+1" * 10**5,
    "a call": "__import__('os').system('true')",
    "a number": "5",
    "a number that cannot be written": f"[0x{'f' * 10_000}]",
    "an infinite number": "{1e999: 'a'}",
    "a set": "{'', 'a', 'a.b'}",
    "a text": "'abc'",
    "bytes": "b'abc'",
    "nothing": "",
    "a zero byte": "[\0]",
}


def graph(text):
    """A product and an LSTM whose records say `text`."""
    rng = np.random.default_rng(0)
    weights = {"w": (2, 3), "x_w": (1, 8, 3), "r_w": (1, 8, 2)}
    nodes = [
        helper.make_node("MatMul", ["a", "w"], ["b"]),
        helper.make_node("LSTM", ["c", "x_w", "r_w"], ["d"], hidden_size=2),
    ]
    for node in nodes:
        for key in (SCOPES, CLASSES):
            node.metadata_props.add(key=key, value=text)
    values = [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in "acbd"]
    tensors = [numpy_helper.from_array(rng.normal(size=size).astype("f"), name) for name, size in weights.items()]
    made = helper.make_graph(nodes, "g", values[:2], values[2:], tensors)
    return helper.make_model(made, opset_imports=[helper.make_opsetid("", 18)])


@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE)
def test_records_that_are_no_names_say_nothing(text):
    model = graph(text)
    assert recorded_names(model.graph.node[0], SCOPES) == []
    assert [one.layer for one in recurrent_nodes(model)] == ["d"]  # by its output, as without records
    plain = graph("[]")
    assert [one.layer for one in matrix_nodes(model)] == [one.layer for one in matrix_nodes(plain)]


def test_records_of_the_exporter_are_names():
    model = graph("['', 'encoder', 'encoder.lstm', 'product']")
    assert recorded_names(model.graph.node[0], SCOPES) == ["", "encoder", "encoder.lstm", "product"]
    assert [one.layer for one in recurrent_nodes(model)] == ["encoder.lstm"]


def test_the_number_of_a_layer_may_have_any_length():
    model = graph("[]")
    name = f"rnn.weight_ih_l{'9' * 5000}"
    model.graph.initializer[1].name = model.graph.node[1].input[1] = name
    assert [one.layer for one in recurrent_nodes(model)] == ["d"]


@pytest.mark.parametrize("text", [*HOSTILE.values(), "{'0': 1, '7': 2}"])
def test_class_names_that_are_none_say_nothing(tmp_path, text):
    model = graph("[]")
    model.metadata_props.add(key="names", value=text)
    (tmp_path / "net.onnx").write_bytes(model.SerializeToString())
    entry = {"name": "theirs", "builder": "onnx", "path": str(tmp_path / "net.onnx")}
    assert class_names(entry, tmp_path) is None


def test_json_that_is_nested_without_end_is_none():
    with pytest.raises(ValueError, match="nested too deeply"):
        parse_json("[" * 10**6)
