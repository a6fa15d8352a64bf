"""Readable multiples, and what people type."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.core.units import Multiple, QuantityError, parse_quantity, readable_multiple


@pytest.mark.parametrize(
    ("text", "unit", "value"),
    [
        ("25 MB", "B", 25e6),
        ("25mb", "B", 25e6),
        ("1 GiB", "bytes", 2**30),
        ("1,500 kB", "B", 1.5e6),
        ("512", "B", 512),
        ("10 ms", "ms", 10),
        ("0.5 s", "ms", 500),
        ("250us", "ms", 0.25),
        ("2 min", "s", 120),
        ("90%", "", 0.9),
        ("0.9", "", 0.9),
        (".9", "", 0.9),
        ("85%", "%", 85),
        ("1.5k", "", 1500),
        ("3.2 M", "", 3.2e6),
        ("2x", "x", 2),
        ("120/s", "1/s", 120),
        ("1e-3", "", 1e-3),
        ("2,500,000", "", 2.5e6),
        ("1_000", "", 1000),
        ("\N{MINUS SIGN}2", "", -2),
    ],
)
def test_quantities_are_understood_in_the_metrics_unit(text, unit, value):
    assert parse_quantity(text, unit) == pytest.approx(value)


@pytest.mark.parametrize(
    ("text", "unit", "message"),
    [
        ("small", "B", "'small' is not a number; write for example '25 MB' or '25e6'"),
        ("", "", "'' is not a number; write for example '0.9' or '90%'"),
        ("10 MB", "ms", "'10 MB': the unit 'MB' does not fit; write for example '10 ms' or '0.5 s'"),
        ("10 ms", "", "'10 ms': the unit 'ms' does not fit; write for example '0.9' or '90%'"),
        ("10 ms", "J", "'10 ms': the unit 'ms' does not fit; it is measured in 'J'"),
        ("5 %", "B", "'5 %': the unit '%' does not fit; write for example '25 MB' or '25e6'"),
        ("1e999", "", "'1e999' is too large"),
        ("9e307 MB", "B", "'9e307 MB' is too large"),
        ("90,5%", "", "'90,5%' has a comma where decimals begin; did you mean '90.5%'?"),
        ("1,5 ms", "ms", "'1,5 ms' has a comma where decimals begin; did you mean '1.5 ms'?"),
        ("0,500", "", "'0,500' has a comma where decimals begin; did you mean '0.500'?"),
        ("1.500,5", "B", "'1.500,5' is not a number; write for example '25 MB' or '25e6'"),
        ("12,34,567", "J", "'12,34,567' is not a number; it is measured in 'J'"),
        ("2 pp", "", "'2 pp': the unit 'pp' does not fit; write for example '0.9' or '90%'"),
    ],
)
def test_what_makes_no_sense_is_refused_with_what_would(text, unit, message):
    with pytest.raises(QuantityError, match=f"^{re.escape(message)}$"):
        parse_quantity(text, unit)


def test_points_are_percent_where_values_are_shares():
    assert parse_quantity("2 pp", share=True) == 0.02
    assert parse_quantity("2 pp", "%") == 2


@given(st.integers(0, 1000))
def test_percent_are_the_nearest_float(thousandths):
    """57 * 0.01 is more than 0.57: a model of exactly 57% would not pass."""
    assert parse_quantity(f"{thousandths / 10}%") == float(f"{thousandths / 1000:.3f}")


@pytest.mark.parametrize("text", ["1e-999999999", "0e999999999 MB"])
def test_what_is_next_to_nothing_is_nothing(text):
    assert parse_quantity(text, "B") == 0


@given(st.text(max_size=12), st.sampled_from(["", "B", "ms", "%", "1/s", "x"]))
def test_any_text_is_read_or_refused(text, unit):
    try:
        value = parse_quantity(text, unit)
    except QuantityError:
        return
    assert isinstance(value, float)
    assert any(character.isdigit() for character in text)


@pytest.mark.parametrize(
    ("value", "unit", "multiple"),
    [
        (25.6e6, "B", Multiple("MB", 1e6)),
        (999_960, "B", Multiple("MB", 1e6)),
        (12, "bytes", Multiple("B", 1)),
        (0, "B", Multiple("B", 1)),
        (-3e9, "B", Multiple("GB", 1e9)),
        (0.0123, "s", Multiple("ms", 1e-3)),
        (0.4, "ms", Multiple("µs", 1e-3)),
        (17320, "ms", Multiple("s", 1e3)),
        (3, "1/s", Multiple("1/s", 1)),
    ],
)
def test_readable_multiples(value, unit, multiple):
    assert readable_multiple(value, unit) == multiple


@given(st.floats(1e-9, 1e12), st.sampled_from(["B", "s", "ms"]))
def test_a_value_shown_in_its_multiple_and_read_again_is_the_same(value, unit):
    multiple = readable_multiple(value, unit)
    typed = f"{value / multiple.divisor!r} {multiple.unit}"
    assert parse_quantity(typed, unit) == pytest.approx(value)
