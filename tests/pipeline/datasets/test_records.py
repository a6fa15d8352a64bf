"""Columns of a person's table: values that are none, and classes in order."""

import numpy as np
import pytest

from pipeline.datasets.api import DataError
from pipeline.datasets.tabular.rows import Records, encoded


def column(*values):
    places = tuple(f"t.jsonl row {row + 1}" for row in range(len(values)))
    return Records({"label": values}, tuple(map(str, range(len(values)))), places, (None,) * len(values))


def classes_of(*names):
    return encoded(names, None, ["row"] * len(names))[1]


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (None, "t.jsonl row 2: 'label' is empty"),
        ("", "t.jsonl row 2: 'label' is empty"),
        (float("nan"), "t.jsonl row 2: 'label' is not a number"),
        ([1], "t.jsonl row 2: 'label' must be one value (got [1])"),
        ({"a": 1}, "t.jsonl row 2: 'label' must be one value (got {'a': 1})"),
    ],
)
def test_a_label_that_is_none_is_refused_with_its_row(value, message):
    with pytest.raises(DataError) as caught:
        column("cat", value).texts("label")
    assert str(caught.value).startswith(message)


def test_numbers_and_words_are_labels():
    assert column(1, 2.5, True, "nan").texts("label") == ["1", "2.5", "True", "nan"]


@pytest.mark.parametrize("odd", ["--1", "²", "-", "1a"])
def test_what_only_looks_like_a_number_is_a_text(odd):
    assert classes_of("10", "9", odd) == tuple(sorted(["10", "9", odd]))


def test_whole_numbers_are_sorted_by_value():
    assert classes_of("10", "9", "-1") == ("-1", "9", "10")
    labels, _ = encoded(["10", "9"], None, ["", ""])
    assert np.array_equal(labels, [1, 0])


def test_two_spellings_of_one_number_have_an_order_of_their_own():
    assert classes_of("01", "1", "001", "0") == ("0", "001", "01", "1")
