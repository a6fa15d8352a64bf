"""Channel pruning beside normalisation over groups, concatenations, splits and attention of several kinds.

What is right is computed by hand: from the whole network's own layers, without the channels that went.
"""

import numpy as np
import pytest
import torch
import transformers
from torch import nn
from torch.nn import functional

from ops.core.errors import OperationError
from ops.core.forward import forward
from ops.prune.channels import verify
from tests.ops.channel_cuts import TOKENS, model_of, near, normalised, only, pictures, places, prune


class Concatenated(nn.Module):
    def __init__(self, groups):
        super().__init__()
        self.a, self.b = nn.Conv2d(1, 16, 3, padding=1), nn.Conv2d(1, 32, 3, padding=1)
        self.n, self.c, self.head = nn.GroupNorm(groups, 48), nn.Conv2d(48, 32, 3, padding=1), nn.Linear(32, 10)

    def forward(self, x):
        h = torch.relu(self.n(torch.cat([self.a(x), self.b(x)], 1)))
        return self.head(torch.relu(self.c(h)).mean((2, 3)))


@pytest.mark.parametrize("groups", [1, 3, 4, 8, 24])
@pytest.mark.parametrize(
    "params", [{}, {"ratio": 0.34, "include": ["a", "b"]}, {"iterations": 2, "importance": "random"}]
)
def test_groups_after_a_concatenation_stay_what_they_were(groups, params):
    model = model_of(Concatenated(groups))
    found, kept, _ = prune(model, **params)
    stay = kept["n"]["out"]
    assert {sum(channel // (48 // groups) == group for channel in stay) for group in range(groups)} == {
        len(stay) // groups
    }
    net, x = model.module, pictures()
    h = torch.relu(normalised(torch.cat([net.a(x), net.b(x)], 1), groups, stay, net.n))
    h = only(torch.relu(net.c(h)), places(kept, "c", "out", 32))
    near(found.module(x), net.head(h.mean((2, 3))))
    assert found.module.n.num_groups == groups


class NotNested(nn.Module):
    """A grouped convolution of 4 groups, whose channels are normalised in 6 groups."""

    def __init__(self):
        super().__init__()
        self.a, self.g = nn.Conv2d(1, 24, 3, padding=1), nn.Conv2d(24, 24, 3, padding=1, groups=4)
        self.n, self.c, self.head = nn.GroupNorm(6, 24), nn.Conv2d(24, 16, 3, padding=1), nn.Linear(16, 10)

    def forward(self, x):
        h = torch.relu(self.n(self.g(torch.relu(self.a(x)))))
        return self.head(torch.relu(self.c(h)).mean((2, 3)))


def test_groups_of_a_convolution_and_of_a_normalisation_that_do_not_nest():
    model = model_of(NotNested())
    found, kept, _ = prune(model)
    net, x = model.module, pictures()
    h = only(torch.relu(net.a(x)), places(kept, "a", "out", 24))
    h = torch.relu(normalised(net.g(h), 6, places(kept, "n", "out", 24), net.n))
    h = only(torch.relu(net.c(h)), places(kept, "c", "out", 16))
    near(found.module(x), net.head(h.mean((2, 3))))
    assert found.module.g.weight.shape == (12, 3, 3, 3)


class JoinedBeforeGroups(nn.Module):
    def __init__(self):
        super().__init__()
        self.a, self.b = nn.Conv2d(1, 16, 3, padding=1), nn.Conv2d(1, 16, 3, padding=1)
        self.g, self.head = nn.Conv2d(32, 32, 3, padding=1, groups=4), nn.Linear(32, 10)

    def forward(self, x):
        return self.head(torch.relu(self.g(torch.relu(torch.cat([self.a(x), self.b(x)], 1)))).mean((2, 3)))


def test_a_grouped_convolution_after_a_concatenation():
    model = model_of(JoinedBeforeGroups())
    found, kept, _ = prune(model, ratio=0.5)
    net, x = model.module, pictures()
    h = only(torch.relu(torch.cat([net.a(x), net.b(x)], 1)), kept["g"]["in"])
    h = only(torch.relu(net.g(h)), kept["g"]["out"])
    near(found.module(x), net.head(h.mean((2, 3))))
    assert found.module.a.out_channels + found.module.b.out_channels == 16


class Halves(nn.Module):
    def __init__(self):
        super().__init__()
        self.a, self.n, self.m = nn.Conv2d(1, 32, 3, padding=1), nn.GroupNorm(4, 16), nn.GroupNorm(2, 16)
        self.c, self.head = nn.Conv2d(16, 16, 3, padding=1), nn.Linear(16, 10)

    def forward(self, x):
        u, v = self.a(x).chunk(2, 1)
        return self.head(torch.relu(self.c(self.n(u) + self.m(v))).mean((2, 3)))


def test_two_normalisations_of_the_halves_of_one_layer():
    model = model_of(Halves())
    found, kept, notes = prune(model)
    net, x = model.module, pictures()
    u, v = net.a(x).chunk(2, 1)
    h = normalised(u, 4, places(kept, "n", "out", 16), net.n) + normalised(v, 2, places(kept, "m", "out", 16), net.m)
    h = only(torch.relu(net.c(only(h, places(kept, "c", "in", 16)))), places(kept, "c", "out", 16))
    near(found.module(x), net.head(h.mean((2, 3))))
    assert "n" in kept, notes


class Follows(nn.Module):
    """One layer of any kind between two convolutions."""

    def __init__(self, layer):
        super().__init__()
        self.a, self.n, self.c = nn.Conv2d(1, 32, 3, padding=1), layer, nn.Conv2d(32, 16, 3, padding=1)
        self.head = nn.Linear(16, 10)

    def forward(self, x):
        return self.head(torch.relu(self.c(torch.relu(self.n(self.a(x))))).mean((2, 3)))


class ChannelsFirst(nn.LayerNorm):
    """As `LayerNorm2d` of torchvision and timm."""

    def forward(self, x):
        return super().forward(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


class RootMeanSquare(nn.Module):
    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(32))

    def forward(self, x):
        return x * torch.rsqrt(x.square().mean(1, keepdim=True) + 1e-6) * self.weight.view(-1, 1, 1)


class Functional(nn.Module):
    def forward(self, x):
        return functional.group_norm(x, 4)


class Interleaved(nn.Module):
    def forward(self, x):
        n, c, h, w = x.shape
        return x.view(n, 4, c // 4, h, w).transpose(1, 2).reshape(n, c, h, w)


@pytest.mark.parametrize(
    "layer",
    [
        nn.InstanceNorm2d(32, affine=True), nn.InstanceNorm2d(32), nn.BatchNorm2d(32, affine=False), nn.BatchNorm2d(32),
        nn.GroupNorm(4, 32, affine=False), ChannelsFirst(32), nn.PReLU(32),
    ],
    ids=lambda layer: f"{type(layer).__name__}{'' if layer.state_dict() else ' without weights'}",
)  # fmt: skip
def test_normalisation_of_other_kinds_is_cut_right(layer):
    model = model_of(Follows(layer))
    found, kept, _ = prune(model)
    stay = places(kept, "a", "out", 32)
    assert len(stay) == 16
    net, x = model.module, pictures()
    h = net.a(x)
    if isinstance(layer, ChannelsFirst):
        inside = h[:, stay]
        mean, variance = inside.mean(1, keepdim=True), inside.var(1, unbiased=False, keepdim=True)
        normal = (inside - mean) / (variance + layer.eps).sqrt()
        h = torch.zeros_like(h)
        h[:, stay] = normal * layer.weight[stay].view(-1, 1, 1) + layer.bias[stay].view(-1, 1, 1)
    elif isinstance(layer, nn.GroupNorm):
        layer.weight, layer.bias = nn.Parameter(torch.ones(32)), nn.Parameter(torch.zeros(32))
        h = normalised(h, 4, stay, layer)
    else:
        h = only(net.n(h), stay)  # each channel by itself
    h = only(torch.relu(net.c(torch.relu(h))), places(kept, "c", "out", 16))
    near(found.module(x), net.head(h.mean((2, 3))))


@pytest.mark.parametrize(
    ("layer", "reason"),
    [
        (RootMeanSquare(), "it shares its channels with a parameter outside any known layer"),
        (nn.LayerNorm([32, 8, 8]), "which cannot be narrowed (LayerNorm)"),
        (Functional(), "the tracer misread how the network uses these channels: cut alone, 'logits' differs by"),
        (Interleaved(), "the tracer misread how the network uses these channels: cut alone, 'logits' differs by"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_what_cannot_be_cut_right_is_left_alone_with_the_reason(layer, reason):
    model = model_of(Follows(layer))
    found, kept, notes = prune(model)
    assert reason in notes["unchanged"]["a"]
    assert found.module.a.out_channels == 32
    net, x = model.module, pictures()
    h = only(torch.relu(net.c(torch.relu(net.n(net.a(x))))), kept["c"]["out"])
    near(found.module(x), net.head(h.mean((2, 3))))


class BesideItsInput(nn.Module):
    def __init__(self):
        super().__init__()
        self.a, self.n = nn.Conv2d(1, 15, 3, padding=1), nn.GroupNorm(4, 16)
        self.b, self.head = nn.Conv2d(16, 16, 1), nn.Linear(16, 10)

    def forward(self, x):
        return self.head(torch.relu(self.b(self.n(torch.cat([x, self.a(x)], 1)))).mean((2, 3)))


def test_groups_that_hold_channels_which_stay_are_left_alone():
    found, _, notes = prune(model_of(BesideItsInput()))
    assert notes["unchanged"]["a"] == "'n' takes its channels in groups together with others that stay"
    assert (found.module.a.out_channels, found.module.b.out_channels) == (15, 8)
    _, _, notes = prune(model_of(Concatenated(8)), include=["a", "c"])
    assert notes["unchanged"]["a"] == (
        "'n' takes its channels in groups together with those of 'b', which stay: it is not among the chosen layers"
    )


def text_model(name, **more):
    config = dict(
        vocab_size=50, hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=4,
        max_position_embeddings=32, pad_token_id=0, bos_token_id=1, eos_token_id=2, use_cache=False, **more,
    )  # fmt: skip
    config = {"llama": transformers.LlamaConfig, "modernbert": transformers.ModernBertConfig}[name](**config)
    module = transformers.AutoModelForSequenceClassification.from_config(config)
    return model_of(module, TOKENS, "text-classification")


def sentences():
    tokens = torch.randint(3, 50, (4, 8), generator=torch.Generator().manual_seed(3))
    return {"input_ids": tokens, "attention_mask": torch.ones_like(tokens)}


@pytest.mark.parametrize("keys", [1, 2, 4])
def test_heads_that_share_a_key_go_with_it(keys):
    """Their outputs are silenced by hand in the whole network; the keys of one head each are the usual attention."""
    model = text_model("llama", num_key_value_heads=keys)
    found, kept, notes = prune(model, ratio=0.5)
    if keys == 1:
        assert found.module.model.layers[0].self_attn.k_proj.weight.shape == (8, 32)
        reason = "its heads share one key and value, which leaves nothing to choose"
        assert notes["unchanged"]["model.layers.0.self_attn.q_proj"] == reason
    else:
        assert found.module.model.layers[0].self_attn.k_proj.weight.shape == (keys * 4, 32)
        assert found.module.model.layers[0].self_attn.q_proj.weight.shape == (16, 32)
    handles = []
    for name, sides in kept.items():
        if "in" in sides and name.endswith(("o_proj", "down_proj")):
            layer = model.module.get_submodule(name)
            mask = torch.zeros(layer.in_features)
            mask[sides["in"]] = 1
            handles.append(layer.register_forward_pre_hook(lambda _, given, mask=mask: (given[0] * mask,)))
    with torch.no_grad():
        expected = forward(model.module, sentences(), "text-classification")["logits"]
        near(forward(found.module, sentences(), "text-classification")["logits"], expected)
    for handle in handles:
        handle.remove()


def test_a_group_that_the_tracer_never_closes_is_left_alone(monkeypatch):
    """As an attention with repeated keys whose layers have names of their own."""
    monkeypatch.setattr("ops.prune.channels.groups._repeats_keys", lambda part: False)
    found, kept, notes = prune(text_model("llama", num_key_value_heads=2))
    endless = {name for name, why in notes["unchanged"].items() if why.startswith("the tracer finds no end")}
    assert endless >= {f"model.layers.{layer}.self_attn.v_proj" for layer in (0, 1)}
    assert found.module.model.layers[0].mlp.up_proj.weight.shape == (32, 32)
    assert not any("self_attn" in name for name in kept)


def test_modernbert_and_swin_are_cut_where_they_can_be():
    found, _, notes = prune(text_model("modernbert"))
    assert found.module.head.dense.out_features == 16
    assert {name for name, reason in notes["unchanged"].items() if "the tracer misread" in reason} == {
        "model.layers.0.mlp.Wi", "model.layers.1.mlp.Wi",
    }  # fmt: skip
    config = transformers.SwinConfig(
        image_size=32, patch_size=2, num_channels=1, embed_dim=16, depths=[1, 1], num_heads=[2, 4], window_size=4,
        num_labels=10,
    )  # fmt: skip
    model = model_of(transformers.SwinForImageClassification(config), {"pixel_values": ("float32", (1, 32, 32))})
    found, kept, notes = prune(model)
    assert "the tracer misread" in notes["unchanged"]["swin.encoder.layers.0.blocks.0.mlp.fc2"]
    assert kept["swin.encoder.layers.0.blocks.0.mlp.fc1"]["out"] == sorted(
        kept["swin.encoder.layers.0.blocks.0.mlp.fc2"]["in"]
    )


class Entangled(nn.Module):
    """Two layers, each of which can go alone, but not both: no tracer of shapes sees that."""

    def __init__(self):
        super().__init__()
        self.a, self.b = nn.Conv2d(1, 16, 3, padding=1), nn.Conv2d(1, 16, 3, padding=1)
        self.c, self.d, self.head = nn.Conv2d(16, 8, 1), nn.Conv2d(16, 8, 1), nn.Linear(8, 10)

    def forward(self, x):
        a, b = self.a(x), self.b(x)
        extra = 1.0 if a.shape[1] + b.shape[1] > 20 else 2.0
        return self.head((torch.relu(self.c(a)) + extra * torch.relu(self.d(b))).mean((2, 3)))


def test_the_layers_that_a_refusal_names_can_be_excluded():
    model = model_of(Entangled())
    with pytest.raises(OperationError) as caught:
        prune(model, include=["a", "b"])
    advice = str(caught.value).partition("Try `exclude: [")[2].partition("]")[0].split(", ")
    assert set(advice) <= {"a", "b"}
    found, _, _ = prune(model, include=["a", "b"], exclude=advice[:1])
    assert np.isfinite(found.module(pictures()).detach().numpy()).all()


def test_a_network_is_left_as_it_was_when_the_comparison_fails(monkeypatch):
    model = model_of(Concatenated(8))
    before = model.module(pictures())
    monkeypatch.setattr(verify, "_normalising", lambda stay: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        prune(model)
    assert torch.equal(model.module(pictures()), before)
    assert not any(part._forward_hooks or part._forward_pre_hooks for part in model.module.modules())
