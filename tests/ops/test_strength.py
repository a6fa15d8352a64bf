"""A strength for each layer."""

import itertools
import math

import pytest
import torch

from ops.core.errors import BadParamsError, OperationError
from ops.core.network.sharing import same_names
from ops.core.operation import OPERATIONS, Ancestry
from ops.core.selector import choose_layers, choose_parameters
from ops.core.strength import strengths
from pipeline.core.keys import digest
from tests.ops.digits import apply, context
from tests.ops.shared_nets import network
from tests.ops.stored import base

LAYERS = ["stem.0", "stages.0.0.conv1", "stages.0.0.conv2", "stages.1.0.conv1", "stages.1.0.conv2",
          "stages.1.0.shortcut.0", "classifier"]  # fmt: skip
WEIGHTS = [f"{name}.weight" for name in LAYERS]


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (0.3, [0.3] * 7),
        ({"default": 0.5, "stages.1.*": 0.8, "head": 0.1}, [0.5, 0.5, 0.5, 0.8, 0.8, 0.8, 0.1]),
        ({"conv": 0.2, "default": 0.5}, [0.2] * 6 + [0.5]),
        ({"conv": 0.2, "Conv2d": 0.3, "linear": 0.4}, [0.3] * 6 + [0.4]),  # a class is nearer than a group
        ({"Conv2d": 0.3, "stages.*": 0.6, "stages.1.0.*": 0.7, "default": 0}, [0.3, 0.6, 0.6, 0.7, 0.7, 0.7, None]),
        ({"default": 0.1, "stem.0": 0.5, "stem.0.weight": 0.8}, [0.8] + [0.1] * 6),
        (
            {"*.conv1": 0.4, "stages.1.0.conv1": 0.9, "stages.0.0.conv1.weight": 0.1},
            [None, 0.1, None, 0.9] + [None] * 3,
        ),
    ],
)
def test_the_nearest_pattern_decides_in_any_order(value, expected):
    model = base("residual")
    selection = choose_parameters(model)
    assert list(selection) == WEIGHTS
    orders = [dict(order) for order in itertools.permutations(value.items())] if isinstance(value, dict) else [value]
    for order in orders:
        found, reasons = strengths(model, selection, order)
        assert [found.get(name) for name in WEIGHTS] == expected
        assert sorted(reasons) == sorted(name for name, one in zip(WEIGHTS, expected, strict=True) if one is None)


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ({"stages.3.*": 0.5}, r"strength 'stages.3.\*' matches no layer. Did you mean 'stages"),
        ({"default": 0.5, "Conv1d": 0.2}, "strength 'Conv1d' matches no layer. Did you mean 'Conv2d'"),
        ({"default": 0.5, "norm": 0.2}, "'norm' reaches none of the chosen layers; name them with 'include' too"),
        ({"*.conv1": 0.2, "stages*": 0.3}, "give the weight of 'stages.0.0.conv1.weight' different strengths; write"),
        ({"default": 0}, "No layer is left: every strength is 0"),
    ],
)
def test_what_cannot_be_meant_is_refused(value, message):
    model = base("residual")
    with pytest.raises(OperationError, match=message):
        strengths(model, choose_parameters(model), value)


def test_zero_for_what_is_not_chosen_is_no_mistake():
    model = base("residual")
    found, _ = strengths(model, choose_parameters(model), {"default": 0.5, "norm": 0})
    assert found == dict.fromkeys(WEIGHTS, 0.5)


def test_a_shared_weight_is_reached_by_the_name_of_any_of_its_layers():
    model = network("Tied")
    first, *others = same_names(model.module)[0]
    for name in (first, *others):
        found, _ = strengths(model, choose_parameters(model), {"default": 0.5, name.removesuffix(".weight"): 0.2})
        assert found[first] == 0.2


