"""Channel pruning around recurrent layers: they keep their width, and all else is cut as by hand."""

import re

import pytest
import torch
from torch import nn

from ops.core.errors import OperationError
from ops.prune.channels import graph
from tests.ops.channel_cuts import model_of, near, only, pictures, places, prune
from tests.ops.shared_nets import Recurrent


class Rows(nn.Module):
    """Convolutions, a recurrent layer over the places of the picture, and layers behind it."""

    def __init__(self, cell, *, end=False, **options):
        super().__init__()
        self.a, self.b = nn.Conv2d(1, 16, 3, padding=1), nn.Conv2d(16, 8, 3, padding=1)
        self.cell = getattr(nn, cell)(8, 12, **options)
        self.end, self.first = end, options.get("batch_first", False)
        width = options.get("proj_size", 12) * (2 if options.get("bidirectional") and not end else 1)
        self.c, self.head = nn.Linear(width, 16), nn.Linear(16, 10)

    def places(self, h):
        return h.flatten(2).transpose(1, 2) if self.first else h.flatten(2).permute(2, 0, 1)

    def read(self, h):
        outputs, state = self.cell(self.places(h))
        state = state[0] if isinstance(state, tuple) else state
        return state[-1] if self.end else outputs[:, -1] if self.first else outputs[-1]

    def forward(self, x):
        return self.head(torch.relu(self.c(self.read(torch.relu(self.b(torch.relu(self.a(x))))))))


class Steps(Rows):
    """As above, with a cell that is called place by place."""

    def read(self, h):
        state = None
        for value in self.places(h)[:4]:
            state = self.cell(value, state)
        return state[0] if isinstance(state, tuple) else state


NETWORKS = {
    "LSTM": Rows("LSTM", batch_first=True),
    "LSTM, its last state": Rows("LSTM", end=True),
    "LSTM of two layers": Rows("LSTM", num_layers=2),
    "LSTM both ways": Rows("LSTM", bidirectional=True, batch_first=True),
    "LSTM with a projection": Rows("LSTM", proj_size=6),
    "GRU": Rows("GRU", batch_first=True),
    "GRU both ways, its last state": Rows("GRU", bidirectional=True, end=True),
    "RNN": Rows("RNN"),
    "LSTM cell": Steps("LSTMCell"),
    "GRU cell": Steps("GRUCell"),
}


@pytest.mark.parametrize("net", NETWORKS.values(), ids=NETWORKS)
def test_a_recurrent_layer_is_left_alone_and_the_others_are_cut(net):
    model = model_of(net)
    found, kept, notes = prune(model)
    kind = type(net.cell).__name__
    assert notes["unchanged"]["cell"] == f"it is a recurrent layer ({kind}), which keeps its width"
    assert notes["unchanged"]["b"] == f"it shares its channels with 'cell', which cannot be narrowed ({kind})"
    assert (found.module.a.out_channels, found.module.b.out_channels, found.module.c.out_features) == (8, 8, 8)
    assert sum(p.numel() for p in found.module.cell.parameters()) == sum(p.numel() for p in net.cell.parameters())
    x = pictures()
    with torch.no_grad():
        h = torch.relu(net.b(only(torch.relu(net.a(x)), places(kept, "a", "out", 16))))
        h = only(torch.relu(net.c(net.read(h))), places(kept, "c", "out", 16))
        near(found.module(x), net.head(h))


@pytest.mark.parametrize("cell", ["LSTM", "GRU"])
def test_where_nothing_else_is_left_the_recurrent_layer_is_named(cell):
    reasons = f"'head': it gives the network's outputs; 'cell': it is a recurrent layer ({cell}), which keeps its width"
    with pytest.raises(OperationError, match=re.escape(f"has no channels that could be cut: {reasons}")):
        prune(model_of(Recurrent(cell)))


class Encoding(nn.Module):
    """A layer whose outputs are the state that another begins with."""

    def __init__(self):
        super().__init__()
        self.a, self.cell = nn.Linear(64, 12), nn.GRU(8, 12, batch_first=True)
        self.head = nn.Linear(12, 10)

    def forward(self, x):
        start = torch.tanh(self.a(x.flatten(1)))
        return self.head(self.cell(x[:, 0], start[None])[0][:, -1])


def test_a_layer_that_gives_the_first_state_keeps_its_width():
    with pytest.raises(OperationError, match="'a': it shares its channels with 'cell', which cannot be narrowed"):
        prune(model_of(Encoding()))


def test_a_group_that_the_library_breaks_off_at_is_left_alone_by_name(monkeypatch):
    """Whatever the library raises of one group is a reason of that group's."""
    usual = graph._BoundedGroup.add_dep

    def breaks_off(self, dep, idxs):
        if isinstance(dep.target.module, nn.Conv2d) and dep.target.module.in_channels == 16:
            raise IndexError("list index out of range")
        usual(self, dep, idxs)

    monkeypatch.setattr(graph._BoundedGroup, "add_dep", breaks_off)
    found, _, notes = prune(model_of(Rows("GRU")))
    assert (
        notes["unchanged"]["a"]
        == "the tracer cannot follow what its channels go with (IndexError: list index out of range)"
    )
    assert found.module.c.out_features == 8
