import re

import numpy as np
import pytest
import torch

from ops.calibration.probe import Probe
from ops.core.errors import OperationError
from ops.core.operation import OPERATIONS, Ancestry
from ops.recover.methods.least_squares import masked_correction
from tests.ops.digits import (
    Changed,
    Sentences,
    accuracy,
    apply,
    bert,
    context,
    digits,
    pruned,
    same,
    state,
    trained,
    vit,
    with_nan,
)  # fmt: skip


def means(model, names):
    """Mean output of layers per channel on the calibration split."""
    layers = {name: model.module.get_submodule(name) for name in names}
    batch = next(iter(digits().batches("calibration", batch_size=200)))
    seen = Probe(model, layers).run(batch)
    return {
        name: (output if output.ndim == 2 else output.movedim(1, -1)).reshape(-1, output.shape[1]).mean(0)
        for name, [(_, output)] in seen.items()
    }


@pytest.mark.parametrize("method", ["batch_norm", "bias_correction", "reconstruct"])
def test_every_method_repairs_a_pruned_net_and_keeps_its_zeros(method):
    before = state(pruned())
    result = apply("calibrate", pruned(), context(base=trained()), method=method)
    assert accuracy(result) > accuracy(pruned()) + 0.05
    assert all(not result.module.get_parameter(name)[~mask].any() for name, mask in result.masks.items())
    assert same(state(pruned()), before)
    assert not result.module.training


def test_batch_norm_statistics_are_those_of_the_calibration_samples():
    ctx = context()
    result = apply("calibrate", pruned(), ctx, samples=150)
    assert ctx.notes["samples"] == 128  # two batches of 64; a smaller third is left out
    module = result.module
    conv, norm = module.stem[0], module.stem[1]
    batches = list(digits().batches("calibration", batch_size=64, samples=150))[:2]
    with torch.no_grad():
        outputs = [conv(torch.from_numpy(batch.inputs["pixel_values"])) for batch in batches]
    assert torch.allclose(norm.running_mean, torch.stack([o.mean((0, 2, 3)) for o in outputs]).mean(0), atol=1e-5)
    assert torch.allclose(norm.running_var, torch.stack([o.var((0, 2, 3)) for o in outputs]).mean(0), atol=1e-4)
    assert norm.momentum == pruned().module.stem[1].momentum
    assert all(torch.equal(p, q) for p, q in zip(module.parameters(), pruned().module.parameters(), strict=True))


def test_batch_norm_respects_exclude():
    result = apply("calibrate", pruned(), context(), exclude=["stem.*"])
    before, after = state(pruned()), state(result)
    changed = {name.rpartition(".")[0] for name in before if not torch.equal(before[name], after[name])}
    assert "stem.1" not in changed
    assert "stages.0.0.norm1" in changed


def test_bias_correction_gives_channels_the_means_of_the_reference():
    result = apply("calibrate", pruned(), context(base=trained()), method="bias_correction")
    names = ["stem.1", "stages.0.0.norm1", "stages.1.0.norm2", "classifier"]
    wanted, given, before = (means(model, names) for model in (trained(), result, pruned()))
    for name in names:
        assert torch.allclose(given[name], wanted[name], atol=2e-4), name
        assert not torch.allclose(before[name], wanted[name], atol=2e-2), name


def test_bias_correction_works_on_transformers():
    broken = apply("magnitude_prune", bert(), context(data=Sentences()), sparsity=0.5)
    ctx = context(data=Sentences(), base=bert())
    apply("calibrate", broken, ctx, method="bias_correction")
    assert "bert.encoder.layer.1.output.LayerNorm" in ctx.notes["mean_shift"]
    assert "unchanged" not in ctx.notes


@pytest.mark.parametrize("net", ["residual", "depthwise", "vit"])
def test_reconstruction_brings_every_layer_nearer_to_the_reference(net):
    model = vit() if net == "vit" else trained(net)
    cut = apply("magnitude_prune", model, context(), sparsity=0.5, scope="layer")
    ctx = context(base=model)
    apply("calibrate", cut, ctx, method="reconstruct")
    errors = ctx.notes["relative_error"]
    assert len(errors) == {"residual": 7, "depthwise": 6, "vit": 14}[net]
    assert all(after <= before for before, after in errors.values())
    assert np.mean([after / before for before, after in errors.values()]) < 0.65


def test_a_solved_layer_is_the_least_squares_solution():
    """One linear layer against numpy, row by row, on the weights that its mask leaves."""
    model = apply("magnitude_prune", trained(), context(), sparsity=0.6, include=["head"])
    ctx = context(base=trained())
    result = apply("calibrate", model, ctx, method="reconstruct", include=["head"], samples=200)
    head = {"classifier": model.module.classifier}
    batch = next(iter(digits().batches("calibration", batch_size=200)))
    [(inputs, _)] = Probe(model, head).run(batch)["classifier"]
    [(_, wanted)] = Probe(trained(), {"classifier": trained().module.classifier}).run(batch)["classifier"]
    given = np.c_[inputs.double(), np.ones(200)]
    free = np.c_[model.masks["classifier.weight"].numpy(), np.ones(10, bool)]
    damping = np.sqrt(0.01 * (given**2).sum(0).mean())
    old = np.c_[model.module.classifier.weight.detach().double(), model.module.classifier.bias.detach().double()]
    new = np.c_[result.module.classifier.weight.detach(), result.module.classifier.bias.detach()]
    for row in range(10):
        keep = free[row]
        left = np.r_[given[:, keep], damping * np.eye(keep.sum())]
        right = np.r_[wanted[:, row].double().numpy() - given @ old[row], np.zeros(keep.sum())]
        assert np.allclose(new[row, keep] - old[row, keep], np.linalg.lstsq(left, right)[0], atol=2e-4)
        assert not new[row, ~keep].any()


