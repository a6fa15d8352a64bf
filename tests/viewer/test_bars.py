"""How names of bars are shortened."""

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from viewer.compare.bar_chart import Entry, chart, shortened_label
from viewer.format.metrics import MeasuredValue


def entries_of(groups):
    return [Entry(group, group, group, "", "", MeasuredValue(1.0, float("nan"), float("nan"))) for group in groups]


def names(*groups):
    return [label.text for label in chart(entries_of(groups), {"": "#000000"}, str).groups]


def test_what_fits_stays_whole():
    assert names("none", "prune") == ["none", "prune"]


def test_a_long_name_keeps_its_start():
    (name,) = names("magnitude prune, calibrate and finetune")
    assert name.startswith("magnitude")
    assert name.endswith("…")


def test_names_that_start_alike_stand_above_their_bars_and_whole():
    alike = ["magnitude prune, scope layer, sparsity 0.3", "magnitude prune, scope layer, sparsity 0.5", "quantize"]
    drawn = chart(entries_of(alike), {"": "#000000"}, str)
    assert [label.text for label in drawn.groups] == alike
    assert drawn.above
    for label, bar in zip(drawn.groups, drawn.bars, strict=True):
        assert label.y < bar.y
    assert all(lower.y > upper.y + upper.height for upper, lower in pairwise(drawn.bars))


@given(st.lists(st.text("ab, ", min_size=1, max_size=40), min_size=2, max_size=6, unique=True), st.integers(6, 20))
def test_a_shortened_text_fits_and_is_part_of_what_it_stands_for(texts, most):
    for text in texts:
        found = shortened_label(text, most, texts)
        assert len(found) <= most
        assert all(part in text for part in found.split("…"))


def test_a_shortened_text_tells_itself_from_others_if_it_can():
    steps = [f"{begin} and a long way {middle} to the end" for begin in ("one", "two") for middle in ("up", "down")]
    assert len({shortened_label(text, 24, steps) for text in steps}) == 4
