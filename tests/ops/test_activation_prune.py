import re
from itertools import chain, pairwise

import pytest
import torch
from torch import nn
from torch.nn import functional

from ops.calibration.layer_inputs import waves
from ops.core.errors import OperationError
from ops.core.forward import forward, tensors
from ops.core.operation import TorchModel
from ops.prune.weights.layerwise import Rows
from ops.prune.weights.sparsegpt import _inverse_factor, sparsegpt
from tests.ops.digits import Changed, apply, bert, context, digits, with_nan
from tests.ops.stored import base


class Pieces(nn.Module):
    """Layers of each form, one after the other, so that inputs are easily found by hand."""

    def __init__(self):
        super().__init__()
        self.plain = nn.Conv2d(1, 8, 3, padding=1)
        self.grouped = nn.Conv2d(8, 8, (3, 2), stride=2, padding="valid", groups=2)
        self.even = nn.Conv2d(8, 8, 2, padding="same", padding_mode="reflect", groups=8)
        self.linear = nn.Linear(8 * 3 * 3, 10)
        self.unused = nn.Linear(3, 3)

    def forward(self, pixel_values):
        hidden = self.even(self.grouped(self.plain(pixel_values).relu()).relu())
        return self.linear(functional.adaptive_avg_pool2d(hidden, 3).flatten(1))


def pieces():
    torch.manual_seed(0)
    return TorchModel(Pieces().eval(), base("residual").architecture)


def prune(model, **params):
    ctx = context()
    return apply("activation_prune", model, ctx, samples=40, **params), ctx.notes


def inputs_of(model, name):
    """All inputs of a layer over the first 40 calibration instances."""
    seen = []
    handle = model.module.get_submodule(name).register_forward_pre_hook(lambda _, given: seen.append(given[0].detach()))
    for batch in digits().batches("calibration", batch_size=40, samples=40):
        forward(model.module, tensors(batch.inputs), model.architecture.task)
    handle.remove()
    return torch.cat(seen)


