"""Weights whose inputs come before their outputs: GPT-2's linear layers and transposed convolutions, in networks and files."""

from dataclasses import replace

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper
from torch import nn

from ops.core.operation import TorchModel
from pipeline.layers.stats.describe import statistics
from pipeline.layers.tensors.onnx_tensors import onnx_tensors
from pipeline.models.api import BUILDERS, builder
from pipeline.models.storage import ONNX_FILE
from tests.pipeline.layers.layers_bench import ARCHITECTURE, CLASSES, Bench

FILES = ("static", "dynamic", "int4")
DEAD = [3, 5, 8, 13, 21]


class InputsFirst(nn.Module):
    def __init__(self):
        from transformers.pytorch_utils import Conv1D

        super().__init__()
        self.up, self.bn = nn.ConvTranspose2d(1, 6, 3, bias=False), nn.BatchNorm2d(6)
        self.up2, self.bn2 = nn.ConvTranspose2d(6, 6, 3, groups=2), nn.BatchNorm2d(6)
        self.one, self.two = Conv1D(32, 6), Conv1D(8, 32)
        self.head = nn.Linear(8, len(CLASSES))

    def forward(self, pixel_values):
        x = torch.relu(self.bn(self.up(pixel_values)))
        x = torch.relu(self.bn2(self.up2(x))).mean((2, 3))
        return self.head(self.two(torch.relu(self.one(x))))


@pytest.fixture(scope="module")
def bench(tmp_path_factory):
    """A network of such layers, in which five outputs of `one` are dead, and quantized files of it."""
    if "inputs_first" not in BUILDERS:

        @builder
        def inputs_first(need):
            """Layers whose weights have their inputs first."""
            return InputsFirst()

    torch.manual_seed(0)
    module = InputsFirst().eval()
    for norm in (module.bn, module.bn2):
        norm.running_mean.normal_()
        norm.running_var.uniform_(0.5, 2)
    for parameter in module.parameters():  # equal ones would be one constant in the file
        parameter.data += 0.2 * torch.randn_like(parameter)
    module.one.weight.data[:, DEAD] = 0
    made = Bench(tmp_path_factory.mktemp("axes"))
    made.put("base", TorchModel(module, replace(ARCHITECTURE, name="axes", builder="inputs_first")), None)
    made.apply("static", "base", "quantize", samples=32)
    made.apply("dynamic", "base", "quantize", method="dynamic")
    made.apply("int4", "base", "quantize", method="weight_only", bits=4, block_size=16)
    return made


@pytest.mark.parametrize("name", ["base", *FILES])
def test_every_output_of_a_layer_costs_one_product_for_each_input(bench, name):
    macs = {(d.stage, d.site): d.macs for d in bench.distributions(name) if d.place == "activation"}
    for stage in ("torch", "onnx") if name == "base" else ("onnx",):
        assert macs[stage, "one"] == 6 * 32
        assert macs[stage, "two"] == 32 * 8
        assert macs[stage, "head"] == 8 * 3


@pytest.mark.parametrize("name", ["base", *FILES])
def test_channels_are_outputs(bench, name):
    weights = {
        d.site: (d.shape, d.channels, d.dead_channels) for d in bench.distributions(name) if d.place == "parameter"
    }
    assert weights["one.weight"] == ([6, 32], 32, len(DEAD))
    assert weights["two.weight"] == ([32, 8], 8, 0)
    assert weights["head.weight"] == ([3, 8], 3, 0)
    assert weights["up.weight"] == ([1, 6, 3, 3], 6, 0)
    assert weights["up2.weight"] == ([6, 3, 3, 3], 3, 0)  # of one group


@pytest.mark.parametrize(("name", "decibels"), [("static", 30), ("dynamic", 30), ("int4", 15)])
def test_values_are_compared_along_the_same_axes(bench, name, decibels):
    changes = {change.site: change for change in bench.compare(name, "base")[0] if change.place == "parameter"}
    for site in ("one.weight", "two.weight", "head.weight", "up.weight", "up2.weight"):
        assert changes[site].status == "compared"
        assert changes[site].sqnr_db > decibels, site


def test_a_normalisation_is_folded_along_the_outputs_of_a_transposed_convolution(bench):
    """The exporter has folded both into float weights, which dynamic quantization leaves alone."""
    changes = {change.site: change for change in bench.compare("dynamic", "base")[0] if change.place == "parameter"}
    for site, norm in (("up.weight", "bn"), ("up2.weight", "bn2")):
        assert f"reference: '{norm}' folded in" in changes[site].how
        assert changes[site].sqnr_db > 100, site


@pytest.mark.parametrize("name", ["static", "dynamic"])
def test_a_bias_that_is_added_by_a_node_of_its_own_is_the_layers(bench, name):
    """The quantizer takes it out of a transposed convolution in groups, for which kernels know none."""
    changes = {(change.place, change.site): change for change in bench.compare(name, "base")[0]}
    bias = changes["parameter", "up2.bias"]
    assert (bias.status, bias.how) == ("compared", ["reference: 'bn2' folded in"])
    assert bias.sqnr_db > 100
    assert not [site for _, site in changes if site.startswith("up2.bias_")]
    assert changes["activation", "bn2"].sqnr_db > 20, "its output is what the bias was added to"


@pytest.mark.parametrize("transposed", [False, True])
def test_a_stack_of_matrices_has_its_outputs_in_each(tmp_path, transposed):
    values = np.random.default_rng(0).standard_normal((4, 5, 7)).astype(np.float32)  # 4 matrices of 5 inputs, 7 outputs
    values[:, :, 2] = 0
    stored = values.transpose(0, 2, 1) if transposed else values
    operator = (
        {"op_type": "FusedMatMul", "domain": "com.microsoft", "transB": 1} if transposed else {"op_type": "MatMul"}
    )
    node = helper.make_node(inputs=["x", "experts.weight"], outputs=["y"], name="experts", **operator)
    graph = helper.make_graph(
        [node], "g", [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 4, 1, 5])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(np.ascontiguousarray(stored), "experts.weight")],
    )  # fmt: skip
    opsets = [helper.make_opsetid("", 18), helper.make_opsetid("com.microsoft", 1)]
    onnx.save(helper.make_model(graph, opset_imports=opsets, ir_version=10), tmp_path / ONNX_FILE)
    (tensor,) = onnx_tensors(tmp_path / ONNX_FILE)
    assert tensor.products == 5
    (record,) = statistics(tmp_path, "model")[1]
    assert (record.channels, record.dead_channels) == (7, 1)
