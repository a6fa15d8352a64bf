"""Colours keep their meaning and can be told apart."""

import itertools
import math

from hypothesis import given
from hypothesis import strategies as st

from viewer.metrics import Better
from viewer.palette import KINDS, MISSING, SERIES, blend, contrast, kind_color, scale, text_on


def test_contrast_is_that_of_wcag():
    assert contrast("#000000", "#ffffff") == 21
    assert abs(contrast("#777777", "#ffffff") - 4.48) < 0.01


def test_every_colour_carries_readable_text():
    for color in {*KINDS.values(), *SERIES, MISSING}:
        assert contrast(text_on(color), color) >= 4.5


def test_kinds_and_series_differ():
    assert len(set(KINDS.values())) == len(KINDS)
    assert len(set(SERIES)) == len(SERIES)
    assert kind_color("no such kind") == MISSING


def test_both_scales_stay_visible_on_their_ground():
    assert all(contrast(color, "#ffffff") > 1.4 for color in scale([0, 1, 2, 3], Better.HIGHER))
    assert all(contrast(color, "#12181f") > 1.4 for color in scale([0, 1, 2, 3], Better.HIGHER, dark=True))


@given(st.lists(st.floats(-100, 100), min_size=2, max_size=20))
def test_the_better_the_stronger(values):
    strength = {
        value: contrast(color, "#ffffff") for value, color in zip(values, scale(values, Better.HIGHER), strict=True)
    }
    for (low, weak), (high, strong) in itertools.combinations(sorted(strength.items()), 2):
        assert low <= high
        assert weak <= strong + 0.05
    assert scale(values, Better.LOWER) == scale([-value for value in values], Better.HIGHER)


def test_missing_values_have_their_own_colour():
    assert scale([1.0, math.nan, math.inf], Better.HIGHER)[1] == MISSING
    assert scale([math.nan], Better.HIGHER) == [MISSING]
    assert len(set(scale([5.0, 5.0], Better.HIGHER))) == 1


def test_a_blend_begins_and_ends_with_its_stops():
    assert blend(["#000000", "#ffffff"], [0, 0.5, 1]) == ["#000000", "#808080", "#ffffff"]
