"""Exported files speak of the network, in its own names, and of nothing else."""

import sys
from pathlib import Path

import onnx
import pytest
from torch import nn

from ops.onnx_graph.layers import matrix_nodes
from pipeline.models.onnx_export import ExportError, export_onnx
from tests.ops.stored import load


@pytest.fixture(scope="module", params=["residual", "depthwise", "transformer"])
def exported(request, tmp_path_factory):
    """A network and its ONNX file."""
    model, path = load(request.param), tmp_path_factory.mktemp(request.param) / "model.onnx"
    export_onnx(model, path)
    return model, path


def test_weights_keep_the_names_of_the_modules_parameters(exported):
    model, path = exported
    multiply = {name for name, part in model.module.named_modules() if isinstance(part, nn.Linear | nn.Conv2d)}
    found = {node.weight for node in matrix_nodes(onnx.load(path)) if node.weight}
    assert found == {f"{name}.weight" for name in multiply}


def test_nodes_that_multiply_bear_the_names_of_their_layers(exported):
    model, path = exported
    modules = dict(model.module.named_modules())
    for found in matrix_nodes(onnx.load(path)):
        assert found.node.name == found.layer.name
        assert found.layer.name in modules or found.weight is None


def test_nothing_speaks_of_the_machine(exported):
    written = exported[1].read_bytes()
    for trace in (b".py", b"File ", *(str(path).encode() for path in (sys.prefix, Path.cwd()))):
        assert trace not in written


def test_records_are_of_the_layers_alone(exported):
    proto = onnx.load(exported[1])
    recorded = {node.name for node in proto.graph.node if node.metadata_props}
    assert recorded == {found.layer.name for found in matrix_nodes(proto)}
    everything = (proto, proto.graph, *proto.graph.input, *proto.graph.output, *proto.graph.value_info)
    assert not any(described.metadata_props for described in (*everything, *proto.graph.initializer))


def test_the_same_model_gives_the_same_file(exported, tmp_path):
    model, path = exported
    export_onnx(model, tmp_path / "again.onnx")
    assert (tmp_path / "again.onnx").read_bytes() == path.read_bytes()


def test_a_network_that_cannot_be_followed_is_named(tmp_path):
    model = load("residual").copy()
    model.module.forward = lambda pixel_values: pixel_values if pixel_values.sum() > 0 else -pixel_values
    with pytest.raises(ExportError, match=f"'{model.architecture.name}' cannot be exported to ONNX: "):
        export_onnx(model, tmp_path / "model.onnx")
    assert not (tmp_path / "model.onnx").exists()
