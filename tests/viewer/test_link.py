"""The state of a view as an address, and back."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.viewer.stores import key_of
from viewer.session.state import ViewState
from viewer.session.url import Keys, read_link, write_link

MODELS = [key_of(str(number)) for number in range(300)]
KEYS = Keys(MODELS)
text = st.text(st.characters(codec="utf-8", exclude_categories=["Cs"]), max_size=20)
bounds = st.none() | st.floats(allow_nan=False, allow_infinity=False)
ranges = st.lists(st.tuples(text, bounds, bounds), max_size=4)


@given(
    selected=st.lists(st.sampled_from(MODELS), unique=True, max_size=20),
    opened=st.lists(st.sampled_from([*MODELS[:5], "bundle-1234"]), unique=True),
    color=text,
    relax=text,
    filters=ranges,
    budgets=st.dictionaries(text, ranges, max_size=3),
    refine=st.dictionaries(text, st.lists(text, max_size=3), max_size=3),
    columns=st.lists(text, max_size=4),
    x_log=st.booleans(),
    rows_from=st.integers(0, 10_000),
)
def test_every_state_comes_back_from_its_address(**values):
    state = ViewState()
    state.change(values)
    found, notices = read_link(write_link(state, KEYS), KEYS)
    assert notices == []
    again = ViewState()
    again.change(found)
    for name in state.fields():
        given_, read = state.value(name), again.value(name)
        assert (sorted(given_) == sorted(read)) if name == "opened" else given_ == read


@given(st.text(max_size=200))
def test_no_address_breaks_anything(query):
    found, _ = read_link(query, KEYS)
    ViewState().change(found)


def test_the_start_needs_no_address():
    assert write_link(ViewState(), KEYS) == ""


def test_keys_are_as_short_as_they_can_be_and_old_links_stay_valid():
    assert len(KEYS.short(MODELS[0])) <= 8
    assert KEYS.full(MODELS[0][:20]) == MODELS[0]
    assert KEYS.full(MODELS[0]) == MODELS[0]
    assert Keys(["aaaaaaaa1", "aaaaaaaa2"]).full("aaaa") is None


@pytest.mark.parametrize(
    ("query", "notice"),
    [
        ("rows_from=-3", "The address says rows_from=-3, which means nothing here; ignored."),
        ("theme=pink", "The address says theme=pink, which means nothing here; ignored."),
        ("filters=1~nan~size", "The address says filters=1~nan~size, which means nothing here; ignored."),
        ("what=1", "The address has an unknown part 'what'; it was ignored."),
        ("selected=nothing,abc", "2 of the 2 models in the address are not in these results."),
        ("budgets=[1]", "The address says budgets=[1], which means nothing here; ignored."),
    ],
)
def test_what_means_nothing_is_named(query, notice):
    found, notices = read_link(query, KEYS)
    assert notices == [notice]
    assert set(found) <= {"selected"}
