"""How many values an operation changed, counted independently of what it says of itself."""

import torch
from torch import nn

from ops.core.network.parametrized import plain_weights
from pipeline.measure.change_count import count_changed
from tests.ops.digits import apply, context, export
from tests.ops.shared_nets import model_of, network

TIED = 64 * 48 + 48 * 48 + 48 * 10 + 48 * 3 + 10


def test_a_copy_changed_nothing():
    model = network("Tied")
    assert count_changed(model, model.copy()) == {"values": 0, "of": TIED}


def test_changed_values_are_counted_once():
    model, other = network("Tied"), network("Tied")
    with torch.no_grad():
        other.module.b.weight[:2] += 1
    assert count_changed(model, other) == {"values": 96, "of": TIED}


def test_what_is_gone_or_of_another_shape_has_changed():
    model, other = network("Tied"), network("Tied")
    other.module.head = nn.Linear(48, 5)
    assert count_changed(model, other)["values"] == 490
    other.module.head = nn.Sequential(nn.Linear(48, 3), nn.Linear(3, 10))
    assert count_changed(model, other)["values"] == 490


def test_statistics_count_and_counters_do_not():
    model, other = (model_of(nn.Sequential(nn.Flatten(), nn.BatchNorm1d(64))) for _ in range(2))
    other.module[1].running_mean += 1
    other.module[1].num_batches_tracked += 1
    assert count_changed(model, other) == {"values": 64, "of": 256}


def test_to_make_weights_plain_changes_nothing():
    model = network("Normed", how="new")
    plain, _ = plain_weights(model)
    assert count_changed(model, plain)["values"] == 0


def test_values_of_a_file_that_are_stored_in_fewer_bits():
    file = export(network("Recurrent", hidden=32, num_layers=2))
    found = apply("quantize", file, context(), method="dynamic")
    assert count_changed(file, found) == {"values": 320, "of": 14_154}
    assert count_changed(file, file) == {"values": 0, "of": 14_154}
