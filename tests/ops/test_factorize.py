import copy
import re

import numpy as np
import pytest
import torch
from torch import nn

from ops.core.errors import OperationError
from ops.core.model import Architecture
from ops.core.operation import OPERATIONS, Ancestry, TorchModel
from tests.ops.digits import apply, context, logits
from tests.ops.stored import base


def factorize(model, **params):
    ctx = context()
    return apply("factorize", model, ctx, **params), ctx.notes


def single(layer, shape):
    architecture = Architecture("single", "", {}, "image-classification", ("a",), {"x": ("float32", shape)})
    return TorchModel(nn.Sequential(layer).eval(), architecture)


def weight_of(factors):
    """The product of the factors, from what they do to unit inputs."""
    first = factors[0]
    if isinstance(first, nn.Linear):
        return (factors[1].weight @ first.weight).detach()
    if len(factors) == 2:
        return torch.einsum("orxy,ri->oixy", factors[1].weight[:, :, 0:1, 0:1], first.weight[:, :, 0, 0]).detach()
    core = torch.einsum("or,rsxy->osxy", factors[2].weight[:, :, 0, 0], factors[1].weight)
    return torch.einsum("osxy,si->oixy", core, first.weight[:, :, 0, 0]).detach()


@pytest.mark.parametrize("layer", [nn.Linear(24, 36), nn.Conv2d(24, 36, 1)], ids=["linear", "1x1"])
def test_a_matrix_is_cut_as_well_as_any_matrix_of_that_rank(layer):
    """Eckart and Young: what is lost are the smallest singular values."""
    shape = (24,) if isinstance(layer, nn.Linear) else (24, 4, 4)
    found, notes = factorize(single(layer, shape), ratio=0.5)
    rank = int(0.5 * 24 * 36 / (24 + 36))
    assert notes["achieved"]["0"]["ranks"] == [rank]
    original = layer.weight.detach().flatten(1)
    values = np.linalg.svd(original.numpy(), compute_uv=False).astype(np.float64)
    lost = float((weight_of(found.module[0]).flatten(1) - original).double().square().sum())
    assert lost == pytest.approx((values[rank:] ** 2).sum(), rel=1e-4)
    assert notes["achieved"]["0"]["energy"] == pytest.approx(1 - lost / (values**2).sum(), abs=1e-5)


@pytest.mark.parametrize(
    "where", [{}, {"stride": 2, "padding": 1}, {"dilation": 2, "padding": "same", "padding_mode": "reflect"}]
)
def test_a_convolution_of_low_rank_comes_back_exactly(where):
    torch.manual_seed(0)
    layer = nn.Conv2d(20, 30, 3, **where)
    with torch.no_grad():
        core = torch.randn(5, 4, 3, 3)
        layer.weight.copy_(torch.einsum("or,rsxy,si->oixy", torch.randn(30, 5), core, torch.randn(4, 20)))
    model = single(layer, (20, 9, 9))
    found, notes = factorize(model, energy=0.999999)
    assert notes["achieved"]["0"]["ranks"] == [4, 5]
    inputs = torch.randn(2, 20, 9, 9)
    with torch.no_grad():
        torch.testing.assert_close(found.module(inputs), model.module(inputs), rtol=1e-3, atol=1e-3)


def test_tucker_is_better_than_its_first_guess():
    """Alternating projections improve on the truncated unfoldings."""
    torch.manual_seed(0)
    layer = nn.Conv2d(16, 16, 3)
    found, notes = factorize(single(layer, (16, 8, 8)), ratio=0.4)
    inner, outer = notes["achieved"]["0"]["ranks"]
    weight = layer.weight.detach()
    left = torch.linalg.svd(weight.flatten(1))[0][:, :outer]
    right = torch.linalg.svd(weight.transpose(0, 1).flatten(1))[0][:, :inner]
    guess = torch.einsum("oixy,or,pr,is,js->pjxy", weight, left, left, right, right)
    lost = (weight_of(found.module[0]) - weight).square().sum()
    assert lost <= (guess - weight).square().sum()
    assert notes["achieved"]["0"]["energy"] == pytest.approx(1 - float(lost / weight.square().sum()), abs=1e-4)


@pytest.mark.parametrize("energy", [0.6, 0.9])
@pytest.mark.parametrize("net", ["residual", "transformer"])
def test_energy_is_a_promise(net, energy):
    found, notes = factorize(base(net), energy=energy)
    for name in notes["achieved"]:
        weight = base(net).module.get_submodule(name).weight.detach()
        lost = (weight_of(found.module.get_submodule(name)) - weight).square().sum() / weight.square().sum()
        assert 1 - float(lost) >= energy - 1e-5, name


def test_layers_that_would_not_shrink_stay_and_say_so():
    found, notes = factorize(base("depthwise"), energy=0.99)
    reasons = notes["unchanged"]
    assert reasons["stages.0.0.depthwise"] == "a grouped convolution (16 groups) is not one matrix"
    assert re.fullmatch(r"factors of rank \d+ would have \d+ weights instead of 320", reasons["classifier"])
    assert isinstance(found.module.classifier, nn.Linear)
    _, notes = factorize(base("residual"), ratio=0.1, include=["stem", "stages.1"])
    assert notes["unchanged"]["stem.0"] == "even factors of rank 1 would have more than 0.1 of its weights"


