"""A store that somebody else made is data: whatever it holds, opening it runs nothing and reads nothing else."""

import html
import shutil
from dataclasses import replace

import duckdb
import pytest

from pipeline.cli import main
from pipeline.store.errors import ForeignFileError, StoreError
from pipeline.store.reader import open_results
from pipeline.store.writer import Store
from tests.pipeline.store.facts import GROUND, RUN, measurement, model, step
from viewer.overview.startup import startup_page
from viewer.results.queries import load_snapshot
from viewer.results.results import load_results

SECRET = "the content of another file"


@pytest.fixture
def secret(tmp_path):
    file = tmp_path / "secret.txt"
    file.write_text(SECRET)
    return file


@pytest.fixture
def results(tmp_path):
    """A published store, without its working file, as one gets it from somebody."""
    path = tmp_path / "results.duckdb"
    store = Store(path)
    store.write([*GROUND, model("base"), measurement("base", "accuracy", 0.9)])
    store.publish()
    store.close()
    shutil.rmtree(tmp_path / ".bouillon")
    return path


def changed(path, *statements):
    with duckdb.connect(str(path)) as db:
        for statement in statements:
            db.execute(statement)


def test_a_view_that_reads_a_file_is_not_used(results, secret):
    changed(
        results,
        f"CREATE OR REPLACE VIEW models AS SELECT content AS name FROM read_text('{secret}')",
        f"CREATE OR REPLACE VIEW scoreboard AS SELECT content AS model, 1.0 AS accuracy FROM read_text('{secret}')",
    )
    with open_results(results) as db:
        assert db.execute("SELECT name FROM models").fetchall() == [("base",)]
        assert db.execute("SELECT model, accuracy FROM scoreboard").fetchall() == [("base", 0.9)]


def test_a_macro_that_is_called_like_a_function_of_duckdb_is_not_used(results):
    changed(
        results, "CREATE MACRO coalesce(a, b) AS 'x'", "CREATE MACRO nullif(a, b) AS 'x'", "CREATE MACRO max(a) AS 666"
    )
    with open_results(results) as db:
        assert db.execute("SELECT model, target, accuracy FROM scoreboard").fetchall() == [("base", "ort", 0.9)]


@pytest.mark.parametrize(
    "attempt",
    [
        "FROM read_text('{secret}')",
        "FROM read_csv('{secret}')",
        "FROM glob('{folder}/*')",
        "COPY (SELECT 1) TO '{folder}/written.csv'",
        "ATTACH '{folder}/other.duckdb'",
        "INSTALL httpfs",
        "LOAD httpfs",
        "SET enable_external_access = true",
        "SET autoinstall_known_extensions = true",
        "FROM 'https://127.0.0.1/file.parquet'",
    ],
)
def test_a_connection_reaches_nothing_but_the_store(results, secret, attempt):
    before = sorted(file.name for file in secret.parent.iterdir())
    with open_results(results) as db, pytest.raises(duckdb.Error):
        db.execute(attempt.format(secret=secret, folder=secret.parent)).fetchall()
    assert sorted(file.name for file in secret.parent.iterdir()) == before


def test_a_view_in_the_place_of_a_table_is_refused(results, secret):
    changed(
        results,
        "DROP TABLE lint",
        f"CREATE VIEW lint AS SELECT content AS model_key FROM read_text('{secret}')",
    )
    for attempt in (open_results, Store):
        with pytest.raises(ForeignFileError, match="'lint' is not a table") as caught:
            attempt(results)
        assert len(str(caught.value).splitlines()) == 1


def test_a_view_in_the_place_of_the_stamp_is_not_asked(results, secret):
    changed(
        results,
        "DROP TABLE meta",
        f"CREATE VIEW meta AS SELECT 'application' AS key, content AS value FROM read_text('{secret}')",
    )
    with pytest.raises(ForeignFileError, match="not one of Bouillon's"):
        open_results(results)


def test_a_column_that_computes_itself_is_refused(results, secret):
    changed(
        results,
        "DROP TABLE device",
        "CREATE TABLE device (device VARCHAR, description VARCHAR GENERATED ALWAYS AS (getvariable('x')))",
    )
    with pytest.raises(ForeignFileError, match="column 'description' of its table 'device' is missing"):
        open_results(results)


def test_a_column_of_another_type_is_refused(results):
    changed(results, "DROP TABLE device", "CREATE TABLE device (device INTEGER, description VARCHAR)")
    with pytest.raises(StoreError, match="column 'device' of its table 'device' is INTEGER, not VARCHAR"):
        open_results(results)


