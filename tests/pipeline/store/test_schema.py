import json
from pathlib import Path

import duckdb

from pipeline.store.database import SCHEMA_VERSION, connect
from pipeline.store.migration import migrations
from pipeline.store.schema import definition
from pipeline.store.writer import Store
from tests.pipeline.store.facts import model

GOLDEN = Path(__file__).with_name("schema.json")


def tables():
    with connect() as db:
        definition.create(db)
        rows = db.execute(
            "SELECT table_name, column_name, data_type FROM duckdb_columns() JOIN duckdb_tables() USING (table_name) "
            "WHERE NOT duckdb_tables.internal ORDER BY table_name, column_index"
        ).fetchall()
    found = {}
    for table, column, kind in rows:
        found.setdefault(table, {})[column] = kind
    return found


def test_a_changed_table_has_a_migration():
    """Stores in the field have the tables of this file. Changed one? See pipeline/store/migrations/README.md."""
    golden = json.loads(GOLDEN.read_text())
    now = tables()
    assert golden["version"] == SCHEMA_VERSION
    assert {name: now.get(name) for name in golden["tables"]} == golden["tables"]
    assert set(range(2, SCHEMA_VERSION + 1)) == set(migrations())


def test_a_new_table_is_in_the_golden_file():
    """Else a later change of it would go unnoticed: stores in the field have it as it was."""
    now, known = tables(), json.loads(GOLDEN.read_text())["tables"]
    missing = {name: now[name] for name in sorted(now.keys() - known.keys())}
    assert not missing, f"add to {GOLDEN.name}: {json.dumps(missing, indent=1)}"


def constraints(db):
    """Table -> what DuckDB holds rows to, and table -> columns that may be NULL."""
    rules = {}
    for table, kind, expression, columns in db.execute(
        "SELECT table_name, constraint_type, expression, constraint_column_names FROM duckdb_constraints() "
        "WHERE constraint_type <> 'NOT NULL'"
    ).fetchall():
        text = (expression or f"({', '.join(columns)})").replace('"', "")
        rules.setdefault(table, []).append(f"{kind} {text}")
    optional = {}
    for table, column in db.execute(
        "SELECT table_name, column_name FROM duckdb_columns() JOIN duckdb_tables() USING (table_name) "
        "WHERE NOT duckdb_tables.internal AND is_nullable ORDER BY column_index"
    ).fetchall():
        optional.setdefault(table, []).append(column)
    return {table: sorted(texts) for table, texts in rules.items()}, optional


def test_keys_conditions_and_nulls_are_those_of_stores_in_the_field():
    golden = json.loads(GOLDEN.read_text())
    with connect() as db:
        definition.create(db)
        assert constraints(db) == (golden["constraints"], golden["optional"])


def test_columns_stand_in_the_order_of_stores_in_the_field():
    golden = json.loads(GOLDEN.read_text())["tables"]
    assert {name: list(columns) for name, columns in tables().items()} == {
        name: list(columns) for name, columns in golden.items()
    }


def test_a_table_that_this_program_adds_is_made_in_a_store_that_lacks_it(store, path, query):
    store.write([model("base")])
    store.publish()
    store.close()
    with duckdb.connect(str(path.parent / ".bouillon" / "results.duckdb.working")) as db:
        db.execute("DROP VIEW layers; DROP TABLE layer; UPDATE meta SET value = 'another' WHERE key = 'schema'")
    Store(path).publish()
    assert query("SELECT count(*) FROM layers") == [(0,)]
    assert query("SELECT model FROM scoreboard") == [("base",)]
