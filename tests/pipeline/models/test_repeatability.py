"""Networks whose answers are not those of their inputs alone are refused where they are built, with what to look for."""

import pytest
import torch
from torch import nn
from torch.nn import functional

from pipeline.models.api import ModelError
from pipeline.models.build import build
from tests.ops.context import need


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv, self.norm, self.head = nn.Conv2d(1, 8, 3), self.make_norm(), nn.Linear(8, 10)

    def make_norm(self):
        return nn.BatchNorm2d(8)

    def hidden(self, x):
        return torch.relu(self.norm(self.conv(x))).mean((2, 3))

    def forward(self, x):
        return self.head(self.hidden(x))


class Drops(Net):
    """The mistake that is made most often: the function drops in evaluation too."""

    def forward(self, x):
        return self.head(functional.dropout(self.hidden(x), 0.5))


class Counts(Net):
    """Follows the mean of its inputs while it answers."""

    def __init__(self):
        super().__init__()
        self.register_buffer("mean", torch.zeros(()))

    def forward(self, x):
        self.mean.mul_(0.9).add_(0.1 * x.mean())
        return super().forward(x - self.mean)


class Trains(Net):
    def train(self, mode=True):
        return super().train()


class OfTheBatch(Net):
    def make_norm(self):
        return nn.BatchNorm2d(8, track_running_stats=False)


class Tallies(Net):
    """A count that nothing depends on harms nothing."""

    def __init__(self):
        super().__init__()
        self.register_buffer("calls", torch.zeros((), dtype=torch.long))

    def forward(self, x):
        self.calls += 1
        return super().forward(x)


def made(kind):
    return globals()[kind]()


def entry(kind):
    return {"name": "net", "builder": "python", "factory": f"{__name__}:made", "arguments": {"kind": kind}}


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        (
            "Drops",
            r"run again on the same inputs, the network gives other outputs \('logits' differs by .*random numbers",
        ),
        ("Counts", "run again on the same inputs, the network gives other outputs .* or keeps a state"),
        ("Trains", "beside another instance, the network gives an instance other outputs .*question: 'conv', 'norm'"),
        ("OfTheBatch", "beside another instance, the network gives an instance other outputs .*In question: 'norm'$"),
    ],
)
def test_answers_that_change_are_refused(kind, message):
    torch.manual_seed(0)
    with pytest.raises(ModelError, match=f"Model 'net': {message}"):
        build(entry(kind), need())


@pytest.mark.parametrize("kind", ["Net", "Tallies"])
def test_answers_that_stay_are_taken_and_no_random_number_is_used_up(kind):
    torch.manual_seed(0)
    build(entry(kind), need())
    after = torch.rand(3)
    torch.manual_seed(0)
    made(kind)
    assert torch.equal(after, torch.rand(3))