@pytest.mark.parametrize("op", ["magnitude_prune", "activation_prune"])
def test_one_weight_has_one_strength_whatever_the_layers_that_share_it_are_given(op):
    """`activation_prune` took that of the first layer and said nothing of the other's."""
    scope = {} if op == "activation_prune" else {"scope": "layer"}
    with pytest.raises(OperationError, match=r"give the weight of 'a.*' different strengths; write one for it"):
        apply(op, network("Tied"), context(), sparsity={"a": 0.2, "b": 0.8}, **scope)
    found = apply(op, network("Tied"), context(), sparsity={"b": 0.8}, **scope)
    assert (found.module.b.weight == 0).float().mean() == pytest.approx(0.8, abs=1e-3)


SPARSITY = {"default": 0.5, "stages.1.*": 0.8, "head": 0, "stem.0": 0.25}


@pytest.mark.parametrize("op", ["magnitude_prune", "gradient_prune", "activation_prune"])
def test_each_layer_is_as_sparse_as_was_asked_and_pruned_as_it_would_be_alone(op):
    scope = {} if op == "activation_prune" else {"scope": "layer"}
    model, ctx = base("residual"), context()
    found = apply(op, model, ctx, sparsity=SPARSITY, **scope)
    parameters = dict(found.module.named_parameters())
    zeros = {name: int((parameters[name] == 0).sum()) / parameters[name].numel() for name in WEIGHTS}
    expected = [0.25, 0.5, 0.5, 0.8, 0.8, 0.8, 0.0]
    for name, share in zip(WEIGHTS, expected, strict=True):
        assert abs(zeros[name] - share) * parameters[name].numel() <= 1, name
    unchanged = [reason for name, reason in ctx.notes["unchanged"].items() if name.startswith("classifier")]
    assert unchanged == ["the strength given for it is 0 ('head')"]
    if op != "activation_prune":  # there, a layer's inputs depend on the layers before
        alone = apply(op, model, context(), sparsity=0.8, scope="layer", include=["stages.1.0.conv2"])
        assert torch.equal(alone.masks["stages.1.0.conv2.weight"], found.masks["stages.1.0.conv2.weight"])


def test_groups_of_channels_lose_the_smallest_ratio_of_their_layers():
    model, ctx = base("residual"), context()
    ratios = {"default": 0.25, "stages.1.*": 0.5, "stages.1.0.shortcut.0": 0.25}
    found = apply("channel_prune", model, ctx, ratio=ratios, round_to=1)
    widths = {name: layer.out_channels for name, layer in choose_layers(found, ["conv"]).items()}
    assert widths["stages.0.0.conv1"] == 12
    assert widths["stages.1.0.conv1"] == 16
    assert widths["stages.1.0.conv2"] == widths["stages.1.0.shortcut.0"] == 24
    [given] = ctx.notes["smallest ratio of several"].values()
    assert given == [0.25, 0.5]
    assert "because" not in ctx.notes["achieved"]


def test_a_layer_without_a_ratio_keeps_its_channels():
    model, ctx = base("residual"), context()
    found = apply("channel_prune", model, ctx, ratio={"stages.1.0.conv1": 0.5}, round_to=1)
    before, after = (choose_layers(net, ["conv"]) for net in (model, found))
    narrowed = [name for name in before if after[name].out_channels < before[name].out_channels]
    assert narrowed == ["stages.1.0.conv1"]
    assert ctx.notes["unchanged"]["stages.0.0.conv1"] == "no strength is given for it"


def test_each_tensor_has_as_many_values_as_its_bits():
    model, ctx = base("residual"), context()
    found = apply("palettize", model, ctx, bits={"default": 2, "head": 4, "stem.0": 0})
    parameters = dict(found.module.named_parameters())
    counts = {name: len(parameters[name].unique()) for name in WEIGHTS}
    assert [counts[name] for name in WEIGHTS[1:]] == [4] * 5 + [16]
    assert torch.equal(parameters["stem.0.weight"], model.module.stem[0].weight)
    sizes = {name: parameters[name].numel() for name in WEIGHTS[1:]}
    indices = sum(size * (4 if name == "classifier.weight" else 2) for name, size in sizes.items())
    achieved = ctx.notes["achieved"]
    assert achieved["bits"] == indices / sum(sizes.values())
    assert achieved["ideal_bytes"] == math.ceil(indices / 8) + (5 * 4 + 16) * 4


