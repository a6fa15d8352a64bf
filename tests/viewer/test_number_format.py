"""Format specifications of d3 and Python."""

import math
import re

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from viewer.format.numbers import MISSING, format_number, parse_format


@pytest.mark.parametrize(
    ("value", "spec", "text"),
    [
        # as d3-format writes them
        (0.12345, ".2%", "12.35%"),
        (0.5, ".0%", "50%"),
        (25.6e6, ".3~s", "25.6M"),
        (94e6, "~s", "94M"),
        (17320, ".3s", "17.3k"),
        (999.96, ".3~s", "1k"),
        (0.00042, ".3s", "420µ"),
        (0, "~s", "0"),
        (0, ".3s", "0.00"),
        (1e30, ".3~s", "1Q"),
        (1e-40, ".2s", "0.00000000010q"),
        (90, "00", "90"),
        (7, "03d", "007"),
        (1234567.8, ",.0f", "1,234,568"),
        (1234.5, ",", "1,234.5"),
        (12.345, ".2r", "12"),
        (0.012345, ".2r", "0.012"),
        (0.1234, ".2p", "12%"),
        (1.50, ".2~f", "1.5"),
        (3.7, "d", "4"),
        (255, "x", "ff"),
        (3, "+d", "+3"),
        (-3, "(d", "(3)"),
        (42, "$.2f", "$42.00"),
        (5, "*^5d", "**5**"),
        (5, "<3d", "5  "),
        # as Python writes them
        (0.5, ".2g", "0.5"),
        (17320, ".2g", "1.7e+4"),
        (1e-7, ".3g", "1e\N{MINUS SIGN}7"),
        (2.0, "", "2"),
        (0.1 + 0.2, "", "0.3"),
        (1234.5, ".1e", "1.2e+3"),
        (-1.25, ".2f", "\N{MINUS SIGN}1.25"),
        # neither sign nor digits of what is not there
        (-0.0001, ".1f", "0.0"),
        (None, ".3g", MISSING),
        (math.nan, ".1%", MISSING),
        (math.inf, ".3g", "∞"),
        (-math.inf, "d", "\N{MINUS SIGN}∞"),
    ],
)
def test_numbers_are_written_as_specified(value, spec, text):
    assert format_number(value, spec) == text


@pytest.mark.parametrize("spec", ["bytes", ".3w", "%%", ".", "3.f.", "..2"])
def test_what_is_no_format_is_refused_with_examples(spec):
    with pytest.raises(ValueError, match=re.escape("known are for example '.3g', '.1%', ',.0f' and '.3~s'")):
        parse_format(spec)


specs = st.builds(
    "{}{}{}{}{}{}".format,
    st.sampled_from(["", "+", "-", "(", " "]),
    st.sampled_from(["", "$"]),
    st.sampled_from(["", "0", "8", "012"]),
    st.sampled_from(["", ","]),
    st.sampled_from(["", ".0", ".3", ".30", "~", ".2~"]),
    st.sampled_from(["", *"eEfFgGrs%pd"]),
)


@given(st.floats() | st.integers(-(10**15), 10**15), specs)
@example(1.5e308, ".0r")  # its one significant digit is beyond the largest float
@example(1.5e308, ".3p")
@example(1.5e308, "~s")
def test_every_number_can_be_written_in_every_format(value, spec):
    assert format_number(value, spec).strip()


@given(st.floats(1e-20, 1e20), st.integers(1, 12))
def test_an_si_prefix_changes_no_value(value, digits):
    text = format_number(value, f".{digits}s")
    factors = dict(zip("zafpnµmkMGTPEZ", [*range(-21, 0, 3), *range(3, 22, 3)], strict=True))
    number, power = (text[:-1], factors[text[-1]]) if text[-1].isalpha() or text[-1] == "µ" else (text, 0)
    assert float(number) * 10.0**power == pytest.approx(float(f"{value:.{digits - 1}e}"), rel=1e-9)
    assert 1 <= float(number) < 1000


@given(st.floats(-1e6, 1e6), st.integers(0, 6))
def test_fixed_formats_agree_with_python(value, decimals):
    expected = format(value, f",.{decimals}f")
    if float(expected.replace(",", "")) == 0:
        expected = expected.removeprefix("-")
    assert format_number(value, f",.{decimals}f").replace("\N{MINUS SIGN}", "-") == expected
