"""Weights that are computed from others: folded into plain ones before they are changed, and said so."""

import numpy as np
import pytest
import torch

from ops.core.network.parametrized import is_parametrized, plain_weights
from pipeline.models import storage
from tests.ops.digits import apply, context, export, logits
from tests.ops.shared_nets import Doubled, network

KINDS = ["new", "old", "spectral", "old_spectral", "orthogonal", "own", "pruned"]
WEIGHTS = 16 * 9 + 16 * 16 * 9 + 160


def effective(model):
    """The weights that the layers compute with, by torch's own means."""
    with torch.no_grad():
        logits(model)  # hooks compute theirs when the layer runs
        return {name: getattr(model.module, name).weight.detach().clone() for name in ("c1", "c2", "head")}


@pytest.mark.parametrize("how", KINDS)
def test_plain_weights_are_those_that_the_layers_computed_with(how):
    model = network("Normed", how=how)
    expected, answers = effective(model), logits(model)
    found, folded = plain_weights(model)
    assert set(folded) == {"c1.weight", "c2.weight", "head.weight"}
    assert not is_parametrized(found.module)
    assert is_parametrized(model.module), "the input stays as it is"
    named = dict(found.module.named_parameters())
    assert set(named) == {f"{layer}.{kind}" for layer in ("c1", "c2", "head") for kind in ("weight", "bias")}
    for layer, weight in expected.items():
        assert torch.equal(named[f"{layer}.weight"], weight)
    np.testing.assert_allclose(logits(found), answers, rtol=1e-5, atol=1e-6)
    assert np.array_equal(logits(model), answers)


MAGNITUDE = ("magnitude_prune", {"sparsity": 0.8, "scope": "layer"})
GRADIENT = ("gradient_prune", {"sparsity": 0.8, "samples": 16, "scope": "layer"})
WANDA = ("activation_prune", {"sparsity": 0.8, "samples": 16})


@pytest.mark.parametrize(
    ("how", "op", "params"),
    [*((how, *MAGNITUDE) for how in KINDS), *((how, *other) for how in ("new", "old") for other in (GRADIENT, WANDA))],
)
def test_pruning_takes_what_was_asked_of_parametrized_layers(op, params, how, tmp_path):
    model, ctx = network("Normed", how=how), context()
    found = apply(op, model, ctx, **params)
    assert set(ctx.notes["plain_weights"]) == {"c1.weight", "c2.weight", "head.weight"}
    assert ctx.notes["achieved"]["weights"] == WEIGHTS
    assert ctx.notes["achieved"]["zeros"] == pytest.approx(0.8 * WEIGHTS, abs=3)
    expected = effective(model)
    for layer in ("c1", "c2", "head"):
        weight = found.module.get_submodule(layer).weight
        assert float((weight == 0).float().mean()) == pytest.approx(0.8, abs=0.01)
        assert torch.equal(weight[weight != 0], expected[layer][weight != 0])
    storage.save(found, tmp_path)
    loaded = storage.load(tmp_path)
    assert np.array_equal(logits(loaded), logits(found))
    tuned = apply("finetune", loaded, context(), epochs=1, samples=64)
    assert float((tuned.module.c2.weight == 0).float().mean()) == pytest.approx(0.8, abs=0.01)
    assert np.isfinite(logits(tuned)).all()


@pytest.mark.parametrize("how", KINDS)
def test_parametrized_networks_are_copied_stored_trained_and_exported(how, tmp_path):
    model = network("Normed", how=how)
    found = apply("finetune", model, context(), epochs=1, samples=64)
    assert is_parametrized(found.module), "training goes on as the network's code means it"
    assert not np.array_equal(logits(found), logits(model))
    for other in (found, found.copy()):
        folder = tmp_path / str(other is found)
        folder.mkdir()
        storage.save(other, folder)
        assert np.array_equal(logits(storage.load(folder)), logits(found))


def test_what_torchs_own_pruning_masks_stays_masked():
    model = network("Normed", how="pruned")
    before = {name: model.module.get_submodule(name).weight_mask == 0 for name in ("c1", "c2", "head")}
    found = apply("restore", apply("palettize", model, context(), bits=3), context(base=model), include=["c1"])
    tuned = apply("finetune", found, context(), epochs=1, samples=64, include=["c2"])
    assert bool((tuned.module.c2.weight[before["c2"]] == 0).all())
    assert bool((tuned.module.c2.weight[~before["c2"]] != 0).any())
    assert torch.equal(tuned.module.c1.weight, plain_weights(model)[0].module.c1.weight)


def test_layers_are_chosen_by_their_own_names():
    model, ctx = network("Normed", how="new"), context()
    found = apply("finetune", model, ctx, epochs=1, samples=64, include=["c1"])
    before, after = model.module.state_dict(), found.module.state_dict()
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    assert changed == {"c1.bias", "c1.parametrizations.weight.original0", "c1.parametrizations.weight.original1"}


def test_layers_that_compute_their_weight_from_the_same_tensors_share_the_plain_one():
    from torch.nn.utils import parametrize

    model = network("Tied")
    for layer in (model.module.a, model.module.b):
        parametrize.register_parametrization(layer, "weight", Doubled(), unsafe=True)
    model.module.b.parametrizations.weight.original = model.module.a.parametrizations.weight.original
    answers = logits(model)
    found, _ = plain_weights(model)
    assert found.module.a.weight is found.module.b.weight
    np.testing.assert_allclose(logits(found), answers, rtol=1e-6)


def test_rounding_while_training_reaches_parametrized_layers():
    model, ctx = network("Normed", how="new"), context()
    apply("finetune", model, ctx, epochs=1, samples=64, quantization_aware=True)
    assert ctx.notes["rounded_layers"] == ["c1", "c2", "head"]


@pytest.mark.parametrize("how", ["new", "old", "orthogonal"])
def test_exported_files_have_plain_weights_under_the_layers_names(how):
    import onnx

    model = network("Normed", how=how)
    file = export(model)
    assert {"c1.weight", "c2.weight"} <= {tensor.name for tensor in onnx.load(file.path).graph.initializer}
    np.testing.assert_allclose(logits(file), logits(model), rtol=1e-3, atol=1e-4)
