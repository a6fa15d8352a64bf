"""Recurrent layers are counted as what they are, pruned like others, and said to stay in float."""

import numpy as np
import pytest
import torch

from ops.onnx_graph.macs import count_macs, precision_shares
from pipeline.layers.tensors.onnx_tensors import onnx_tensors
from pipeline.models.onnx_export import ExportError
from tests.ops.digits import apply, context, export, logits
from tests.ops.shared_nets import network

GATES = {"LSTM": 4, "GRU": 3, "RNN": 1}
STEPS, INPUTS = 8, 8


def macs_by_hand(cell, *, hidden=20, num_layers=1, bidirectional=False):
    """Every weight once per step, and the classifier once."""
    directions = 2 if bidirectional else 1
    widths = [INPUTS] + [hidden * directions] * (num_layers - 1)
    weights = sum(directions * GATES[cell] * hidden * (width + hidden) for width in widths)
    return STEPS * weights + 10 * hidden * directions


@pytest.mark.parametrize(
    ("cell", "options"),
    [
        ("LSTM", {"hidden": 32, "num_layers": 2}),
        ("LSTM", {"bidirectional": True}),
        ("GRU", {"bidirectional": True, "num_layers": 2}),
        ("RNN", {}),
    ],
)
def test_work_and_weights_of_recurrent_layers_are_counted(cell, options):
    model = network("Recurrent", cell=cell, **options)
    file = export(model)
    assert sum(row.macs for row in count_macs(file.path)) == macs_by_hand(cell, **options)
    own = dict(model.module.named_parameters())
    found = {tensor.name: tensor for tensor in onnx_tensors(file.path)}
    assert sum(tensor.size for tensor in found.values()) == sum(parameter.numel() for parameter in own.values())
    if cell != "RNN":  # torch writes that one out as matrix products
        assert set(found) == set(own)
        for name, parameter in own.items():
            np.testing.assert_array_equal(found[name].read(), parameter.detach().numpy(), err_msg=name)


def test_the_figures_of_a_two_level_lstm():
    """By hand: 8 steps x (128 x (8 + 32) + 128 x (32 + 32)) + 320, and the same weights with two biases per gate."""
    file = export(network("Recurrent", cell="LSTM", hidden=32, num_layers=2))
    assert sum(row.macs for row in count_macs(file.path)) == 106_816
    assert sum(tensor.size for tensor in onnx_tensors(file.path)) == 14_154


def test_quantize_says_that_a_recurrent_layer_stays_in_float():
    ctx = context()
    found = apply("quantize", export(network("Recurrent", cell="LSTM", hidden=32, num_layers=2)), ctx, method="dynamic")
    assert ctx.notes["integer_mac_share"] == pytest.approx(320 / 106_816)
    assert "recurrent" in ctx.notes["layers_in_float"]["cell"]
    assert sum(tensor.size for tensor in onnx_tensors(found.path)) == 14_154
    assert precision_shares(count_macs(found.path))["float32"] == pytest.approx(1 - 320 / 106_816)


def test_steps_that_share_a_weight_are_quantized_all():
    """An RNN is written out as a matrix product per step, with the same weights."""
    file, ctx = export(network("Recurrent", cell="RNN")), context()
    found = apply("quantize", file, ctx, method="dynamic")
    assert ctx.notes["integer_mac_share"] == 1
    assert np.abs(logits(found) - logits(file)).max() < 0.05 * np.abs(logits(file)).max()


@pytest.mark.parametrize("cell", ["LSTM", "GRU", "RNN"])
def test_recurrent_weights_are_pruned_and_stay_pruned(cell):
    model, ctx = network("Recurrent", cell=cell, bidirectional=True), context()
    found = apply("magnitude_prune", model, ctx, sparsity=0.5, scope="layer")
    weights = {name: p for name, p in found.module.named_parameters() if "bias" not in name}
    assert ctx.notes["achieved"]["weights"] == sum(p.numel() for p in weights.values())
    for name, parameter in weights.items():
        assert float((parameter == 0).float().mean()) == pytest.approx(0.5, abs=0.01), name
    tuned = apply("finetune", found, context(), epochs=1, samples=64)
    named = dict(tuned.module.named_parameters())
    assert all(bool((named[name][~mask] == 0).all()) for name, mask in tuned.masks.items())
    assert not torch.equal(named["cell.weight_ih_l0"], dict(found.module.named_parameters())["cell.weight_ih_l0"])
    np.testing.assert_allclose(logits(export(tuned)), logits(tuned), rtol=1e-3, atol=1e-4)


def test_what_cannot_prune_recurrent_layers_says_so():
    for op, params in (("activation_prune", {"sparsity": 0.5, "samples": 16}), ("factorize", {"ratio": 0.5})):
        ctx = context()
        apply(op, network("Recurrent"), ctx, **params)
        assert "LSTM" in ctx.notes["unchanged"]["cell"], op


def test_a_projected_lstm_is_refused_by_name():
    with pytest.raises(ExportError, match="'cell' is an LSTM with proj_size"):
        export(network("Recurrent", cell="LSTM", proj_size=6))


def test_a_parameter_of_no_known_layer_is_said_to_be_left_alone_and_can_be_named():
    ctx = context()
    found = apply("magnitude_prune", network("Own"), ctx, sparsity=0.5)
    assert int((found.module.matrix == 0).sum()) == 0
    assert "name it with `include`" in ctx.notes["unchanged"]["matrix"]
    named = apply("magnitude_prune", network("Own"), context(), sparsity=0.5, include=["matrix"])
    assert int((named.module.matrix == 0).sum()) == 160
