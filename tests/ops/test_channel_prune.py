import copy
import re

import numpy as np
import pytest
import torch
import torch_pruning
from torch import nn

from ops.core.edits import replay
from ops.core.errors import OperationError
from ops.core.forward import example_inputs, forward
from ops.core.model import Architecture
from ops.core.operation import OPERATIONS, Ancestry, TorchModel
from tests.ops.digits import apply, bert, context, logits
from tests.ops.resnet18 import resnet18
from tests.ops.stored import base


def prune(model, **params):
    ctx = context()
    return apply("channel_prune", model, ctx, **params), ctx.notes


def picture_net(module, side=16, channels=3):
    inputs = {"pixel_values": ("float32", (channels, side, side))}
    return TorchModel(module.eval(), Architecture(type(module).__name__, "", {}, "image-classification", (), inputs))


def directly(model, *, head, **options):
    """What Torch-Pruning makes of a copy, called as its documentation says."""
    module = copy.deepcopy(model.module)
    pruner = torch_pruning.pruner.BasePruner(
        module, example_inputs(model.architecture, batch=1)["pixel_values"],
        importance=torch_pruning.importance.GroupMagnitudeImportance(p=2),
        ignored_layers=[module.get_submodule(head)],
        forward_fn=lambda net, inputs: forward(net, {"pixel_values": inputs}, model.architecture.task)["logits"],
        in_channel_groups={}, out_channel_groups={}, num_heads={}, **options,
    )  # fmt: skip
    for _ in range(options.get("iterative_steps", 1)):
        pruner.step()
    return module


def cost(module, model):
    return torch_pruning.utils.count_ops_and_params(module, example_inputs(model.architecture, batch=1)["pixel_values"])


def test_resnet18_at_one_half_has_the_operations_and_weights_that_torch_pruning_prints():
    model = resnet18()
    found, notes = prune(model, ratio=0.5, round_to=1)
    assert cost(model.module, model) == (1_822_177_768, 11_689_512)
    assert cost(found.module, model) == (487_202_536, 3_055_880)
    assert cost(directly(model, head="fc", pruning_ratio=0.5), model) == (487_202_536, 3_055_880)
    assert notes["achieved"]["parameters"] == [11_689_512, 3_055_880]


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        ({"round_to": 1}, {}),
        ({"round_to": 8}, {"round_to": 8}),
        ({"round_to": 16, "scope": "global"}, {"round_to": 16, "global_pruning": True}),
        ({"round_to": 1, "scope": "isomorphic"}, {"global_pruning": True, "isomorphic": True}),
        ({"round_to": 1, "iterations": 3}, {"iterative_steps": 3}),
    ],
)
def test_every_bit_is_that_of_torch_pruning(ours, theirs):
    model = resnet18(side=32)
    found, _ = prune(model, ratio=0.5, max_ratio=1.0, **ours)
    expected = directly(model, head="fc", pruning_ratio=0.5, **theirs)
    assert cost(found.module, model) == cost(expected, model)
    state = expected.state_dict()
    assert all(torch.equal(tensor, state[name]) for name, tensor in found.module.state_dict().items())


def test_depthwise_convolutions_cost_what_torch_pruning_leaves():
    import transformers

    config = transformers.MobileNetV2Config(num_channels=1, image_size=32, depth_multiplier=0.5, num_labels=10)
    model = picture_net(transformers.MobileNetV2ForImageClassification(config), side=32, channels=1)
    found, _ = prune(model, ratio=0.5)
    expected = directly(model, head="classifier", pruning_ratio=0.5, round_to=8)
    assert cost(found.module, model) == cost(expected, model)


def test_the_edit_says_which_channels_stay_and_rebuilds_the_network():
    pruned = apply("magnitude_prune", base("residual"), context(), sparsity=0.4)
    found, _ = prune(pruned, ratio=0.5)
    (edit,) = found.edits
    for name, sides in edit["layers"].items():
        before, after = pruned.module.get_submodule(name), found.module.get_submodule(name)
        weight = before.weight[sides.get("out", slice(None))]
        weight = weight[:, sides.get("in", slice(None))] if weight.dim() > 1 else weight
        assert torch.equal(weight, after.weight)
        if f"{name}.weight" in pruned.masks:
            mask = pruned.masks[f"{name}.weight"][sides.get("out", slice(None))][:, sides.get("in", slice(None))]
            assert torch.equal(found.masks[f"{name}.weight"], mask)
    rebuilt = replay(copy.deepcopy(base("residual").module), found.architecture, found.edits)
    rebuilt.load_state_dict(found.module.state_dict())
    np.testing.assert_array_equal(logits(TorchModel(rebuilt, found.architecture)), logits(found))


