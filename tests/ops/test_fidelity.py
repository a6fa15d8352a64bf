"""Outputs are compared with the parent's: what is far away is said, with the layer where it begins."""

import onnx
import pytest
import torch
from onnx import numpy_helper
from torch import nn

from ops.calibration.fidelity import NOTE, Distances, beginning
from ops.core.errors import OperationError
from ops.core.forward import forward, tensors
from ops.core.model import Architecture
from ops.core.operation import TorchModel
from ops.onnx_graph.session import open_session
from ops.quantize.methods import static
from pipeline.measure.lints.api import Subject
from pipeline.measure.lints.fidelity import outputs_far_from_parent
from tests.ops.digits import apply, context, digits, export, exported, logits, trained


def noted(ctx):
    return ctx.notes[NOTE]


def subject(ctx):
    return Subject("key", "model", "quantize", "quantize", {}, "onnxruntime", {}, ctx.notes)


def decibels(reference, values):
    reference, values = (torch.as_tensor(array).double() for array in (reference, values))
    return float(10 * torch.log10(reference.square().sum() / (values - reference).square().sum()))


@pytest.mark.parametrize("method", ["static", "dynamic", "weight_only", "float16", "bfloat16"])
def test_every_kind_of_quantization_says_how_near_it_is(method):
    ctx = context()
    int8 = apply("quantize", exported(), ctx, method=method, samples=32)
    batch = next(digits().batches("calibration", batch_size=8, samples=8))
    expected = decibels(logits(exported(), batch), logits(int8, batch))
    assert noted(ctx)["sqnr_db"] == pytest.approx(expected, abs=0.5)
    assert list(noted(ctx)["layers"])[-1] == "classifier"
    assert noted(ctx)["begins_at"] is None
    assert outputs_far_from_parent(subject(ctx)) is None


def test_a_layers_distance_is_that_of_its_dequantized_weights_run_in_float():
    ctx = context()
    int8 = apply("quantize", exported(), ctx, method="static", samples=32, include=["stem.0"])
    stored = {tensor.name: numpy_helper.to_array(tensor) for tensor in onnx.load(int8.path).graph.initializer}
    x = next(digits().batches("calibration", batch_size=8, samples=8)).inputs["pixel_values"]
    rounded = (x / stored["pixel_values_scale"]).round() + stored["pixel_values_zero_point"]
    rounded = (rounded.clip(0, 255) - stored["pixel_values_zero_point"]) * stored["pixel_values_scale"]
    weight = stored["stem.0.weight_quantized"] * stored["stem.0.weight_scale"].reshape(-1, 1, 1, 1)
    graph = onnx.load(exported().path).graph
    floats = {t.name: numpy_helper.to_array(t) for t in graph.initializer}
    first = next(node for node in graph.node if node.op_type == "Conv")
    float_weight, bias = floats[first.input[1]], floats[first.input[2]]
    run = [
        torch.relu(nn.functional.conv2d(torch.tensor(values), torch.tensor(kernel), torch.tensor(bias), padding=1))
        for values, kernel in ((x, float_weight), (rounded.astype("float32"), weight.astype("float32")))
    ]
    assert noted(ctx)["layers"]["stem.0"] == pytest.approx(decibels(*run), abs=1.0)


def test_a_fault_of_the_quantizer_is_seen_where_it_begins(monkeypatch):
    """As microsoft/onnxruntime#28130: a bias that comes out four times as large."""
    usual = static._round

    def faulty(request, *args, **kwargs):
        usual(request, *args, **kwargs)
        model = onnx.load(request.result)
        conv = next(node for node in model.graph.node if node.name == "stages.0.0.conv2")
        widened = next(node for node in model.graph.node if conv.input[2] in node.output)
        scale = next(t for t in model.graph.initializer if t.name == widened.input[1])
        scale.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(scale) * 400, scale.name))
        onnx.save(model, request.result)

    monkeypatch.setattr(static, "_round", faulty)
    ctx = context()
    apply("quantize", exported(), ctx, samples=32)
    assert noted(ctx)["begins_at"] == "stages.0.0.conv2"
    found = outputs_far_from_parent(subject(ctx))
    assert "it begins at 'stages.0.0.conv2'" in found.message
    assert found.advice == '`exclude: ["stages.0.0.conv2"]` leaves that layer alone'
    monkeypatch.undo()
    mended = context()
    apply("quantize", exported(), mended, samples=32, exclude=[noted(ctx)["begins_at"]])
    assert outputs_far_from_parent(subject(mended)) is None


def test_factors_are_compared_with_the_parent_and_with_their_product():
    model = trained()
    ctx = context()
    small = apply("factorize", model, ctx, ratio=0.6)
    batch = next(digits().batches("calibration", batch_size=8, samples=8))
    with torch.no_grad():
        both = [forward(m.module, tensors(batch.inputs), "image-classification")["logits"] for m in (model, small)]
    assert noted(ctx)["sqnr_db"] == pytest.approx(decibels(*both), abs=0.1)
    exact = context()
    apply("factorize", model, exact, energy=1.0, include=["classifier"])
    assert NOTE not in exact.notes or noted(exact)["sqnr_db"] > 60


class Reads(nn.Module):
    """A network that takes a layer's weight itself, which factors do not have."""

    def __init__(self):
        super().__init__()
        self.first, self.head = nn.Linear(64, 64), nn.Linear(64, 10)

    def forward(self, x):
        h = torch.relu(self.first(x.flatten(1)))
        return self.head(h) * 100.0 ** (self.first.weight.shape[1] == 64)


def test_a_network_that_uses_its_layer_otherwise_is_seen():
    torch.manual_seed(0)
    inputs = {"pixel_values": ("float32", (1, 8, 8))}
    model = TorchModel(Reads().eval(), Architecture("reads", "", {}, "image-classification", (), inputs))
    ctx = context()
    apply("factorize", model, ctx, ratio=0.5)
    found = outputs_far_from_parent(subject(ctx))
    assert found is None or "dB from the parent's" in found.message
    assert noted(ctx)["sqnr_db"] < 1


def test_distances_and_where_they_begin():
    distances = Distances()
    distances.add("a", torch.tensor([1.0, 2.0]).numpy(), torch.tensor([1.0, 2.0]).numpy())
    distances.add("b", torch.tensor([1.1, 2.0]).numpy(), torch.tensor([1.0, 2.0]).numpy())
    distances.add("c", torch.tensor([float("nan"), 2.0]).numpy(), torch.tensor([1.0, 2.0]).numpy())
    distances.add("d", torch.zeros(3).numpy(), torch.ones(2).numpy())
    found = distances.decibels()
    assert found["a"] == 160
    assert found["b"] == pytest.approx(10 * torch.log10(torch.tensor(5 / 0.01)).item(), abs=1e-3)
    assert found["c"] == found["d"] == -160
    assert beginning({"a": 40, "b": 9, "c": 50}, 10) == "b"
    assert beginning({"a": 100, "b": 30, "c": 28}, 10) == "b"
    assert beginning({}, 10) is None


def test_smoothing_that_would_change_the_outputs_is_refused():
    model = export(trained())
    with pytest.raises(OperationError, match=r"\S"):
        apply("smooth", trained(), context())
    assert open_session(model.path)
