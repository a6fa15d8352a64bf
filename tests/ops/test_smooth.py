import re

import numpy as np
import pytest
import torch

from ops.calibration.probe import Probe
from ops.core.errors import OperationError
from ops.core.operation import OPERATIONS, Ancestry
from ops.quantize.methods.smooth_pairs import smooth_pairs
from tests.ops.digits import Changed, Sentences, apply, bert, context, digits, export, logits, same, state, trained, vit


def inputs_of(model, name):
    batch = next(iter(digits().batches("calibration", batch_size=128, samples=128)))
    [(values, _)] = Probe(model, {name: model.module.get_submodule(name)}).run(batch)[name]
    return values.abs().reshape(-1, values.shape[-1]).amax(0)


def test_pre_norm_blocks_are_smoothed_and_the_outputs_stay():
    before = state(vit())
    ctx = context()
    result = apply("smooth", vit(), ctx)
    block = "vit.layers.0"
    assert ctx.notes["smoothed"][f"{block}.layernorm_before"] == [f"{block}.attention.{n}_proj" for n in "qkv"]
    assert ctx.notes["smoothed"][f"{block}.layernorm_after"] == [f"{block}.mlp.fc1"]
    assert ctx.notes["smoothed"][f"{block}.attention.v_proj"] == [f"{block}.attention.o_proj"]
    assert "vit.layernorm" not in ctx.notes["smoothed"]  # the classifier takes a slice of it
    assert np.allclose(logits(result), logits(vit()), rtol=1e-4, atol=1e-4)
    assert not same(state(result), before)
    assert same(state(vit()), before)


def test_the_outlier_moves_into_the_weights_as_far_as_alpha_says():
    name = "vit.layers.1.mlp.fc1"
    weight = vit().module.get_submodule(name).weight.detach().abs().amax(0)
    range_before = inputs_of(vit(), name)
    for alpha in (0.25, 0.5, 0.75):
        result = apply("smooth", vit(), context(), alpha=alpha)
        expected = range_before ** (1 - alpha) * weight ** (1 - alpha)
        assert torch.allclose(inputs_of(result, name), expected, rtol=1e-3)


def test_static_int8_of_the_smoothed_model_is_nearer_to_float():
    def error(model):
        int8 = apply("quantize", export(model), context(), samples=64)
        return float(np.square(logits(int8) - logits(vit())).mean())

    assert error(apply("smooth", vit(), context())) < 0.7 * error(vit())


def test_berts_residual_sums_are_left_alone():
    ctx = context(data=Sentences())
    result = apply("smooth", bert(), ctx)
    assert ctx.notes["smoothed"] == {
        f"bert.encoder.layer.{n}.attention.self.value": [f"bert.encoder.layer.{n}.attention.output.dense"]
        for n in (0, 1)
    }
    batch = next(iter(Sentences().batches("calibration", batch_size=64)))
    assert np.allclose(logits(result, batch), logits(bert(), batch), rtol=1e-4, atol=1e-4)


def test_masks_are_kept():
    cut = apply("magnitude_prune", vit(), context(), sparsity=0.5)
    result = apply("smooth", cut, context())
    assert all(not result.module.get_parameter(name)[~mask].any() for name, mask in result.masks.items())


def test_only_pairs_whose_layers_are_all_chosen_are_smoothed():
    ctx = context()
    apply("smooth", vit(), ctx, exclude=["*.k_proj", "vit.layers.1"])
    assert set(ctx.notes["smoothed"]) == {"vit.layers.0.layernorm_after", "vit.layers.0.attention.v_proj"}
    with pytest.raises(
        OperationError, match=re.escape("no chosen layers share an input that can be smoothed; those that do: vit.")
    ):
        apply("smooth", vit(), context(), include=["vit.layers.0.attention.q_proj"])


def test_a_convolutional_net_is_refused_with_the_reason():
    message = "smooth: nothing to smooth: no normalisation layer feeds linear layers alone"
    with pytest.raises(OperationError, match=message):
        apply("smooth", trained(), context())
    refuse = OPERATIONS["smooth"].refuse
    nothing = {"include": [], "exclude": []}
    assert refuse(Ancestry({"architecture": "resnet"}, "", ()), nothing) == (
        "'resnet' has no normalisation that feeds linear layers; convolutions quantize well without"
    )
    assert refuse(Ancestry({"builder": "residual_cnn"}, "", ()), nothing).startswith("'residual_cnn' has no")
    assert refuse(Ancestry({"builder": "huggingface", "architecture": "bert"}, "", ()), nothing) is None


def test_a_norm_that_something_else_uses_too_is_no_pair():
    class Net(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.norm, self.linear = torch.nn.LayerNorm(64), torch.nn.Linear(64, 64)

        def forward(self, pixel_values):
            hidden = self.norm(pixel_values.flatten(1))
            return self.linear(hidden) + hidden

    model = trained().copy()
    model.module = Net()
    assert smooth_pairs(model, next(iter(digits().batches("calibration", batch_size=2)))) == []


def test_an_empty_calibration_split_is_refused():
    with pytest.raises(OperationError, match="The calibration split is empty"):
        apply("smooth", vit(), context(data=Changed(empty=("calibration",))))
