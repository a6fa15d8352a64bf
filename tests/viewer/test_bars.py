"""How names of bars are shortened."""

from viewer.bars import Entry, chart
from viewer.metrics import Measured


def names(*groups):
    entries = [Entry(group, group, group, "", "", Measured(1.0, float("nan"), float("nan"))) for group in groups]
    return [label.text for label in chart(entries, {"": "#000000"}, str).groups]


def test_what_fits_stays_whole():
    assert names("none", "prune") == ["none", "prune"]


def test_a_long_name_keeps_its_start():
    (name,) = names("magnitude prune, calibrate and finetune")
    assert name.startswith("magnitude")
    assert name.endswith("…")


def test_names_that_start_alike_keep_their_ends_so_that_they_can_be_told_apart():
    found = names("magnitude prune", "magnitude prune, calibrate", "magnitude prune, finetune")
    assert len(set(found)) == 3
    assert found[1].endswith("calibrate")
    assert found[2].endswith("finetune")
