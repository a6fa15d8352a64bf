"""Channel pruning of layers of people's own, which are of a known kind."""

import re

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

from ops.core.edits import replay
from ops.core.errors import OperationError
from ops.prune.channels.cut import ChannelCut
from ops.prune.channels.trial import attempt
from tests.ops.channel_cuts import TOKENS, model_of, near, normalised, only, pictures, places, prune


class OwnGroupNorm(nn.GroupNorm):
    """As PoolFormer's: one group, whatever the width."""

    def __init__(self, channels):
        super().__init__(1, channels)


class OwnNorm(nn.Module):
    def __init__(self):
        super().__init__()
        self.a, self.n = nn.Conv2d(1, 16, 3, padding=1), OwnGroupNorm(16)
        self.b, self.head = nn.Conv2d(16, 12, 3, padding=1), nn.Linear(12, 10)

    def forward(self, x):
        return self.head(torch.relu(self.b(torch.relu(self.n(self.a(x))))).mean((2, 3)))


def test_a_layer_derived_from_a_known_kind_is_narrowed_as_that_kind():
    model = model_of(OwnNorm())
    found, kept, _ = prune(model, ratio=0.25)
    layers, x = model.module, pictures()
    stay, out = places(kept, "n", "out", 16), places(kept, "b", "out", 12)
    assert len(stay) == found.module.n.num_channels == 12
    with torch.no_grad():
        hidden = torch.relu(normalised(layers.a(x), 1, stay, layers.n))
        expected = layers.head(only(torch.relu(layers.b(hidden)).mean((2, 3)), out))
        np.testing.assert_allclose(found.module(x), expected, rtol=1e-4, atol=1e-5)


class OwnLinear(nn.Linear):
    """As timm's: torch's arithmetic in a forward of its own."""

    def forward(self, x):
        return functional.linear(x, self.weight, self.bias)


class OwnConvolution(nn.Conv2d):
    def forward(self, x):
        return functional.conv2d(x, self.weight, self.bias, padding=1)


def test_layers_with_a_forward_of_their_own_are_narrowed():
    model = model_of(
        nn.Sequential(OwnConvolution(1, 16, 3), nn.ReLU(), OwnConvolution(16, 12, 3), nn.Flatten(), OwnLinear(768, 10))
    )
    found, kept, _ = prune(model, include=["0"])
    stay = places(kept, "0", "out", 16)
    assert len(stay) == 8
    first, _, second, flat, head = model.module
    with torch.no_grad():
        expected = head(flat(second(only(torch.relu(first(pictures())), stay))))
        near(found.module(pictures()), expected)


class ActivatedNorm(nn.GroupNorm):
    """As timm's: a normalisation with its activation in one layer."""

    def forward(self, x):
        return torch.relu(super().forward(x))


def test_a_normalisation_with_an_activation_is_narrowed():
    model = model_of(OwnNorm())
    model.module.n = ActivatedNorm(4, 16)
    found, kept, notes = prune(model, include=["a"])
    stay = places(kept, "n", "out", 16)
    assert len(stay) == found.module.n.num_channels == 8, notes
    layers = model.module
    with torch.no_grad():
        hidden = torch.relu(normalised(layers.a(pictures()), 4, stay, layers.n))
        expected = layers.head(torch.relu(layers.b(only(hidden, stay))).mean((2, 3)))
        near(found.module(pictures()), expected)


def test_a_cut_that_leaves_a_layer_nothing_is_not_made():
    model = model_of(OwnNorm())
    cut = ChannelCut({"b": {"in": []}, "a": {"out": []}})
    assert attempt(model, cut, {"pixel_values": pictures()}) == (model, "'b' would have no channels left")


class Words(nn.Module):
    """The layer that scores words has the weight of the embedding."""

    def __init__(self):
        super().__init__()
        self.embedding, self.up, self.down = nn.Embedding(100, 32), nn.Linear(32, 64), nn.Linear(64, 32)
        self.words, self.head = nn.Linear(32, 100, bias=False), nn.Linear(100, 2)
        self.words.weight = self.embedding.weight

    def forward(self, input_ids, attention_mask):
        hidden = self.embedding(input_ids)
        hidden = hidden + self.down(torch.relu(self.up(hidden)))
        return self.head(torch.tanh(self.words(hidden.mean(1))))


