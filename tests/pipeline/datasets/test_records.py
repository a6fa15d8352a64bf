"""Columns of a person's table: values that are none, and classes in order."""

from dataclasses import replace

import pytest

from pipeline.datasets.api import DataError
from pipeline.datasets.tabular.rows import Records, common_orders


def column(*values):
    places = tuple(f"t.jsonl row {row + 1}" for row in range(len(values)))
    return Records({"label": values}, tuple(map(str, range(len(values)))), places, (None,) * len(values))


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


def test_nan_is_no_label_but_may_be_a_text():
    assert column("a", "nan").texts("label") == ["a", "nan"]
    with pytest.raises(DataError, match=r"t.jsonl row 2: 'label' is NaN, which stands for no value; remove the row"):
        column("a", "NaN").labels("label")
    assert column("None", "NA").labels("label") == ["None", "NA"]


def test_texts_that_are_typed_as_binary_are_texts():
    """Parquet of Spark: its bytes would become "b'caf\\xc3\\xa9'"."""
    records = column("café".encode(), b"10", b"2")
    assert records.texts("label") == ["café", "10", "2"]
    assert not records.are_numbers("label")
    with pytest.raises(
        DataError, match=r"t.jsonl row 2: 'label' holds bytes that are not UTF-8; save the column as text"
    ):
        column("a", "café".encode("latin-1")).texts("label")
    with pytest.raises(DataError, match=r"t.jsonl row 2: 'label' is empty"):
        column("a", b"").texts("label")


def test_half_a_character_is_no_text():
    with pytest.raises(DataError, match=r"t.jsonl row 1: 'label' holds half a character"):
        column("ab\ud83d", "c").texts("label")


def test_numbers_are_meant_as_numbers_unless_they_are_written_as_text():
    assert column(1, 2).are_numbers("label")
    assert not column("1", "2").are_numbers("label")
    assert replace(column("1", "2"), untyped=True).are_numbers("label")


def test_parts_that_number_their_classes_differently_are_refused():
    one, other = {"label": ("a", "b")}, {"label": ("b", "a")}
    assert common_orders([one, dict(one)]) == one
    assert common_orders([{}, {}]) == {}
    with pytest.raises(DataError, match=r"'label': parts of the data number its classes differently \(a, b and b, a\)"):
        common_orders([one, other])
    with pytest.raises(DataError, match=r"\(a, b and without names\)"):
        common_orders([one, {}])