def test_nothing_to_replace_leaves_the_model_as_it_is():
    found, notes = factorize(base("depthwise"), energy=0.999)
    assert notes["achieved"] == {}
    assert found.edits == []
    np.testing.assert_array_equal(logits(found), logits(base("depthwise")))


def test_masks_of_replaced_layers_go_and_others_stay():
    pruned = apply("magnitude_prune", base("residual"), context(), sparsity=0.5, include=["conv", "linear", "*.bias"])
    found, notes = factorize(pruned, ratio=0.5, include=["stages.1", "head"])
    assert notes["masks dropped"] == [f"{name}.weight" for name in notes["achieved"]]
    assert "stages.0.0.conv1.weight" in found.masks
    assert torch.equal(found.masks["classifier.1.bias"], pruned.masks["classifier.bias"])


def test_factors_can_be_factorized_pruned_and_copied_again():
    once, _ = factorize(base("transformer"), ratio=0.8)
    twice, notes = factorize(once, ratio=0.5, include=["vit.layers.0.mlp.fc1.0"])
    assert list(notes["achieved"]) == ["vit.layers.0.mlp.fc1.0"]
    assert [edit["edit"] for edit in twice.edits] == ["factorize", "factorize"]
    pruned = apply("magnitude_prune", twice.copy(), context(), sparsity=0.5, include=["attention"])
    assert {name.rsplit(".", 2)[1] for name in pruned.masks} == {"0", "1"}, "the factors are still attention"


def test_networks_that_ask_their_layers_about_themselves():
    """MobileNetV2 reads strides, T5 the type of a weight."""
    import transformers

    mobile = transformers.MobileNetV2Config(num_channels=1, image_size=32, depth_multiplier=0.25, num_labels=10)
    architecture = Architecture(
        "mobile", "", {}, "image-classification", (), {"pixel_values": ("float32", (1, 32, 32))}
    )
    model = TorchModel(transformers.MobileNetV2ForImageClassification(mobile).eval(), architecture)
    assert factorize(model, ratio=0.6)[1]["achieved"]
    config = transformers.T5Config(
        vocab_size=50, d_model=16, d_kv=8, d_ff=32, num_layers=1, num_heads=2, decoder_start_token_id=0
    )
    tokens = {"input_ids": ("int64", (8,)), "attention_mask": ("int64", (8,))}
    architecture = Architecture("t5", "", {}, "question-answering", (), tokens)
    model = TorchModel(transformers.T5ForQuestionAnswering(config).eval(), architecture)
    assert len(factorize(model, ratio=0.6)[1]["achieved"]) == 17


def test_layers_that_the_network_reads_itself_are_left_alone_by_name():
    """torch's encoder hands the weights of all its layers to one kernel."""
    module = nn.Sequential(
        nn.Conv2d(1, 8, 8),
        nn.Flatten(),
        nn.Unflatten(1, (1, 8)),
        nn.TransformerEncoderLayer(8, 2, 64, batch_first=True),
        nn.Flatten(),
        nn.Linear(8, 64),
    )
    model = TorchModel(module.eval(), base("residual").architecture)
    found, notes = factorize(model, ratio=0.5)
    assert list(notes["achieved"]) == ["5"]
    for name in ("3.linear1", "3.linear2"):
        assert "the network reads its weight past the layer" in notes["unchanged"][name]
    x = torch.randn(3, 1, 8, 8)
    whole = copy.deepcopy(module)
    whole[5].weight.data = weight_of(found.module[5])
    with torch.no_grad():
        np.testing.assert_allclose(found.module(x), whole.eval()(x), rtol=1e-4, atol=1e-5)


def test_ratio_and_energy_exclude_each_other():
    spec = OPERATIONS["factorize"]
    ancestry = Ancestry({}, "image-classification", ())
    message = (
        "give one of `ratio` (share of each layer's weights to keep) and `energy` (share of their squares to keep)"
    )
    assert spec.refuse(ancestry, spec.check({})) == message
    assert spec.refuse(ancestry, spec.check({"ratio": 0.5, "energy": 0.9})) == message
    assert spec.refuse(ancestry, spec.check({"energy": 0.9})) is None


def test_a_broken_model_is_refused():
    model = base("residual").copy()
    model.module.classifier.weight.data[0, 0] = torch.nan
    with pytest.raises(OperationError, match=re.escape("'classifier.weight' has NaN or infinity")):
        factorize(model, ratio=0.5)


class Listed(nn.Module):
    """Runs its layers out of a list of its own, which holds the layers that it was built with."""

    def __init__(self):
        super().__init__()
        self.a, self.b, self.head = nn.Linear(64, 32), nn.Linear(32, 32), nn.Linear(32, 10)
        self.steps = [self.a, self.b]

    def forward(self, x):
        x = x.flatten(1)
        for step in self.steps:
            x = torch.relu(step(x))
        return self.head(x)


def test_layers_that_are_called_past_their_names_are_left_alone():
    model = TorchModel(Listed().eval(), base("residual").architecture)
    found, notes = factorize(model, ratio=0.5)
    assert list(notes["achieved"]) == ["head"]
    for name in ("a", "b"):
        assert "the network calls it past its name" in notes["unchanged"][name]
    x = torch.randn(3, 1, 8, 8)
    whole = copy.deepcopy(model.module)
    whole.head.weight.data = weight_of(found.module.head)
    with torch.no_grad():
        np.testing.assert_allclose(found.module(x), whole(x), rtol=1e-4, atol=1e-5)
