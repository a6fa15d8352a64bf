"""Records that declare their own table."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated, Any

import duckdb
import pytest

from pipeline.store.errors import InvalidRecordError
from pipeline.store.records.columns import TABLES, Int32
from pipeline.store.write.own_table import own_table
from pipeline.store.writer import Store
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


def test_a_table_of_ones_own_has_the_types_and_comments_of_its_declaration(declared, store, query):
    @dataclass(frozen=True, slots=True)
    class Own:
        """Of the test's own."""

        model_key: Annotated[str, "The model."]
        place: Annotated[Int32 | None, "It's a place."]
        sizes: Annotated[Sequence[float], "Sizes."]
        facts: Annotated[Mapping[str, Any], "JSON: facts."]
        at: Annotated[datetime, "When."]  # a word that SQL keeps for itself

    record = declared("own_figures", model_key="model")(Own)
    store.write([model("base"), record("base", None, [0.5, 2], {"a": 1}, datetime(2026, 1, 1, tzinfo=UTC))])
    store.publish()
    assert query(
        "SELECT column_name, data_type, is_nullable, comment FROM duckdb_columns() WHERE table_name = 'own_figures'"
        " ORDER BY column_index"
    ) == [
        ("fact", "UUID", False, "Digest of the row, so that what is written twice is stored once."),
        ("model_key", "VARCHAR", False, "The model."),
        ("place", "INTEGER", True, "It's a place."),
        ("sizes", "DOUBLE[]", False, "Sizes."),
        ("facts", "JSON", False, "JSON: facts."),
        ("at", "TIMESTAMP", False, "When."),
        ("recorded_at", "TIMESTAMP", False, "When the row entered the store, UTC; views show the newest of several."),
    ]
    assert query("SELECT comment FROM duckdb_tables() WHERE table_name = 'own_figures'") == [("Of the test's own.",)]
    assert query("SELECT sizes, facts ->> 'a', \"at\" FROM results.own_figures") == [
        ([0.5, 2.0], "1", datetime(2026, 1, 1))
    ]


def test_a_table_of_an_older_program_that_holds_json_as_text_goes_on(declared, store, path, query):
    @dataclass(frozen=True, slots=True)
    class Own:
        """Of the test."""

        facts: Annotated[Mapping[str, Any], "JSON: facts."]

    record = declared("own_figures")(Own)
    store.write([record({"a": 1})])
    store.close()
    with duckdb.connect(str(path.parent / ".bouillon" / f"{path.name}.working")) as db:
        db.execute("ALTER TABLE own_figures ALTER facts TYPE VARCHAR")
    again = Store(path)
    assert again.write([record({"a": 1}), record({"a": 2})]) == 1
    again.publish()
    assert query("SELECT facts FROM results.own_figures ORDER BY facts") == [('{"a": 1}',), ('{"a": 2}',)]


@pytest.mark.parametrize(
    ("name", "hint", "message"),
    [
        ("layer", Annotated[float, "A value."], "Own: the store has a table or view 'layer'"),
        ("layers", Annotated[float, "A value."], "Own: the store has a table or view 'layers'"),
        ("no name", Annotated[float, "A value."], "'no name', or it is no name"),
        ("order", Annotated[float, "A value."], "'order' is a word of SQL, so queries would have to quote it"),
        ("own_figures", float, r"Own.value: give the column a description: Annotated\[TYPE, \"...\"\]"),
        (
            "own_figures",
            Annotated[complex, "A value."],
            "Own.value: a column is one of str, int, float, bool, datetime, Mapping, Sequence, or that or None",
        ),
        ("own_figures", Annotated[Sequence[complex], "Values."], "Own.value: a column is one of"),
        ("own_figures", Annotated[int | float, "A value."], "Own.value: a column is one of"),
    ],
)
def test_a_table_that_cannot_be_is_refused_when_it_is_declared(declared, name, hint, message):
    with pytest.raises(TypeError, match=message):
        declared(name)(_record(hint))


def test_a_record_without_a_table_is_told_what_it_lacks(store):
    with pytest.raises(InvalidRecordError, match="Own is no record of the store: declare its table by @own_table"):
        store.write([model("base"), _record()("base", 1.5)])


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
