"""Channel pruning of layers of people's own, which are of a known kind."""

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from ops.prune.channels.cut import ChannelCut
from ops.prune.channels.trial import attempt
from tests.ops.channel_cuts import model_of, near, normalised, only, pictures, places, prune


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