def test_least_squares_of_dead_inputs_and_nothing_to_change_is_no_change():
    moments = torch.zeros(1, 3, 3)
    moments[0, 0, 0] = 2.0
    gradient = torch.tensor([[[1.0, 0.0, 0.0], [0.0, 0.0, 0.0]]])
    free = torch.ones(1, 2, 3, dtype=torch.bool)
    found = masked_correction(moments, gradient, free, damping=0.0)
    assert torch.allclose(found, torch.tensor([[[0.5, 0, 0], [0, 0, 0]]]))
    assert not masked_correction(moments, gradient, ~free, damping=0.01).any()


def test_a_net_without_batch_norm_is_refused_and_told_what_to_use():
    message = (
        "calibrate: the model has no batch normalisation to estimate (layer normalisation keeps no statistics). Use method: "
        "bias_correction or method: reconstruct"
    )
    with pytest.raises(OperationError, match=re.escape(message)):
        apply("calibrate", vit(), context())
    refuse = OPERATIONS["calibrate"].refuse
    known = Ancestry({"name": "b", "architecture": "bert"}, "question-answering", ())
    assert refuse(known, {"method": "batch_norm"}) == (
        "architecture 'bert' has no batch normalisation to estimate. Use `method: bias_correction` or `method: reconstruct`"
    )
    assert refuse(known, {"method": "reconstruct", "include": [], "exclude": []}) is None
    assert refuse(Ancestry({"name": "r", "architecture": "resnet"}, "", ()), {"method": "batch_norm"}) is None


@pytest.mark.parametrize(("op", "params"), [("finetune", {}), ("calibrate", {"method": "reconstruct"}), ("smooth", {})])
def test_what_would_undo_a_palette_is_refused_unless_layers_are_named(op, params):
    spec = OPERATIONS[op]
    after = Ancestry({"architecture": "vit"}, "", (("train", {}), ("palettize", {}), ("magnitude_prune", {})))
    assert spec.refuse(after, spec.check(params)) == (
        "it would give palettized weights new values and undo `palettize`: put it before `palettize`, or name the layers with "
        "`include` or `exclude`"
    )
    assert spec.refuse(after, spec.check({**params, "include": ["head"]})) is None
    assert spec.refuse(Ancestry({"architecture": "vit"}, "", (("train", {}),)), spec.check(params)) is None


def test_layers_that_are_no_batch_norm_are_refused():
    message = "calibrate: none of the chosen layers is a batch normalisation; the model's are named as 'stem.1'"
    with pytest.raises(OperationError, match=re.escape(message)):
        apply("calibrate", trained(), context(), include=["head"])


@pytest.mark.parametrize("method", ["batch_norm", "bias_correction", "reconstruct"])
def test_bad_calibration_data_is_refused(method):
    empty = context(data=Changed(empty=("calibration",)), base=trained())
    with pytest.raises(OperationError, match="The calibration split is empty: give the data set some calibration"):
        apply("calibrate", pruned(), empty, method=method)
    broken = context(
        data=Changed(lambda split, batch, call: with_nan(batch) if len(batch) > 1 else batch), base=trained()
    )
    with pytest.raises(
        OperationError, match=r"Calibration instance 'digit-\d+': input 'pixel_values' has NaN or infinite"
    ):
        apply("calibrate", pruned(), broken, method=method)


def test_one_sample_has_no_variance():
    with pytest.raises(OperationError, match="batch_norm needs at least 2 calibration instances"):
        apply("calibrate", pruned(), context(), samples=1)


@pytest.mark.parametrize(
    ("method", "message"),
    [
        ("bias_correction", "finds no layer to correct: .*'stem.1': the reference has 8 outputs here, this model 16; "),
        ("reconstruct", "finds no layer to solve for: 'stem.0': the reference has 8 outputs here, this model 16; "),
    ],
)
def test_a_reference_with_other_widths_is_refused_naming_the_layer(method, message):
    wide = context().build(
        {"name": "w", "builder": "residual_cnn", "depths": [1, 1], "widths": [8, 12]}, pretrained=False
    )
    with pytest.raises(OperationError, match=rf"{message}.*; and \d+ more$"):
        apply("calibrate", pruned(), context(base=wide), method=method, exclude=["head"])


def test_layers_that_only_differ_in_some_places_are_noted():
    wide = context().build(
        {"name": "w", "builder": "residual_cnn", "depths": [1, 1], "widths": [16, 12]}, pretrained=False
    )
    ctx = context(base=wide)
    apply("calibrate", pruned(), ctx, method="reconstruct")
    assert ctx.notes["unchanged"]["stages.1.0.conv1"] == "the reference has 12 outputs here, this model 32"
    assert "stages.0.0.conv1" in ctx.notes["relative_error"]
