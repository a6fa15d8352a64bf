"""Graphs that torch's exporter does not write are quantized as they compute: by NumPy or torch, not by the file's own run."""

import numpy as np
import onnx
import pytest
import torch
from torch import nn

from ops.calibration.fidelity import NOTE
from ops.core.model import Architecture
from ops.core.operation import TorchModel
from ops.onnx_graph.layers import matrix_nodes
from ops.onnx_graph.macs import count_macs, precision_shares
from ops.onnx_graph.session import open_session
from tests.ops.digits import apply, context, digits, export
from tests.ops.onnx_graphs import GRAPHS, write


def pictures():
    return next(digits().batches("calibration", batch_size=64)).inputs["pixel_values"]


def noise_ratio(expected, given):
    return 10 * np.log10(np.square(expected).sum() / np.square(given - expected).sum())


@pytest.mark.parametrize("name", GRAPHS)
@pytest.mark.parametrize("method", ["static", "dynamic", "weight_only"])
def test_what_is_quantized_is_what_the_graph_computes(name, method, tmp_path):
    graph = GRAPHS[name]
    model = write(graph, tmp_path / "model.onnx")
    linear = any(node.op_type in ("Gemm", "MatMul") for node in graph.nodes())
    if method != "static" and not linear:
        pytest.skip("for linear layers")
    ctx = context(tmp_path)
    int8 = apply("quantize", model, ctx, method=method, samples=64)
    [given] = open_session(int8.path).run(None, {"x": pictures()})
    assert noise_ratio(graph.expected(pictures(), graph.weights), given) > 30
    assert ctx.notes[NOTE]["sqnr_db"] > 30
    if method != "weight_only" and "transposed convolution" not in name:
        assert ctx.notes["layers_in_float"] == {}
        assert precision_shares(count_macs(int8.path)) == {"int8": 1.0}


def test_the_answers_stay_with_a_scaled_bias(tmp_path):
    """The case of microsoft/onnxruntime#28130: with beta 0.25 and 3 the int8 file answers as the float one."""
    for beta in (0.25, 3.0):
        graph = GRAPHS[f"beta {beta}"]
        int8 = apply("quantize", write(graph, tmp_path / f"{beta}.onnx"), context(tmp_path), samples=64)
        [given] = open_session(int8.path).run(None, {"x": pictures()})
        assert (given.argmax(1) == graph.expected(pictures(), graph.weights).argmax(1)).mean() >= 0.95


class Encoder(nn.Module):
    def __init__(self):
        super().__init__()
        layer = nn.TransformerEncoderLayer(32, 4, 64, batch_first=True, dropout=0.0)
        self.embed, self.encoder = nn.Linear(8, 32), nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
        self.head = nn.Linear(32, 10)

    def forward(self, x):
        return self.head(self.encoder(self.embed(x[:, 0])).mean(1))


class Scaled(nn.Module):
    """A convolution with LayerScale, as in ConvNeXt."""

    def __init__(self):
        super().__init__()
        self.stem, self.depthwise = nn.Conv2d(1, 16, 3, padding=1), nn.Conv2d(16, 16, 3, padding=1, groups=16)
        self.point, self.gamma, self.head = nn.Conv2d(16, 16, 1), nn.Parameter(torch.rand(16)), nn.Linear(16, 10)

    def forward(self, x):
        h = self.stem(x)
        h = h + self.point(torch.relu(self.depthwise(h))).mul(self.gamma.reshape(1, -1, 1, 1))
        return self.head(h.mean((2, 3)))


@pytest.mark.parametrize("net", [Encoder, Scaled])
def test_layers_that_fusions_rename_are_quantized(net, tmp_path):
    torch.manual_seed(0)
    module = net()
    for parameter in module.parameters():  # copies of one layer differ once they are trained
        parameter.data += 0.01 * torch.randn_like(parameter)
    inputs = {"pixel_values": ("float32", (1, 8, 8))}
    model = TorchModel(module.eval(), Architecture("net", "", {}, "image-classification", tuple("0123456789"), inputs))
    ctx = context(tmp_path)
    int8 = apply("quantize", export(model), ctx, samples=32)
    reason = "a product of two activations; include it by name or with the group attention"
    assert set(ctx.notes["layers_in_float"].values()) <= {reason}
    weighted = {name for name, part in module.named_modules() if getattr(part, "weight", None) is not None}
    weighted = {name for name in weighted if module.get_submodule(name).weight.ndim > 1}
    attention = {name for name, part in module.named_modules() if isinstance(part, nn.MultiheadAttention)}
    assert set(ctx.notes["layers_quantized"]) == weighted | attention
    rows = {row.layer: row.precision for row in count_macs(int8.path)}
    assert {name for name, precision in rows.items() if precision == "int8"} == weighted | attention
    with torch.no_grad():
        expected = module(torch.from_numpy(pictures())).numpy()
    [given] = open_session(int8.path).run(None, {"pixel_values": pictures()})
    assert noise_ratio(expected, given) > 25


def test_the_share_is_that_of_the_graph_that_runs(tmp_path):
    """Every integer kernel of the optimised graph belongs to one layer, and no layer has one that is not there."""
    int8 = apply(
        "quantize", write(GRAPHS["convolutions that share a weight and a bias"], tmp_path / "m.onnx"), context(tmp_path)
    )
    open_session(int8.path, save_optimized=tmp_path / "runs.onnx")
    runs = [
        node.op_type for node in onnx.load(tmp_path / "runs.onnx").graph.node if node.op_type.startswith("QLinearConv")
    ]
    rows = count_macs(int8.path)
    assert sum(row.precision == "int8" for row in rows) == len(runs) == 3
    assert len({found.layer.name for found in matrix_nodes(onnx.load(int8.path))}) == 3