def test_a_weight_that_layers_share_stays_one_where_they_narrow_it_alike():
    chosen = {"include": ["linear", "embedding"], "exclude": ["words"]}
    model = model_of(Words(), TOKENS, "text-classification")
    found, kept, notes = prune(model, **chosen)
    module = found.module
    assert kept["embedding"]["out"] == kept["words"]["in"]
    assert module.words.weight is module.embedding.weight
    assert "taken apart" not in notes
    # 100 words x 16, 16 -> 32 -> 16 with biases, and the head: counted by hand
    expected = 100 * 16 + 16 * 32 + 32 + 32 * 16 + 16 + 100 * 2 + 2
    assert notes["achieved"]["parameters"][1] == sum(p.numel() for p in module.parameters()) == expected
    rebuilt = replay(Words(), found.architecture, found.edits)
    assert rebuilt.words.weight is rebuilt.embedding.weight


def test_a_weight_that_a_cut_takes_apart_is_noted():
    _, _, notes = prune(model_of(Words(), TOKENS, "text-classification"), include=["linear", "embedding"])
    assert notes["taken apart"] == ["embedding.weight and words.weight"]


class Turned(nn.Module):
    """A transposed convolution, which stays, has the weight of a convolution."""

    def __init__(self):
        super().__init__()
        self.a, self.b = nn.Conv2d(1, 16, 3, padding=1), nn.Conv2d(16, 8, 3, padding=1)
        self.up, self.head = nn.ConvTranspose2d(8, 16, 3, padding=1), nn.Linear(16, 10)
        self.up.weight = self.b.weight

    def forward(self, x):
        return self.head(torch.relu(self.up(torch.relu(self.b(torch.relu(self.a(x)))))).mean((2, 3)))


def test_a_cut_that_would_make_the_network_larger_is_refused():
    """1,506 weights: of the 1,152 that are shared, half would be cut and all of them be there once more."""
    had = 16 * 9 + 16 + 16 * 8 * 9 + 8 + 16 + 170
    has = 8 * 9 + 8 + 8 * 8 * 9 + 8 + 16 * 8 * 9 + 16 + 170
    said = f"would have {has:,} weights instead of {had:,}: a weight that layers share would be taken apart (b.weight and up.weight)"
    with pytest.raises(OperationError, match=re.escape(said)):
        prune(model_of(Turned()))


class Attended(nn.Module):
    """Weighs places by a map of one channel, as CBAM does."""

    def __init__(self):
        super().__init__()
        self.a, self.map = nn.Conv2d(1, 16, 3, padding=1), nn.Conv2d(16, 1, 3, padding=1)
        self.b, self.head = nn.Conv2d(16, 16, 3, padding=1), nn.Linear(16, 10)

    def forward(self, x):
        hidden = torch.relu(self.a(x))
        return self.head(torch.relu(self.b(hidden * torch.sigmoid(self.map(hidden)))).mean((2, 3)))


def test_a_layer_of_one_channel_keeps_it():
    model = model_of(Attended())
    found, kept, notes = prune(model, include=["a", "b", "map"])
    layers, x = model.module, pictures()
    assert notes["unchanged"]["map"] == "it has one channel, and a layer keeps one at least"
    outer = places(kept, "b", "out", 16)
    assert (len(outer), list(kept)) == (8, ["b", "head"])
    with torch.no_grad():
        hidden = torch.relu(layers.a(x))
        expected = only(torch.relu(layers.b(hidden * torch.sigmoid(layers.map(hidden)))), outer).mean((2, 3))
        np.testing.assert_allclose(found.module(x), layers.head(expected), rtol=1e-4, atol=1e-5)


class Repeated(nn.Module):
    """Repeats its channels in both ways; Torch-Pruning 1.6 divides by zero."""

    def __init__(self):
        super().__init__()
        self.a, self.b, self.c = (
            nn.Conv2d(1, 8, 3, padding=1),
            nn.Conv2d(32, 16, 3, padding=1),
            nn.Conv2d(16, 16, 3, padding=1),
        )
        self.head = nn.Linear(16, 10)

    def forward(self, x):
        hidden = torch.relu(self.a(x))
        both = torch.cat([hidden.repeat(1, 2, 1, 1), hidden.repeat_interleave(2, 1)], 1)
        return self.head(torch.relu(self.c(torch.relu(self.b(both)))).mean((2, 3)))


def test_a_group_on_which_the_tracer_fails_stays_with_the_reason():
    model = model_of(Repeated())
    found, kept, notes = prune(model)
    layers, x = model.module, pictures()
    assert notes["unchanged"]["a"].startswith("the tracer cannot follow what its channels go with")
    inner, outer = places(kept, "b", "out", 16), places(kept, "c", "out", 16)
    with torch.no_grad():
        hidden = torch.relu(layers.a(x))
        both = torch.cat([hidden.repeat(1, 2, 1, 1), hidden.repeat_interleave(2, 1)], 1)
        expected = only(torch.relu(layers.c(only(torch.relu(layers.b(both)), inner))), outer).mean((2, 3))
        np.testing.assert_allclose(found.module(x), layers.head(expected), rtol=1e-4, atol=1e-5)
