"""Simulated quantization: against arithmetic of its own, against the exported file, and against the file that `quantize` makes."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from ops.core.errors import BadParamsError
from ops.core.forward import forward, tensors
from ops.core.model import Architecture
from ops.core.network.fake_quantized import FakeQuantized
from ops.core.operation import OPERATIONS, Ancestry, OnnxModel, TorchModel
from ops.onnx_graph.session import open_session
from pipeline.models.onnx_export import export_onnx
from tests.ops.digits import Changed, apply, context
from tests.ops.stored import base

ROUNDING = 1e-5
"""Relative, of float32 sums of some hundred products."""
LEVEL = 1 / 255
"""A value that the last bit lifts over a border of two levels moves by one of them, relative to the range."""


def uneven(split, batch, call):
    """The digits have seventeen greys, and one of them lies on a border between two levels: every pixel another."""
    pixels = batch.inputs["pixel_values"]
    ripples = np.sin(37 * np.arange(pixels[0].size)).reshape(pixels.shape[1:])
    return replace(batch, inputs={"pixel_values": (pixels + 0.05 * ripples).astype(np.float32)})


DATA = Changed(uneven)


@pytest.fixture(scope="module")
def inputs():
    return dict(next(iter(DATA.batches("calibration", batch_size=64, samples=64))).inputs)


def perceptron():
    """Three linear layers: on them `quantize` rounds what is rounded here, and nothing else."""
    torch.manual_seed(0)
    layers = [torch.nn.Flatten(), torch.nn.Linear(64, 32), torch.nn.ReLU(), torch.nn.Linear(32, 10)]
    shape = {"pixel_values": ("float32", (1, 8, 8))}
    classes = tuple(map(str, range(10)))
    return TorchModel(
        torch.nn.Sequential(*layers).eval(), Architecture("net", "none", {}, "image-classification", classes, shape)
    )


def logits(model, inputs):
    with torch.no_grad():
        return forward(model.module, tensors(inputs), "image-classification")["logits"].numpy()


def of_file(path, inputs):
    session = open_session(path)
    return session.run(["logits"], {session.get_inputs()[0].name: inputs["pixel_values"]})[0]


def test_it_computes_what_its_definition_says(inputs):
    model = perceptron()
    found = logits(apply("fake_quantize", model, context(data=DATA), samples=64), inputs)
    values = plain = inputs["pixel_values"].reshape(64, -1).astype(np.float64)
    for number in (1, 3):
        layer = model.module[number]
        weight, bias = layer.weight.detach().numpy().astype(np.float64), layer.bias.detach().numpy()
        low, high = min(plain.min(), 0), max(plain.max(), 0)  # of the float network
        step = (high - low) / 255
        zero = np.rint(-low / step)
        values = (np.clip(np.rint(values / step) + zero, 0, 255) - zero) * step
        scale = np.abs(weight).max(axis=1, keepdims=True) / 127
        values = values @ (np.rint(weight / scale) * scale).T + bias
        plain = plain @ weight.T + bias
        values, plain = (np.maximum(one, 0) if number == 1 else one for one in (values, plain))
    assert np.abs(found - values).mean() < 10 * ROUNDING * np.abs(values).max()
    assert np.abs(found - values).max() < 4 * LEVEL * np.abs(values).max()
    assert np.abs(logits(model, inputs) - found).max() > 1e-4


def test_the_exported_file_gives_the_same(inputs, tmp_path):
    for model in (perceptron(), base("residual")):
        changed = apply("fake_quantize", model, context(data=DATA), samples=64)
        export_onnx(changed, tmp_path / "model.onnx")
        expected, found = logits(changed, inputs), of_file(tmp_path / "model.onnx", inputs)
        assert np.abs(expected - found).mean() < 10 * ROUNDING * np.abs(expected).max()
        assert np.abs(expected - found).max() < 4 * LEVEL * np.abs(expected).max()


def test_it_answers_as_the_quantized_file_does(inputs, tmp_path):
    model = perceptron()
    export_onnx(model, tmp_path / "float.onnx")
    ctx = context(tmp_path, data=DATA)
    plain = OnnxModel(tmp_path / "float.onnx", model.architecture)
    file = apply("quantize", plain, ctx, samples=64, activations="uint8", reduce_range=False)
    simulated = logits(apply("fake_quantize", model, context(data=DATA), samples=64), inputs)
    change = np.abs(simulated - logits(model, inputs)).mean()
    # processors without VNNI saturate: what is compared is the graph's arithmetic, without their kernels
    session = open_session(file.path, optimize="basic")
    found = session.run(["logits"], {session.get_inputs()[0].name: inputs["pixel_values"]})[0]
    assert np.abs(simulated - found).mean() < 0.1 * change


def test_it_can_be_pruned_trained_and_stored(inputs, tmp_path):
    from pipeline.models import storage

    changed = apply("fake_quantize", base("residual"), context(data=DATA), samples=64, bits={"default": 4, "head": 8})
    pruned = apply("magnitude_prune", changed, context(data=DATA), sparsity=0.5)
    tuned = apply("finetune", pruned, context(data=DATA), epochs=1, samples=64, batch_size=32)
    layers = [part for part in tuned.module.modules() if isinstance(part, FakeQuantized)]
    assert len(layers) == 7
    assert {part.weight_bits for part in layers} == {4, 8}
    assert all(part.rounds_weight for part in layers)
    assert not torch.equal(layers[0].weight, next(iter(pruned.module.parameters())))
    assert all(bool((tuned.module.get_parameter(name)[~mask] == 0).all()) for name, mask in tuned.masks.items())
    export_onnx(tuned, tmp_path / "model.onnx")
    assert np.abs(logits(tuned, inputs) - of_file(tmp_path / "model.onnx", inputs)).mean() < 1e-2
    (tmp_path / "stored").mkdir()
    storage.save(tuned, tmp_path / "stored")
    assert np.array_equal(logits(tuned, inputs), logits(storage.load(tmp_path / "stored"), inputs))


def test_the_file_holds_weights_on_a_grid(tmp_path):
    import onnx
    from onnx import numpy_helper

    model = perceptron()
    export_onnx(apply("fake_quantize", model, context(data=DATA), bits=3, activations=False), tmp_path / "model.onnx")
    arrays = [numpy_helper.to_array(one) for one in onnx.load(tmp_path / "model.onnx").graph.initializer]
    weights = [array for array in arrays if array.size in (64 * 32, 32 * 10)]
    assert len(weights) == 2
    for array in weights:
        rows = array if array.shape[0] in (10,) or array.shape == (32, 64) else array.T
        assert all(len(np.unique(row)) <= 7 for row in rows)


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"bits": 0}, "bits: 2 to 8; 0 stands only in a mapping"),
        ({"bits": {"default": 1}}, "bits: 2 to 8, since one bit is the sign"),
    ],
)
def test_bits_that_make_no_sense_are_refused(params, message):
    spec = OPERATIONS["fake_quantize"]
    assert message in (spec.refuse(Ancestry({}, "", ()), spec.check(params)) or "")
    with pytest.raises(BadParamsError):
        spec.check({"bits": 9})


def test_a_file_is_not_rounded_twice():
    above = Ancestry({}, "", (("fake_quantize", {"activations": True}),))
    spec = OPERATIONS["quantize"]
    assert "inputs would be rounded twice" in (spec.refuse(above, spec.check({})) or "")