@pytest.mark.parametrize(
    ("statement", "what"),
    [
        ("CREATE MACRO coalesce(a, b) AS 'x'", "the function 'coalesce'"),
        ("CREATE MACRO models() AS TABLE SELECT 1", "the function 'models'"),
        ("CREATE TYPE JSON_2 AS ENUM ('a')", "the type 'JSON_2'"),
    ],
)
def test_a_run_does_not_go_on_with_a_store_that_holds_functions(results, statement, what):
    changed(results, statement)
    with pytest.raises(ForeignFileError, match=what):
        Store(results)


def test_a_run_that_goes_on_with_a_store_publishes_views_of_its_own(results, secret):
    """Else whoever asks the published file with a client that may read files would run what somebody else wrote."""
    hostile = f"SELECT content AS model FROM read_text('{secret}')"
    for name in ("scoreboard", "metrics", "lints"):
        copy = results.with_name(f"{name}.duckdb")
        shutil.copy(results, copy)
        changed(copy, f"CREATE OR REPLACE VIEW {name} AS {hostile}")
        store = Store(copy)
        store.write([model("child", "base")])
        store.publish()
        store.close()
        with duckdb.connect(str(copy), read_only=True) as db:
            texts = db.execute("SELECT view_name FROM duckdb_views() WHERE sql LIKE '%read_text%'").fetchall()
            assert texts == []
            assert db.execute("SELECT model FROM scoreboard ORDER BY ALL").fetchall() == [("base",), ("child",)]


def test_a_foreign_working_file_is_looked_at_too(tmp_path, secret):
    path = tmp_path / "results.duckdb"
    Store(path).close()
    changed(
        tmp_path / ".bouillon" / "results.duckdb.working",
        f"CREATE OR REPLACE VIEW scoreboard AS SELECT content AS model FROM read_text('{secret}')",
    )
    store = Store(path)
    store.publish()
    with duckdb.connect(str(path), read_only=True) as db:
        assert db.execute("FROM scoreboard").fetchall() == []


@pytest.mark.parametrize(
    ("table", "column", "value"),
    [("model", "params", "[]"), ("model", "notes", "5"), ("model", "reference_keys", '"x"')],
)
def test_json_of_another_kind_is_told_in_one_line_by_the_commands(results, capsys, table, column, value):
    changed(results, f"UPDATE {table} SET {column} = '{value}'")
    words = ["compare", "base", "base"] if column != "params" else ["export", "compress-and-compare", "out.json"]
    assert main.run([*words, "--results", str(results)]) == 2
    shown = repr(value)
    assert capsys.readouterr().err == (
        f"error: The results hold {shown} in the place of a mapping: no store of this program does. Name another file.\n"
    )


@pytest.mark.parametrize(
    ("table", "column", "value"),
    [("model", "params", "[]"), ("model", "notes", "5"), ("device", "description", '"x"'), ("step", "params", "null")],
)
def test_json_of_another_kind_is_one_sentence_on_the_viewers_page(results, table, column, value):
    store = Store(results)
    store.write([measurement("base", "latency", 1.0, device="laptop"), step("lost", outcome="failed", error="no")])
    store.publish()
    store.close()
    assert len(load_results(results).snapshot.nodes) == 2
    changed(results, f"UPDATE {table} SET {column} = '{value}'")
    sentence = (
        f"The results hold {value!r} in the place of a mapping: no store of this program does. Name another file."
    )
    with pytest.raises(ForeignFileError) as told:
        load_snapshot(results)
    assert str(told.value) == sentence
    assert sentence in html.unescape(startup_page(results, told.value))


def test_a_past_run_of_another_kind_is_told_in_one_line(results):
    store = Store(results)
    store.write([replace(RUN, run_id="r2", recipe="quickstart"), step("base", run="r2")])
    store.publish()
    store.close()
    changed(results, "UPDATE run SET config = '[]'")
    shutil.rmtree(results.parent / ".bouillon")
    with pytest.raises(ForeignFileError, match=r"hold '\[\]' in the place of a mapping"):
        Store(results).last_steps("quickstart")


def test_tables_of_other_names_and_schemas_do_not_keep_a_run_from_publishing(results, secret):
    changed(
        results,
        "CREATE SCHEMA x",
        'CREATE TABLE x."odd ""name" AS SELECT 1 AS a',
        'CREATE TABLE "another; DROP TABLE model" AS SELECT 1 AS a',
        f'CREATE VIEW "a ""b" AS SELECT content FROM read_text(\'{secret}\')',
        f"CREATE VIEW harmless AS SELECT content FROM read_text('{secret}')",
        f"CREATE VIEW x.models AS SELECT content FROM read_text('{secret}')",
    )
    store = Store(results)
    store.write([model("child", "base")])
    assert store.publish()
    store.close()
    with duckdb.connect(str(results), read_only=True) as db:
        assert db.execute("SELECT model FROM scoreboard ORDER BY ALL").fetchall() == [("base",), ("child",)]
        assert db.execute("SELECT view_name FROM duckdb_views() WHERE sql LIKE '%read_text%'").fetchall() == []
