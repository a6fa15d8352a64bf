"""Values and changes as people read them."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from viewer.format.metrics import Better, MeasuredValue, MetricInfo, change, format_change, format_value


@pytest.mark.parametrize(
    ("value", "unit", "spec", "text"),
    [
        (25_600_000, "B", ",.0f", "25.6 MB"),
        (512, "B", ",.0f", "512 B"),
        (3.214, "ms", ".3g", "3.21 ms"),
        (0.4, "ms", ".3g", "400 µs"),
        (17320, "ms", ".3~s", "17.3 s"),
        (0.80312, "", ".1%", "80.3%"),
        (94e6, "", ".3~s", "94M"),
        (0.5, "", ".3~s", "0.5"),
        (17320, "", ".2g", "17,320"),
        (300, "", "", "300"),
        (85.23, "%", ".3~", "85.2%"),
        (3.4, "x", ".2f", "3.40x"),
        (120, "1/s", ".4g", "120/s"),
        (0.7, "", "no format", "0.7"),
        (math.nan, "B", ",.0f", "—"),
        (None, "", "", "—"),
    ],
)
def test_values_have_readable_digits_and_units(value, unit, spec, text):
    assert format_value(value, MetricInfo("metric", unit, spec)) == text


def test_without_its_unit_a_value_is_written_as_its_format_says():
    assert format_value(25_600_000, MetricInfo("bytes", "B", ",.0f"), unit=False) == "25,600,000"


def test_shares_are_those_whose_format_is_in_percent():
    assert MetricInfo("accuracy", format=".1%").is_share
    assert not MetricInfo("size", "B", ",.0f").is_share
    assert MetricInfo("latency_p50").label == "latency p50"


def exact(value):
    return MeasuredValue(value, exact=True)


ACCURACY, LATENCY = MetricInfo("accuracy", "", ".1%", Better.HIGHER), MetricInfo("latency", "ms", ".3g", Better.LOWER)


@pytest.mark.parametrize(
    ("metric", "value", "reference", "text", "improved"),
    [
        (ACCURACY, MeasuredValue(0.75), MeasuredValue(0.80), "\N{MINUS SIGN}5.0 pp", None),
        (ACCURACY, MeasuredValue(0.80, 0.79, 0.81), MeasuredValue(0.75), "+5.0 pp", None),
        (ACCURACY, MeasuredValue(0.80, 0.78, 0.81), MeasuredValue(0.75, 0.74, 0.76), "+5.0 pp [+2.8, +6.4]", True),
        (ACCURACY, MeasuredValue(0.80, 0.79, 0.81), MeasuredValue(0.75, 0.74, 0.76), "+5.0 ± 1.4 pp", True),
        (ACCURACY, MeasuredValue(0.76, 0.74, 0.78), MeasuredValue(0.75, 0.73, 0.77), "+1.0 ± 2.8 pp", None),
        (LATENCY, exact(4), exact(8), "\N{MINUS SIGN}50.0%", True),
        (LATENCY, exact(16), exact(8), "+100%", False),
        (LATENCY, exact(8.01), exact(8), "+0.1%", False),
        (LATENCY, MeasuredValue(8), MeasuredValue(8), "no change", None),
        (LATENCY, exact(2), exact(0), "+2 ms", False),
        (MetricInfo("epochs"), MeasuredValue(2), MeasuredValue(1), "+100%", None),
    ],
)
def test_changes_say_direction_size_and_noise(metric, value, reference, text, improved):
    difference = change(value, reference, metric.better)
    assert format_change(difference, metric) == text
    assert difference.improved is improved


def test_there_is_no_change_of_what_was_not_measured():
    assert change(MeasuredValue(math.nan), MeasuredValue(1.0), Better.LOWER) is None


@given(*[st.floats(-1e6, 1e6)] * 2, *[st.floats(0, 1e3)] * 2)
def test_a_change_within_the_noise_is_neither_better_nor_worse(value, reference, one, other):
    difference = change(
        MeasuredValue(value, value - one, value + one),
        MeasuredValue(reference, reference - other, reference + other),
        Better.HIGHER,
    )
    if difference.within_noise:
        assert difference.improved is None
        assert abs(value - reference) <= difference.noise
    elif value != reference:
        assert difference.improved is (value > reference)
    assert format_change(difference, LATENCY)
