"""Small networks of other people's kinds: weights that are shared, tied, parametrized, recurrent, or of unknown layers."""

import torch
from torch import nn
from torch.nn.utils import parametrizations

from ops.core.model import Architecture
from ops.core.operation import TorchModel
from pipeline.models.factories import name_factories
from tests.ops.digits import digits


def model_of(module, factory="", **arguments):
    """A network for the digits, stored as `python` models are; a recipe names its function."""
    given = {"factory": f"tests.ops.shared_nets:{factory}", "arguments": arguments} if factory else {}
    name_factories([{"builder": "python", **given}])
    architecture = Architecture(
        "net", "python", given, "image-classification", tuple(digits().classes), digits().inputs
    )  # fmt: skip
    return TorchModel(module.eval(), architecture)


class Tied(nn.Module):
    """Two layers with one weight: a.weight is b.weight. 64 x 48 + 48 x 48 + 48 x 10 = 5,856 weights."""

    def __init__(self):
        super().__init__()
        self.stem, self.a, self.b, self.head = (
            nn.Linear(64, 48),
            nn.Linear(48, 48),
            nn.Linear(48, 48),
            nn.Linear(48, 10),
        )
        self.b.weight = self.a.weight

    def forward(self, x):
        hidden = torch.relu(self.a(torch.relu(self.stem(x.flatten(1)))))
        return self.head(torch.relu(self.b(hidden)))


class Twice(nn.Module):
    """One layer under two names, and called twice."""

    def __init__(self):
        super().__init__()
        self.stem, self.a, self.head = nn.Linear(64, 48), nn.Linear(48, 48), nn.Linear(48, 10)
        self.again = self.a

    def forward(self, x):
        hidden = torch.relu(self.a(torch.relu(self.stem(x.flatten(1)))))
        return self.head(torch.relu(self.again(hidden)))


class Transposed(nn.Module):
    """Tied as autoencoders are: the second weight is the first, transposed, in the same memory."""

    def __init__(self):
        super().__init__()
        self.stem, self.back, self.head = nn.Linear(64, 48), nn.Linear(48, 64), nn.Linear(64, 10)
        self.back.weight = nn.Parameter(self.stem.weight.t())

    def forward(self, x):
        return self.head(torch.relu(self.back(torch.relu(self.stem(x.flatten(1))))))


class TiedEmbedding(nn.Module):
    """A language model's habit: the output layer has the weight of the embedding. Takes pictures as 64 tokens of 17 kinds."""

    def __init__(self):
        super().__init__()
        self.embedding, self.mix, self.head = nn.Embedding(17, 16), nn.Linear(16, 16), nn.Linear(16, 17, bias=False)
        self.head.weight = self.embedding.weight

    def forward(self, x):
        hidden = self.embedding((x.flatten(1) * 16).round().long().clamp(0, 16))
        return self.head(torch.relu(self.mix(hidden)).mean(1))[:, :10]


class Normed(nn.Module):
    """Convolutions whose weights are computed from others."""

    def __init__(self, how="new"):
        super().__init__()
        wrap = {
            "new": parametrizations.weight_norm,
            "old": nn.utils.weight_norm,
            "spectral": parametrizations.spectral_norm,
            "old_spectral": nn.utils.spectral_norm,
            "orthogonal": parametrizations.orthogonal,
            "own": lambda layer: nn.utils.parametrize.register_parametrization(layer, "weight", Doubled()) and layer,
            "pruned": lambda layer: nn.utils.prune.l1_unstructured(layer, "weight", amount=0.5),
        }[how]
        self.c1, self.c2 = wrap(nn.Conv2d(1, 16, 3, padding=1)), wrap(nn.Conv2d(16, 16, 3, padding=1))
        self.head = wrap(nn.Linear(16, 10))

    def forward(self, x):
        return self.head(torch.relu(self.c2(torch.relu(self.c1(x)))).mean((2, 3)))


class Doubled(nn.Module):
    """Somebody's own parametrization."""

    def forward(self, weight):
        return 2 * weight


class Recurrent(nn.Module):
    """Reads a picture row by row: eight steps of eight values."""

    def __init__(self, cell="LSTM", hidden=20, **options):
        super().__init__()
        self.cell = getattr(nn, cell)(8, hidden, batch_first=True, **options)
        width = (options.get("proj_size") or hidden) * (2 if options.get("bidirectional") else 1)
        self.head = nn.Linear(width, 10)

    def forward(self, x):
        return self.head(self.cell(x[:, 0])[0][:, -1])


class HeadFirst(nn.Module):
    """The layer that gives the outputs is registered first, and called anything."""

    def __init__(self):
        super().__init__()
        self.zz, self.c1, self.head = nn.Linear(16, 10), nn.Conv2d(1, 16, 3, padding=1), nn.Conv2d(16, 16, 3, padding=1)

    def forward(self, x):
        return self.zz(torch.relu(self.head(torch.relu(self.c1(x)))).mean((2, 3)))


class Own(nn.Module):
    """A parameter that a matrix product uses, without a layer that anybody knows."""

    def __init__(self):
        super().__init__()
        self.stem, self.matrix = nn.Linear(64, 32), nn.Parameter(torch.randn(32, 10) / 8)

    def forward(self, x):
        return torch.relu(self.stem(x.flatten(1))) @ self.matrix


def make(net, **options):
    """A network by the name of its class: what the `python` builder calls."""
    return globals()[net](**options)


def network(net, **options):
    """The same as a model, with weights that are the same on every machine."""
    torch.manual_seed(1)
    module = make(net, **options)
    if net == "Normed":  # what an orthogonal weight is computed from may not be any numbers
        return model_of(module, "make", net=net, **options)
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in module.parameters():
            bound = 1 / max(1, parameter[0].numel() if parameter.dim() > 1 else parameter.numel()) ** 0.5
            parameter.copy_(torch.empty(parameter.shape).uniform_(-bound, bound, generator=generator))
    return model_of(module, "make", net=net, **options)