def as_wanda(layer, values, sparsity):
    """Which weights stay, from the definition: the patches of each group are cut out one position at a time."""
    if isinstance(layer, nn.Linear):
        norms = values.flatten(0, -2).norm(dim=0)[None].expand_as(layer.weight)
    else:
        rows = []
        for output in range(layer.out_channels):
            group = output // (layer.out_channels // layer.groups)
            width = layer.in_channels // layer.groups
            probe = nn.Conv2d(
                width, width * layer.kernel_size[0] * layer.kernel_size[1], layer.kernel_size, layer.stride,
                layer.padding, layer.dilation, padding_mode=layer.padding_mode, bias=False,
            )  # fmt: skip
            identity = torch.eye(probe.out_channels).view_as(probe.weight)
            probe.weight = nn.Parameter(identity)
            patches = probe(values[:, group * width : (group + 1) * width])
            rows.append(patches.transpose(0, 1).flatten(1).norm(dim=1))
        norms = torch.stack(rows).view_as(layer.weight)
    scores = (layer.weight.abs() * norms).flatten(1)
    total = round(sparsity * scores.numel())
    ends = [row * total // len(scores) for row in range(len(scores) + 1)]
    keep = torch.ones_like(scores, dtype=torch.bool)
    for row, count in enumerate(end - start for start, end in pairwise(ends)):
        keep[row, scores[row].argsort()[:count]] = False
    return keep.view_as(layer.weight)


@pytest.mark.parametrize("name", ["plain", "grouped", "even", "linear"])
def test_wanda_is_its_definition(name):
    model = pieces()
    found, _ = prune(model, sparsity=0.45, include=[name])
    with torch.no_grad():
        expected = as_wanda(model.module.get_submodule(name), inputs_of(model, name), 0.45)
    assert torch.equal(found.masks[f"{name}.weight"], expected)


def test_each_layer_sees_what_the_pruned_ones_before_it_give():
    together, _ = prune(pieces(), sparsity=0.5, include=["plain", "linear"])
    first, _ = prune(pieces(), sparsity=0.5, include=["plain"])
    second, _ = prune(first, sparsity=0.5, include=["linear"])
    assert all(torch.equal(together.masks[name], second.masks[name]) for name in second.masks)
    alone, _ = prune(pieces(), sparsity=0.5, include=["linear"])
    assert not torch.equal(alone.masks["linear.weight"], together.masks["linear.weight"])


@pytest.mark.parametrize("method", ["wanda", "sparsegpt"])
@pytest.mark.parametrize("sparsity", [0.3, 0.55])
def test_layers_are_exact_also_where_rows_are_short(method, sparsity):
    found, _ = prune(base("depthwise"), sparsity=sparsity, method=method)
    for name, mask in found.masks.items():
        assert int((~mask).sum()) == round(sparsity * mask.numel()), name


def naive_sparsegpt(weights, hessian, keep):
    """Column by column with the full inverse of what is left: the algorithm before it was made fast."""
    weights = weights.clone().double()
    for column in range(weights.shape[1]):
        inverse = torch.linalg.inv(hessian[column:, column:].double())
        error = weights[:, column] * ~keep[:, column] / inverse[0, 0]
        weights[:, column:] -= error[:, None] * inverse[0][None]
    return (weights * keep).float()


def test_sparsegpt_corrects_as_with_explicit_inverses():
    torch.manual_seed(0)
    columns = torch.randn(1, 24, 200) * torch.rand(24, 1) * 3
    weights = torch.randn(1, 10, 24)
    corrected, hessian = weights.clone(), columns @ columns.mT
    rows = Rows("layer", corrected, torch.ones_like(weights, dtype=torch.bool), hessian.clone())
    keep = sparsegpt(rows, 0.5, dampening=0.01, block_size=7)
    damped = hessian[0] + 0.01 * hessian[0].diagonal().mean() * torch.eye(24)
    expected = naive_sparsegpt(weights[0], damped, keep[0])
    torch.testing.assert_close(corrected[0] * keep[0], expected, rtol=1e-3, atol=1e-4)


def test_singular_second_moments_are_damped_until_they_can_be_inverted():
    columns = torch.randn(1, 300, 2, generator=torch.Generator().manual_seed(0)) * 1e4  # rank 2 of 300
    hessian = columns @ columns.mT
    factor = _inverse_factor(hessian.clone(), torch.zeros(1, 300, dtype=torch.bool), 1e-7, "layer")[0].triu()
    added = 1e-7 * hessian[0].diagonal().mean() * torch.tensor([1, 11, 111, 1111])
    inverses = [torch.linalg.inv(hessian[0].double() + part * torch.eye(300)) for part in added]
    found = (factor.T @ factor).double()
    assert min(float((found - inverse).norm() / inverse.norm()) for inverse in inverses) < 0.3  # of float32
    with pytest.raises(
        OperationError, match="Layer 'layer': the second moments of its inputs cannot be inverted; raise"
    ):
        _inverse_factor(-hessian, torch.zeros(1, 300, dtype=torch.bool), 1e-7, "layer")


@pytest.mark.parametrize("net", ["residual", "transformer"])
def test_correction_brings_outputs_closer_than_choice_alone(net):
    def distance(model):
        batch = next(iter(digits().batches("evaluation", batch_size=200)))
        with torch.no_grad():
            ours, theirs = (
                forward(m.module, tensors(batch.inputs), m.architecture.task)["logits"] for m in (model, base(net))
            )
        return float((ours - theirs).square().mean())

    corrected, _ = prune(base(net), sparsity=0.6, method="sparsegpt")
    assert distance(corrected) < 0.7 * distance(prune(base(net), sparsity=0.6)[0])
    assert distance(corrected) < 0.7 * distance(
        apply("magnitude_prune", base(net), context(), sparsity=0.6, scope="layer")
    )


@pytest.mark.parametrize("method", ["wanda", "sparsegpt"])
def test_earlier_zeros_count_and_stay(method):
    first = apply("magnitude_prune", base("residual"), context(), sparsity=0.4)
    second, notes = prune(first, sparsity=0.6, method=method)
    assert not any((second.masks[name] & ~mask).any() for name, mask in first.masks.items())
    wanted = {name: max(round(0.6 * mask.numel()), int((~mask).sum())) for name, mask in first.masks.items()}
    if method == "sparsegpt":
        assert {name: int((~mask).sum()) for name, mask in second.masks.items()} == wanted
    assert notes["achieved"]["zeros"] >= sum(wanted.values())


def test_an_input_that_is_always_zero_goes_first():
    model = pieces()
    with torch.no_grad():
        model.module.plain.weight[3], model.module.plain.bias[3] = 0, -1  # relu: the fourth channel is dead
    for method in ("wanda", "sparsegpt"):
        found, _ = prune(model, sparsity=0.3, method=method, include=["grouped"])
        assert not found.masks["grouped.weight"][:4, 3].any()


def test_what_cannot_be_pruned_this_way_is_noted():
    _, notes = prune(pieces(), sparsity=0.5)
    assert notes["unchanged"] == {"unused": "the network never calls it"}
    model = TorchModel(nn.Sequential(nn.Flatten(2), nn.Conv1d(1, 2, 1)), base("residual").architecture)
    message = "None of the chosen layers can be pruned this way: '1': Conv1d is neither Linear nor Conv2d"
    with pytest.raises(OperationError, match=re.escape(message)):
        prune(model, sparsity=0.5)


def test_bad_calibration_data_is_refused():
    with pytest.raises(OperationError, match="The calibration split is empty"):
        apply("activation_prune", base("residual"), context(data=Changed(empty=("calibration",))), sparsity=0.5)
    data = Changed(lambda split, batch, _: with_nan(batch) if len(batch) > 1 else batch)
    with pytest.raises(OperationError, match="input 'pixel_values' has NaN or infinite values"):
        apply("activation_prune", base("residual"), context(data=data), sparsity=0.5)


def test_activations_that_overflow_are_refused_by_the_layer_that_sees_them():
    model = pieces()
    model.module.plain.weight.data.fill_(torch.inf)
    with pytest.raises(
        OperationError, match=re.escape("Layer 'grouped': its input has NaN or infinity on the calibration split")
    ):
        prune(model, sparsity=0.5, include=["grouped"])


def test_sparsity_one_is_refused():
    with pytest.raises(
        OperationError, match=re.escape("would remove every weight of 'plain.weight'. Largest possible: 0.9861")
    ):
        prune(pieces(), sparsity=1.0)


def test_waves_are_the_blocks_of_the_network_within_the_memory():
    layers = {name: part for name, part in bert().module.named_modules() if isinstance(part, nn.Linear)}
    order = list(layers)
    whole = [list(wave) for wave in waves(order, layers, largest=1 << 30)]
    assert [len(wave) for wave in whole] == [6, 6, 1, 1]
    small = [list(wave) for wave in waves(order, layers, largest=4 * 64 * 64 * 2)]
    assert max(map(len, small)) == 2
    assert list(chain(*small)) == order
