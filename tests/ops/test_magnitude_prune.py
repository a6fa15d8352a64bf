import copy
import re

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.utils import prune

from ops.core.errors import OperationError
from ops.core.operation import OPERATIONS, Ancestry, TorchModel
from ops.core.selector import choose_layers, choose_parameters
from tests.ops.context import NETS
from tests.ops.digits import apply, bert, context, state
from tests.ops.stored import base


def pruned(model, **params):
    ctx = context()
    return apply("magnitude_prune", model, ctx, **params), ctx.notes


def masks_of_torch(model, amount, *, whole):
    module = copy.deepcopy(model.module)
    layers = choose_layers(module)
    if whole:
        prune.global_unstructured([(layer, "weight") for layer in layers.values()], prune.L1Unstructured, amount=amount)
    else:
        for layer in layers.values():
            prune.l1_unstructured(layer, "weight", amount=amount)
    return {f"{name}.weight": layer.weight_mask.bool() for name, layer in layers.items()}


@pytest.mark.parametrize("net", NETS)
@pytest.mark.parametrize("scope", ["global", "layer"])
def test_the_masks_are_those_of_torch(net, scope):
    found, _ = pruned(base(net), sparsity=0.37, scope=scope)
    expected = masks_of_torch(base(net), 0.37, whole=scope == "global")
    assert found.masks.keys() == expected.keys()
    assert all(torch.equal(mask, expected[name]) for name, mask in found.masks.items())


def test_weights_that_stay_are_bitwise_the_same_and_zeros_have_no_sign():
    found, _ = pruned(base("residual"), sparsity=0.6)
    before, after = state(base("residual")), state(found)
    for name, mask in found.masks.items():
        assert torch.equal(before[name][mask], after[name][mask])
        assert not torch.signbit(after[name][~mask]).any()


def test_pruning_twice_adds_to_the_zeros_and_ends_exactly():
    once, _ = pruned(base("residual"), sparsity=0.3, scope="layer")
    twice, notes = pruned(once, sparsity=0.7)
    for name, mask in twice.masks.items():
        assert not (mask & ~once.masks[name]).any(), "what was gone stays gone"
    assert notes["achieved"]["zeros"] == round(0.7 * notes["achieved"]["weights"])
    assert sum(int((~mask).sum()) for mask in twice.masks.values()) == notes["achieved"]["zeros"]


def test_asking_for_less_than_there_is_changes_nothing_and_says_so():
    once, _ = pruned(base("residual"), sparsity=0.7)
    again, notes = pruned(once, sparsity=0.2)
    assert all(torch.equal(again.masks[name], mask) for name, mask in once.masks.items())
    assert notes["achieved"]["sparsity"] == pytest.approx(0.7, abs=1e-3)
    assert notes["achieved"]["because"] == "earlier operations had already pruned more than was asked for"


def test_masks_of_layers_that_are_not_chosen_stay():
    once, _ = pruned(base("residual"), sparsity=0.5, include=["head"])
    twice, _ = pruned(once, sparsity=0.5, exclude=["head"])
    assert torch.equal(twice.masks["classifier.weight"], once.masks["classifier.weight"])


def test_equal_magnitudes_go_in_memory_order():
    model = constant(nn.Linear(6, 4, bias=False))
    found, _ = pruned(model, sparsity=0.5)
    np.testing.assert_array_equal(found.masks["weight"].flatten(), [False] * 12 + [True] * 12)


def test_any_memory_layout_and_type_of_float():
    model = base("residual").copy()
    model.module.to(memory_format=torch.channels_last)
    assert all_equal(pruned(model, sparsity=0.5)[0].masks, pruned(base("residual"), sparsity=0.5)[0].masks)
    half = base("residual").copy()
    half.module.to(torch.bfloat16)
    found, _ = pruned(half, sparsity=0.5)
    assert found.module.classifier.weight.dtype is torch.bfloat16
    assert int((~found.masks["classifier.weight"]).sum()) == int((found.module.classifier.weight == 0).sum())


def test_norms_are_pruned_when_asked_for_as_in_a_broken_transformer():
    found, _ = pruned(bert(), sparsity=0.3, scope="layer", include=["norm", "linear", "embedding"])
    norms = [name for name in found.masks if "LayerNorm" in name]
    assert len(norms) == 5
    assert all(int((~found.masks[name]).sum()) == round(0.3 * found.masks[name].numel()) for name in norms)
    assert not [name for name in pruned(bert(), sparsity=0.3)[0].masks if "LayerNorm" in name or "embeddings" in name]


