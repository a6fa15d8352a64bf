"""Colours keep their meaning and can be told apart."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from viewer.format.metrics import Better
from viewer.format.palette import KINDS, MISSING, SERIES, blend, kind_color, rank_shares, scale


def luminance(color):
    shares = [channel / 255 for channel in bytes.fromhex(color[1:])]
    linear = [share / 12.92 if share <= 0.04045 else ((share + 0.055) / 1.055) ** 2.4 for share in shares]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one, other):
    """Ratio of 1 to 21, WCAG 2.2."""
    dark, light = sorted((luminance(one), luminance(other)))
    return (light + 0.05) / (dark + 0.05)


def test_contrast_is_that_of_wcag():
    assert contrast("#000000", "#ffffff") == 21
    assert abs(contrast("#777777", "#ffffff") - 4.48) < 0.01


def test_every_kind_and_series_is_seen_on_both_grounds():
    for color in {*KINDS.values(), *SERIES, MISSING}:
        assert contrast(color, "#ffffff") > 1.9
        assert contrast(color, "#1b222b") > 1.9


def test_kinds_and_series_differ():
    assert len(set(KINDS.values())) == len(KINDS)
    assert len(set(SERIES)) == len(SERIES)
    assert kind_color("no such kind") == MISSING


# What severe forms of colour blindness make of linear RGB: Machado, Oliveira & Fernandes 2009, severity 1.
SEEN_BY = {
    "all": np.eye(3),
    "protanopes": [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
    "deuteranopes": [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.01182, 0.04294, 0.968881]],
    "tritanopes": [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.3039]],
}
# Linear RGB to Oklab (Ottosson 2020), where distances are as people see them; 0.02 is about the least that they notice.
TO_CONES = [[0.4122214708, 0.5363325363, 0.0514459929], [0.2119034982, 0.6806995451, 0.1073969566],
            [0.0883024619, 0.2817188376, 0.6299787005]]  # fmt: skip
TO_LAB = [[0.2104542553, 0.793617785, -0.0040720468], [1.9779984951, -2.428592205, 0.4505937099],
          [0.0259040371, 0.7827717662, -0.808675766]]  # fmt: skip


def seen(color, by):
    channels = np.array(list(bytes.fromhex(color[1:]))) / 255
    linear = np.where(channels <= 0.04045, channels / 12.92, ((channels + 0.055) / 1.055) ** 2.4)
    return np.array(TO_LAB) @ np.cbrt(np.array(TO_CONES) @ np.clip(np.array(by) @ linear, 0, 1))


@pytest.mark.parametrize("who", SEEN_BY)
@pytest.mark.parametrize("colors", [tuple(KINDS.values()), SERIES], ids=["kinds", "series"])
def test_colours_can_be_told_apart_by(who, colors):
    for one, other in itertools.combinations(colors, 2):
        assert np.linalg.norm(seen(one, SEEN_BY[who]) - seen(other, SEEN_BY[who])) > 0.07, (one, other)


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


@given(st.lists(st.floats(-1e6, 1e6), min_size=2, max_size=30), st.floats(1, 1e9))
def test_an_outlier_moves_no_other_models_colour(values, far):
    """However far the last one is, the others have the shares of their ranks."""
    near, beyond = (rank_shares([*values, max(values) + by]) for by in (1.0, 1.0 + far))
    np.testing.assert_array_equal(near, beyond)
    ordered = np.argsort(values, kind="stable")
    assert (np.diff(near[:-1][ordered]) >= 0).all()
    assert (near.min(), near.max()) == (0, 1)


def test_ranks_by_hand():
    np.testing.assert_allclose(rank_shares([3, 1, 2, np.nan, np.inf]), [1, 0, 0.5, np.nan, np.nan])
    np.testing.assert_allclose(rank_shares([5, 5, 1, 9]), [0.5, 0.5, 0, 1], err_msg="equal values have one share")
    np.testing.assert_allclose(rank_shares([7, 7]), [0.5, 0.5])
    assert rank_shares([]).shape == (0,)
