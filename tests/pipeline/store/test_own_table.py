"""Records that declare their own table."""

from dataclasses import dataclass
from typing import Annotated

import pytest

from pipeline.store.errors import InvalidRecordError
from pipeline.store.write.own_table import own_table
from pipeline.store.write.table_map import TABLES
from tests.pipeline.store.facts import GROUND, model


@pytest.fixture
def declared():
    present = set(TABLES)
    yield own_table
    for kind in set(TABLES) - present:
        del TABLES[kind]


def _record(hint=Annotated[float | None, "It's a value."]):
    @dataclass(frozen=True, slots=True)
    class Own:
        """Of the test."""

        model_key: Annotated[str, "The model."]
        value: hint

    return Own


def test_a_table_of_ones_own_is_made_with_its_first_record_and_holds_what_is_written(declared, store, query):
    record = declared("own_figures", model_key="model")(_record())
    assert store.write([*GROUND, model("base"), record("base", 1.5), record("base", None)]) > 2
    assert store.write([record("base", 1.5)]) == 0
    with pytest.raises(InvalidRecordError, match="A own_figures names the model 'nobody'"):
        store.write([record("nobody", 1.5)])
    store.publish()
    assert query("SELECT model_key, value FROM results.own_figures ORDER BY value") == [("base", 1.5), ("base", None)]


@pytest.mark.parametrize(
    ("name", "hint", "message"),
    [
        ("layer", Annotated[float, "A value."], "Own: the store has a table or view 'layer'"),
        ("layers", Annotated[float, "A value."], "Own: the store has a table or view 'layers'"),
        ("no name", Annotated[float, "A value."], "'no name', or it is no name"),
        ("own_figures", float, r"Own.value: give the column a description: Annotated\[TYPE, \"...\"\]"),
        (
            "own_figures",
            Annotated[complex, "A value."],
            "Own.value: a column is one of str, int, float, bool, datetime, Mapping",
        ),
    ],
)
def test_a_table_that_cannot_be_is_refused_when_it_is_declared(declared, name, hint, message):
    with pytest.raises(TypeError, match=message):
        declared(name)(_record(hint))


def test_a_table_that_the_store_has_with_other_columns_is_refused(declared, store):
    first = declared("own_figures")(_record())
    store.write([first("base", 1.0)])
    del TABLES[first]

    @dataclass(frozen=True, slots=True)
    class Other:
        """With another column."""

        other: Annotated[str, "Another column."]

    declared("own_figures")(Other)
    with pytest.raises(InvalidRecordError, match="The store has a table 'own_figures' with other columns"):
        store.write([Other("x")])
