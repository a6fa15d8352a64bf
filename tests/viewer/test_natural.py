"""The order in which people list mixed values."""

from hypothesis import given
from hypothesis import strategies as st

from viewer.format.natural_order import natural_key, natural_sorted

values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=5,
)


def test_nothing_comes_first_then_no_and_yes_then_numbers_by_size_then_text():
    order = [None, False, True, 4, 8.5, 16, "Int4", "int8", "int16", [1, 5], [2]]
    assert natural_sorted(reversed(order)) == order


def test_not_a_number_comes_after_all_numbers():
    assert str(natural_sorted([float("nan"), 3, "a", float("inf")])) == "[3, inf, nan, 'a']"


@given(st.lists(values, max_size=8))
def test_everything_compares_with_everything_and_the_order_is_the_same_each_time(some):
    ordered = natural_sorted(some)
    assert [natural_key(value) for value in natural_sorted(ordered[::-1])] == [natural_key(value) for value in ordered]


@given(st.lists(st.integers(0, 10**6), min_size=2, unique=True))
def test_numbers_inside_names_are_ordered_by_size(numbers):
    assert natural_sorted([f"step{n}" for n in numbers]) == [f"step{n}" for n in sorted(numbers)]