def test_steps_compose_to_one_edit():
    found, _ = prune(base("residual"), ratio=0.5, iterations=3, round_to=1)
    (edit,) = found.edits
    for name, sides in edit["layers"].items():
        before, after = base("residual").module.get_submodule(name), found.module.get_submodule(name)
        weight = before.weight[sides.get("out", slice(None))]
        assert torch.equal(weight[:, sides["in"]] if "in" in sides else weight, after.weight)


def test_what_is_left_of_a_narrowed_layer_can_be_restored():
    once, _ = prune(base("residual"), ratio=0.25, round_to=4)
    twice, _ = prune(once, ratio=0.5, round_to=4)
    spoiled = apply("magnitude_prune", twice, context(), sparsity=0.5, include=["norm", "conv"], scope="layer")
    found = apply("restore", spoiled, context(base=base("residual")), include=["norm", "stages.1"])
    assert all(
        torch.equal(tensor, twice.module.state_dict()[name])
        for name, tensor in found.module.state_dict().items()
        if "norm" in name or "stages.1" in name
    )
    assert "stages.0.0.conv1.weight" in found.masks
    assert "stages.1.0.conv1.weight" not in found.masks


@pytest.mark.parametrize("net", ["residual", "transformer"])
def test_a_step_after_another_cuts_from_what_is_left(net):
    once, _ = prune(base(net), ratio=0.25, round_to=4)
    twice, _ = prune(once, ratio=0.5, round_to=4)
    assert [edit["edit"] for edit in twice.edits] == ["channels", "channels"]
    rebuilt = replay(copy.deepcopy(base(net).module), twice.architecture, twice.edits)
    rebuilt.load_state_dict(twice.module.state_dict())
    np.testing.assert_array_equal(logits(TorchModel(rebuilt.eval(), twice.architecture)), logits(twice))