@pytest.mark.parametrize("sparsity", [0.1, 0.6])
def test_erdos_renyi_budgets(sparsity):
    """Density of a tensor: eps * (sum of dimensions) / (product), at most 1, with one eps for all."""
    found, _ = pruned(base("depthwise"), sparsity=sparsity, scope="layer", allocation="erk")
    shapes = {name: mask.shape for name, mask in found.masks.items()}
    raw = {name: sum(shape) / shape.numel() for name, shape in shapes.items()}
    density = {name: float(mask.float().mean()) for name, mask in found.masks.items()}
    eps = {density[name] / raw[name] for name in shapes if density[name] < 1}
    assert max(eps) == pytest.approx(min(eps), rel=0.02)
    assert all(max(eps) * raw[name] >= 0.98 for name in shapes if density[name] == 1)
    assert min(density.values()) < 1 - sparsity < max(density.values())
    assert (1 in density.values()) == (sparsity == 0.1)


def test_lamp_budgets():
    """One threshold on w^2 / (sum of the squares at least as large in the tensor), computed naively."""
    found, _ = pruned(base("residual"), sparsity=0.6, scope="layer", allocation="lamp")
    scores = {}
    for name, weight in choose_parameters(base("residual").module).items():
        squares = weight.detach().double().flatten() ** 2
        order = squares.argsort(stable=True)
        score = torch.empty_like(squares)
        score[order] = squares[order] / squares[order].flip(0).cumsum(0).flip(0)
        scores[name] = score
    every = torch.cat(list(scores.values()))
    threshold = every.sort().values[round(0.6 * every.numel()) - 1]
    for name, mask in found.masks.items():
        assert abs(int((scores[name] > threshold).sum()) - int(mask.sum())) <= 1, name


@pytest.mark.parametrize("scope", ["global", "layer"])
def test_a_tensor_never_loses_everything(scope):
    model = base("residual").copy()
    model.module.stages[0][0].conv1.weight.data *= 1e-3
    with pytest.raises(
        OperationError, match=r"would remove every weight of '.*'\. Largest possible: .*; or exclude"
    ) as error:
        pruned(model, sparsity=0.9999, scope=scope)
    largest = float(re.search(r"possible: ([\d.]+)", str(error.value))[1])
    found, _ = pruned(model, sparsity=largest, scope=scope)
    assert all(mask.any() for mask in found.masks.values())
    if scope == "global":
        assert "'stages.0.0.conv1.weight'" in str(error.value)
        with pytest.raises(OperationError):
            pruned(model, sparsity=largest + 2e-4)


def test_a_bias_may_lose_everything():
    found, _ = pruned(base("residual"), sparsity=0.5, include=["conv", "linear", "*.bias"])
    assert not all(mask.any() for name, mask in found.masks.items() if name.endswith("bias"))


def test_sparsity_one_is_refused():
    with pytest.raises(OperationError, match=re.escape("sparsity 1 would remove every weight of 'stem.0.weight'")):
        pruned(base("residual"), sparsity=1)


def test_a_broken_model_is_refused():
    model = base("residual").copy()
    model.module.classifier.weight.data[0, 0] = torch.nan
    with pytest.raises(OperationError, match=re.escape("'classifier.weight' has NaN")):
        pruned(model, sparsity=0.5)


def test_an_allocation_with_one_threshold_is_refused_when_planned():
    spec = OPERATIONS["magnitude_prune"]
    ancestry = Ancestry({}, "image-classification", ())
    reason = spec.refuse(ancestry, spec.check({"sparsity": 0.5, "allocation": "erk"}))
    assert (
        reason
        == "'allocation' divides a budget among layers and goes with 'scope: layer'; 'scope: global' has one threshold"
    )
    assert spec.refuse(ancestry, spec.check({"sparsity": 0.5, "allocation": "erk", "scope": "layer"})) is None


def constant(module):
    with torch.no_grad():
        module.weight.fill_(0.5)
    return TorchModel(module, bert().architecture)


def all_equal(left, right):
    return left.keys() == right.keys() and all(torch.equal(left[name], right[name]) for name in left)
