"""Every column of a table is declared once: in its record. The statements, the comments and the inserts come from there."""

import re
from collections import Counter
from pathlib import Path

import pytest

import pipeline
from pipeline.store.database import connect
from pipeline.store.records import run_records
from pipeline.store.records.columns import TABLES
from pipeline.store.schema import definition, origins, scoreboard
from pipeline.store.schema.origins import Origin, view_origins
from pipeline.store.writer import Store
from tests.pipeline.store.facts import model

SOURCES = Path(pipeline.__file__).parent


def comments(db):
    """(view, column) -> comment, in a database with the schema."""
    rows = db.execute(
        "SELECT table_name, column_name, c.comment FROM duckdb_columns() c JOIN duckdb_views() ON view_name = table_name "
        "WHERE NOT c.internal"
    ).fetchall()
    return {(view, column): comment for view, column, comment in rows}


@pytest.fixture(scope="module")
def schema():
    with connect() as db:
        definition.create(db)
        yield db


@pytest.fixture(scope="module")
def shown(schema):
    """(view, column) -> the table's column that it simply is, or None; of all views, the scoreboard too."""
    tables = {name: [column.name for column in table.columns] for name, table in definition.declarations().items()}
    views = {statement.split()[4]: statement.partition(" AS\n")[2] for statement in definition.views()}
    views["scoreboard"] = scoreboard.definition([]).partition(" AS\n")[2]
    return {
        (view, column): origin
        for view, columns in view_origins(schema, tables, views).items()
        for column, origin in columns.items()
    }


def test_no_other_source_makes_a_table():
    """But migrations, which say once and for all what a table was, and copies of another store's own table as it is."""
    made = re.compile(r"CREATE (?:TEMP )?TABLE (?:IF NOT EXISTS )?(?!IF )(?!\S+ AS FROM )\w")
    sources = [path for kind in ("*.py", "*.sql") for path in SOURCES.rglob(kind) if path.parent.name != "migrations"]
    assert [str(path) for path in sources if made.search(path.read_text())] == []


def test_no_table_is_declared_twice():
    tables = [table.name for table in TABLES.values()] + [
        name for name in definition.names() if name not in definition.tables()
    ]
    assert [name for name, times in Counter(tables).items() if times > 1] == []


def test_views_comment_on_what_they_compute_and_on_nothing_else(shown):
    text = "\n".join(definition.scripts())
    written = [tuple(place.split(".")) for place in re.findall(r"^COMMENT ON COLUMN (\S+) IS", text, re.MULTILINE)]
    computed = {place for place, origin in shown.items() if origin is None and place[0] != "scoreboard"}
    assert sorted(written) == sorted(computed)


def test_a_column_that_a_view_shows_as_it_is_has_the_comment_of_its_record(schema, shown):
    declared = {
        (table.name, column.name): column.comment
        for table in definition.declarations().values()
        for column in table.columns
    }
    present = comments(schema)
    taken = {place: origin for place, origin in shown.items() if origin is not None}
    assert {place: present[place] for place in taken} == {place: declared[origin] for place, origin in taken.items()}
    assert len(taken) > 250
    assert present.keys() == shown.keys()


@pytest.mark.parametrize(
    ("view", "column", "expected"),
    [
        ("measurements", "low", ("measurement", "low")),  # through a common table expression and an anti-join
        ("speedups", "against", ("model", "name")),  # of a table that is joined twice
        ("steps", "seconds", ("step", "seconds")),  # no table named
        ("timings", "preset", ("timing_process", "preset")),  # any value of a group of equal ones
        ("timings", "error", ("timing_failure", "error")),  # the other part of a union
        ("lineage", "depth", ("model", "depth")),  # a recursion
        ("class_accuracy", "split", ("prediction_set", "split")),  # another view
        ("class_accuracy", "class", None),  # an instance may have several
        ("scoreboard", "dataset", ("dataset", "name")),
        ("measurements", "target", None),  # '' becomes NULL
        ("layers", "macs", None),
        ("timing_runs", "position", None),  # of a function
    ],
)
def test_origins_of_columns(shown, view, column, expected):
    assert shown[view, column] == expected


def test_origins_are_followed_through_subqueries_stars_and_joins_by_a_name(schema):
    tables = {"one": ["id", "value"], "other": ["id", "word"]}
    query = (
        "SELECT id, o.value, other.word AS text, upper(word) AS loud FROM (SELECT * FROM one) o JOIN other USING (id)"
    )
    assert view_origins(schema, tables, {"both": query}) == {
        "both": {
            "id": Origin("one", "id"),
            "value": Origin("one", "value"),
            "text": Origin("other", "word"),
            "loud": None,
        }
    }


def test_a_store_whose_comments_an_unknown_duckdb_cannot_tell_is_a_store(path, query, monkeypatch):
    monkeypatch.setattr(origins, "_PARSE", "SELECT '{\"statements\": []}' FROM (SELECT unnest(?))")
    store = Store(path)
    store.write([model("base")])
    store.publish()
    assert query("SELECT name FROM models") == [("base",)]


def test_a_finished_store_gets_new_comments_when_it_is_opened(store, path, query, monkeypatch):
    store.publish()
    store.close()
    table = definition.declarations()["run"]
    column = next(column for column in table.columns if column.name == "host")
    monkeypatch.setattr(definition, "schema_fingerprint", lambda: "another")
    object.__setattr__(column, "comment", "Another sentence.")
    try:
        Store(path).publish()
    finally:
        object.__setattr__(column, "comment", "JSON: the machine.")
    sql = "SELECT comment FROM duckdb_columns() WHERE database_name = 'results' AND table_name = 'runs' AND column_name = 'host'"
    assert query(sql) == [("Another sentence.",)]


def test_what_the_store_fills_is_no_part_of_a_record():
    assert TABLES[run_records.Model].values(model("base")) == {
        "model_key": "base", "parent_key": None, "name": "base", "title": "", "recipe": "study", "op": "prune",
        "op_version": 1, "kind": "prune", "format": "torch", "params": {}, "reference_keys": {}, "notes": {},
    }  # fmt: skip
    with pytest.raises(TypeError, match="root_key"):
        run_records.Model("a", None, "a", "", "", "", 1, "", "", {}, root_key="a")