def test_each_layer_keeps_its_share_of_energy():
    model = base("residual")
    found = apply("factorize", model, context(), energy={"stages.1.0.conv2": 0.6, "stages.0.0.conv1": 0.9})
    for name, share in (("stages.1.0.conv2", 0.6), ("stages.0.0.conv1", 0.9)):
        alone = apply("factorize", model, context(), energy=share, include=[name])
        ranks = [[tuple(p.shape) for p in net.module.get_submodule(name).parameters()] for net in (found, alone)]
        assert ranks[0] == ranks[1]
    assert torch.equal(found.module.stem[0].weight, model.module.stem[0].weight)


@pytest.mark.parametrize(
    ("op", "params", "message"),
    [
        ("magnitude_prune", {"sparsity": {"head": 0.5}}, "goes with 'scope: layer'; 'scope: global' has one threshold"),
        ("gradient_prune", {"sparsity": {"head": 0.5}}, "goes with 'scope: layer'; 'scope: global' has one threshold"),
        (
            "magnitude_prune",
            {"sparsity": {"head": 0.5}, "scope": "layer", "allocation": "erk"},
            "leave one of them out",
        ),
        (
            "channel_prune",
            {"ratio": {"conv": 0.5}, "scope": "global"},
            "a ratio for each layer goes with 'scope: layer'",
        ),
        ("channel_prune", {"ratio": {"conv": 0.5, "default": 0.95}}, "ratio 0.95 is above max_ratio 0.9"),
        ("palettize", {"bits": 0}, "bits: 1 to 8; 0 stands only in a mapping"),
    ],
)
def test_what_does_not_go_together_is_refused_when_it_is_planned(op, params, message):
    spec = OPERATIONS[op]
    assert message in spec.refuse(Ancestry({}, "image-classification", ()), spec.check(params))


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"sparsity": 2}, r"sparsity: Input should be less than or equal to 1 \(got 2\)"),
        ({"sparsity": {"head": 2}}, r"sparsity.head: Input should be less than or equal to 1 \(got 2\)"),
        ({"sparsity": {}}, r"sparsity: Dictionary should have at least 1 item after validation, not 0 \(got {}\)"),
        ({"sparsity": [0.5]}, r"sparsity: Input should be a valid number \(got \[0.5\]\)"),
    ],
)
def test_a_wrong_value_is_named_by_its_layer(params, message):
    with pytest.raises(BadParamsError, match=message):
        OPERATIONS["magnitude_prune"].check(params)


def test_one_value_is_stored_as_it_always_was_and_the_order_of_a_mapping_is_no_other_model():
    check = OPERATIONS["magnitude_prune"].check
    assert check({"sparsity": 0.5})["sparsity"] == 0.5
    one, other = (check({"sparsity": dict(pairs)}) for pairs in itertools.permutations([("head", 0.1), ("conv", 0.2)]))
    assert digest(one) == digest(other)


def test_n_of_m_by_layer_keeps_as_many_of_each_m():
    ctx = context()
    found = apply("nm_prune", base("residual"), ctx, n={"default": 2, "stages.1.*": 1, "stages.0.0.conv1": 0}, m=4)
    kept = {name: (found.module.get_submodule(name).weight != 0) for name in LAYERS[1:-1]}
    most = {
        name: int(each.reshape(each.shape[0], -1, 4, *each.shape[2:]).sum(dim=2).max()) for name, each in kept.items()
    }
    assert most == dict(zip(LAYERS[1:-1], [4, 2, 1, 1, 1], strict=True))
    assert "0 ('stages.0.0.conv1')" in ctx.notes["unchanged"]["stages.0.0.conv1"]