def test_heads_go_whole_and_the_width_of_a_transformer_stays():
    found, notes = prune(bert(), ratio=0.5)
    attention = found.module.bert.encoder.layer[0].attention.self
    assert attention.query.out_features == attention.value.out_features == 32
    assert (attention.num_attention_heads, attention.all_head_size, attention.attention_head_size) == (2, 32, 16)
    kept = np.array(found.edits[0]["layers"]["bert.encoder.layer.0.attention.self.key"]["out"]).reshape(2, 16)
    assert ((kept // 16) == (kept // 16)[:, :1]).all()
    assert found.module.bert.encoder.layer[0].intermediate.dense.out_features == 64
    assert found.module.bert.embeddings.word_embeddings.embedding_dim == 64
    reasons = str(notes["unchanged"])
    assert re.search(
        r"it shares its channels with 'bert.embeddings.\w+', which is not among the chosen layers", reasons
    )


def test_the_width_of_a_transformer_goes_when_embeddings_are_asked_for():
    found, _ = prune(bert(), ratio=0.5, include=["linear", "embedding"])
    assert found.module.bert.embeddings.word_embeddings.embedding_dim == 32
    assert found.module.bert.encoder.layer[1].output.LayerNorm.normalized_shape == (32,)


def test_heads_that_share_position_biases_stay():
    import transformers

    config = transformers.T5Config(
        vocab_size=50, d_model=32, d_kv=8, d_ff=64, num_layers=1, num_heads=4, decoder_start_token_id=0
    )
    tokens = {"input_ids": ("int64", (8,)), "attention_mask": ("int64", (8,))}
    module = transformers.T5ForQuestionAnswering(config).eval()
    found, notes = prune(TorchModel(module, Architecture("t5", "", {}, "question-answering", (), tokens)), ratio=0.5)
    assert found.module.encoder.block[0].layer[1].DenseReluDense.wi.out_features == 32
    assert "its attention heads share position biases with other layers" in notes["unchanged"].values()


def test_excluded_outputs_stay_and_groups_stay_together():
    found, notes = prune(base("residual"), ratio=0.5, exclude=["stages.1.0.shortcut"])
    assert found.module.stages[1][0].conv2.out_channels == 32
    assert found.module.stages[1][0].conv1.out_channels == 16
    assert notes["unchanged"]["stages.1.0.shortcut.0"] == "it is not among the chosen layers"
    _, notes = prune(base("residual"), ratio=0.5, exclude=["stages.1.0.conv2"])
    reason = "it shares its channels with 'stages.1.0.conv2', which is not among the chosen layers"
    assert notes["unchanged"]["stages.1.0.shortcut.0"] == reason
    assert found.module.classifier.out_features == 10


class Grouped(nn.Module):
    def __init__(self):
        super().__init__()
        self.first, self.norm = nn.Conv2d(3, 32, 3, padding=1), nn.GroupNorm(4, 32)
        self.second, self.slope = nn.Conv2d(32, 64, 3, padding=1, groups=4), nn.PReLU(64)
        self.pool, self.head = nn.AdaptiveAvgPool2d(2), nn.Linear(64 * 4, 5)

    def forward(self, x):
        return self.head(self.pool(self.slope(self.second(self.norm(self.first(x))))).flatten(1))


def test_grouped_convolutions_keep_the_same_channels_in_each_group():
    found, _ = prune(picture_net(Grouped()), ratio=0.5)
    layers = found.edits[0]["layers"]
    assert found.module.second.weight.shape == (32, 4, 3, 3)
    assert found.module.head.in_features == 32 * 4
    inside = np.array(layers["second"]["in"]).reshape(4, 4) % 8
    assert (inside == inside[0]).all()
    outside = np.array(layers["second"]["out"]).reshape(4, 8) % 16
    assert (outside == outside[0]).all()


class Reversed(nn.Module):
    """The tracer takes the flip of the channels for an operation that leaves them in their places."""

    def __init__(self):
        super().__init__()
        self.first, self.second, self.head = nn.Conv2d(3, 16, 3), nn.Conv2d(16, 16, 3), nn.Linear(16, 5)

    def forward(self, x):
        return self.head(self.second(self.first(x).relu().flip(1)).mean(dim=(2, 3)))


class Shuffled(Reversed):
    def forward(self, x):
        halves = self.first(x).chunk(2, dim=1)
        mixed = torch.stack(halves, dim=2).flatten(1, 2)
        return self.head(self.second(mixed).mean(dim=(2, 3)))


class Untraceable(Reversed):
    def forward(self, x):
        return super().forward(x).detach()


@pytest.mark.parametrize(
    ("net", "message"),
    [
        (
            Untraceable,
            "'Untraceable': Torch-Pruning cannot follow how this architecture uses its channels (it finds no",
        ),
    ],
)
def test_an_architecture_that_cannot_be_followed_is_refused_by_name(net, message):
    torch.manual_seed(0)
    model = picture_net(net())
    before = {name: tensor.clone() for name, tensor in model.module.state_dict().items()}
    with pytest.raises(OperationError, match=re.escape(message)):
        prune(model, ratio=0.25, round_to=1)
    assert all(torch.equal(tensor, model.module.state_dict()[name]) for name, tensor in before.items())
    assert all(p.requires_grad and p.grad is None for p in model.module.parameters())


def test_channels_whose_order_the_tracer_misread_stay_with_the_reason():
    torch.manual_seed(0)
    found, notes = prune(picture_net(Reversed()), ratio=0.25, round_to=1)
    assert (found.module.first.out_channels, found.module.second.out_channels) == (16, 12)
    assert notes["unchanged"]["first"].startswith(
        "the tracer misread how the network uses these channels: cut alone, 'logits' differs by"
    )


def test_channels_that_the_tracer_confuses_stay():
    found, notes = prune(picture_net(Shuffled()), ratio=0.25, round_to=1)
    assert notes["unchanged"]["first"] == "the tracer cannot tell which channels of 'first' go with it"
    assert (found.module.first.out_channels, found.module.second.out_channels) == (16, 12)


def test_a_tracer_that_fails_is_refused_with_its_reason():
    import transformers

    config = transformers.GPT2Config(
        vocab_size=9, n_embd=8, n_layer=1, n_head=2, pad_token_id=0, bos_token_id=1, eos_token_id=2
    )
    tokens = {"input_ids": ("int64", (4,)), "attention_mask": ("int64", (4,))}
    module = transformers.GPT2ForSequenceClassification(config).eval()
    with pytest.raises(
        OperationError, match=re.escape("'gpt2': Torch-Pruning cannot follow how this architecture uses")
    ):
        prune(TorchModel(module, Architecture("gpt2", "", {}, "text-classification", (), tokens)), ratio=0.5)


def test_a_layer_never_loses_all_its_channels():
    message = r"ratio 0.95 would leave no channels of '[\w.]+', which has 16\. Largest possible: 0\.9375; or exclude"
    with pytest.raises(OperationError, match=message):
        prune(base("residual"), ratio=0.95, max_ratio=1.0)
    found, _ = prune(base("residual"), ratio=0.9375, max_ratio=1.0, round_to=1)
    assert found.module.stages[0][0].conv2.out_channels == 1
    found, notes = prune(base("residual"), ratio=0.85, max_ratio=0.86, scope="global", round_to=1, importance="random")
    assert min(part.out_channels for part in found.module.modules() if isinstance(part, nn.Conv2d)) >= 2
    assert notes["achieved"]["ratio"] <= 0.86


def test_rounding_that_leaves_all_channels_is_noted():
    found, notes = prune(base("residual"), ratio=0.25, round_to=32)
    assert found.edits == []
    assert set(notes["unchanged"].values()) == {
        "rounding and max_ratio leave all its channels",
        "it gives the network's outputs",
    }
    assert notes["achieved"]["because"].startswith("channels stay in multiples of round_to")


def test_odd_widths_are_said_to_be_slow():
    _, notes = prune(base("residual"), ratio=0.25, round_to=1)
    assert re.fullmatch(
        r"channels of [\w.]+, [\w.]+ are no multiple of 8, which SIMD kernels pad", notes["may be slow"]
    )
    assert "may be slow" not in prune(base("residual"), ratio=0.5)[1]


def test_a_broken_model_is_refused():
    model = base("residual").copy()
    model.module.stages[0][0].conv1.weight.data[0, 0] = torch.nan
    with pytest.raises(
        OperationError, match=re.escape("importance is not finite: the model was broken before this step")
    ):
        prune(model, ratio=0.5)


def test_nothing_to_cut_is_an_error():
    message = "'residual' has no channels that could be cut: 'classifier': it gives the network's outputs"
    with pytest.raises(OperationError, match=re.escape(message)):
        prune(base("residual"), ratio=0.5, include=["head"])
    with pytest.raises(OperationError, match="has no batch normalisation: 'bn_scale' cannot rank its channels"):
        prune(base("transformer"), ratio=0.5, importance="bn_scale")


def test_importance_decides_which_channels_go():
    def kept(**params):
        return prune(base("residual"), ratio=0.5, **params)[0].edits[0]["layers"]["stages.0.0.conv1"]["out"]

    norms = base("residual").module.stages[0][0].norm1.weight.detach().abs()
    assert kept(importance="bn_scale") == sorted(norms.argsort(descending=True)[:8].tolist())
    assert kept(importance="random") == kept(importance="random")
    found = [kept(importance=name, samples=32) for name in ("magnitude", "bn_scale", "taylor", "hessian", "random")]
    assert len({tuple(indices) for indices in found}) > 2


def test_a_ratio_above_the_maximum_is_refused_when_planned():
    spec = OPERATIONS["channel_prune"]
    ancestry = Ancestry({}, "image-classification", ())
    message = "ratio 0.95 is above max_ratio 0.9: raise max_ratio, or lower ratio"
    assert spec.refuse(ancestry, spec.check({"ratio": 0.95})) == message
    assert spec.refuse(ancestry, spec.check({"ratio": 0.5})) is None
