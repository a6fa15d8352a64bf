"""Results of several machines in one store: all facts, each once, and conflicts by name."""

from dataclasses import dataclass
from typing import Annotated

import duckdb
import pytest

from pipeline.cli.commands.table import run_command
from pipeline.delivery.transfer import merge_results
from pipeline.store.errors import InvalidRecordError, StoreError
from pipeline.store.records.columns import TABLES
from pipeline.store.records.layer_records import Finding
from pipeline.store.records.run_records import Ingested
from pipeline.store.records.sensitivity_records import Sensitivity
from pipeline.store.write.own_table import own_table
from pipeline.store.writer import Store
from pipeline.sweep import known_data
from tests.pipeline.store.facts import GROUND, INSTANCES, layer, measurement, model, predictions, step, values

SURE = [[0.9, 0.1], [0.2, 0.8], [0.7, 0.3], [0.4, 0.6]]


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    monkeypatch.setattr(known_data, "_FOLDER", tmp_path / "known")


def made(path, *records):
    store = Store(path)
    store.write([*GROUND, *records])
    store.publish()
    store.close()
    return path


def facts_of(name, value=0.75, **rest):
    return [
        model(name),
        INSTANCES,
        step(name),
        measurement(name, "accuracy", value, data="data1"),
        measurement(name, "latency", 2.0, device="laptop"),
        predictions(name, SURE),
        values(name, "accuracy", [1, 1, 1, 1], evidence=f"{name}-accuracy-0"),
        layer(name, "conv.weight", **rest),
        Ingested(f"{name}-accuracy-0"),
    ]


def rows(path):
    """Every row of every table but for numbers of sets and dates, for comparison."""
    with duckdb.connect() as db:
        db.execute(f"ATTACH '{path}' AS r (READ_ONLY)")
        tables = [
            name
            for (name,) in db.execute("SELECT table_name FROM duckdb_tables() WHERE database_name = 'r'").fetchall()
        ]
        result = {}
        for table in sorted(set(tables) - {"meta", "scoreboard_column"}):
            columns = [name for (name, *_) in db.execute(f"DESCRIBE r.main.{table}").fetchall()]
            plain = [
                f'"{name}"'
                for name in columns
                if not name.endswith("_set") and name != "recorded_at" and (table, name) != ("metric", "fact")
            ]
            result[table] = sorted(map(repr, db.execute(f"SELECT {', '.join(plain)} FROM r.main.{table}").fetchall()))
        return result


def test_a_merge_holds_what_one_store_with_all_facts_holds_and_a_second_adds_nothing(tmp_path, query):
    a = made(tmp_path / "a.duckdb", *facts_of("one"), *facts_of("two"))
    b = made(tmp_path / "b.duckdb", *facts_of("three"), *facts_of("one"))
    before = b.read_bytes()
    report = merge_results(tmp_path / "results.duckdb", [a, b])
    whole = made(tmp_path / "whole.duckdb", *facts_of("one"), *facts_of("two"), *facts_of("three"))
    assert rows(tmp_path / "results.duckdb") == rows(whole)
    assert report.conflicts == []
    assert report.added["prediction"] == 12
    assert b.read_bytes() == before
    again = merge_results(tmp_path / "results.duckdb", [b, a])
    assert (again.rows, again.conflicts) == (0, [])
    right = "SELECT model, instance_id, predicted FROM predictions JOIN models USING (model_key) ORDER BY ALL"
    assert query(right)[:4] == [("one", "a", "cat"), ("one", "b", "dog"), ("one", "c", "cat"), ("one", "d", "dog")]
    assert query("SELECT model, accuracy FROM scoreboard WHERE accuracy IS NOT NULL ORDER BY model") == [
        ("one", 0.75), ("three", 0.75), ("two", 0.75)
    ]  # fmt: skip


def test_sets_whose_numbers_are_taken_get_others(tmp_path, query):
    other = [[0.1, 0.9], [0.9, 0.1], [0.2, 0.8], [0.6, 0.4]]
    a = made(tmp_path / "a.duckdb", model("one"), INSTANCES, predictions("one", SURE))
    b = made(tmp_path / "b.duckdb", model("two"), INSTANCES, predictions("two", other))
    merge_results(tmp_path / "results.duckdb", [a, b])
    answers = "SELECT model, predicted FROM predictions JOIN models USING (model_key) ORDER BY model, position"
    assert query(answers) == [
        *(("one", label) for label in ("cat", "dog", "cat", "dog")),
        *(("two", label) for label in ("dog", "cat", "dog", "cat")),
    ]


def test_other_figures_for_one_key_are_named_and_those_that_were_there_stay(tmp_path, query, capsys):
    a = made(tmp_path / "a.duckdb", *facts_of("one"))
    changed = [[0.1, 0.9], *SURE[1:]]
    b = made(tmp_path / "b.duckdb", *[each for each in facts_of("one", 0.5, nonzeros=4) if type(each).__name__ != "PredictionSet"],
             predictions("one", changed))  # fmt: skip
    results = tmp_path / "results.duckdb"
    merge_results(results, [a])
    assert run_command(["merge", str(b), "--results", str(results)]) == 1
    said = capsys.readouterr().out
    tail = ": other figures for the same key; those that were here stay"
    assert f"measurement: model one, target ort, dataset data1, metric accuracy, evidence one-accuracy-0{tail}" in said
    assert f"layer: model one, tensor conv.weight{tail}" in said
    assert f"prediction_set: model one, target ort, dataset data1, split evaluation{tail}" in said
    assert query("SELECT accuracy FROM scoreboard WHERE accuracy IS NOT NULL") == [(0.75,)]
    assert query("SELECT nonzeros FROM layers") == [(5,)]


def test_findings_and_sensitivities_of_one_key_with_other_figures_are_conflicts_and_other_times_are_not(
    tmp_path, query
):
    def figures(kl, seconds, text):
        return (
            model("one"),
            Finding("one", "", "dead_channels", "conv", 0.5, text, ""),
            Sensitivity("key", "one", "prune 0.5", "prune", {"sparsity": 0.5}, "conv", ["conv"], 0, None, kl, 0.01, 0.0,
                        0.0, 0.0, 0.0, 10, 5, 0, {}, "", 100, seconds, 0.0),
        )  # fmt: skip

    results = tmp_path / "results.duckdb"
    merge_results(results, [made(tmp_path / "a.duckdb", *figures(0.25, 1.0, "3 are dead"))])
    slower = merge_results(results, [made(tmp_path / "b.duckdb", *figures(0.25, 9.0, "3 are dead"))])
    assert (slower.rows, slower.conflicts) == (0, [])
    other = merge_results(results, [made(tmp_path / "c.duckdb", *figures(0.75, 1.0, "4 are dead"))])
    assert [line.partition(":")[0] for line in other.conflicts] == ["finding", "sensitivity"]
    assert query("SELECT kl, text FROM sensitivities, findings") == [(0.25, "3 are dead")]


def test_a_model_that_was_made_in_another_way_is_a_conflict(tmp_path):
    a = made(tmp_path / "a.duckdb", model("one", sparsity=0.5))
    b = made(tmp_path / "b.duckdb", model("one", sparsity=0.9))
    report = merge_results(tmp_path / "results.duckdb", [a, b])
    assert report.conflicts == ["model: model one: other figures for the same key; those that were here stay"]


def test_a_table_of_a_persons_own_stage_comes_along(tmp_path):
    @dataclass(frozen=True, slots=True)
    class Zeros:
        """Of the test."""

        model_key: Annotated[str, "The model."]
        zeros: Annotated[int, "How many."]

    try:
        own_table("zeros_of_a_test", model_key="model")(Zeros)
        a = made(tmp_path / "a.duckdb", model("one"), Zeros("one", 3))
        b = made(tmp_path / "b.duckdb", model("two"), Zeros("two", 4))
    finally:
        TABLES.pop(Zeros, None)
    results = tmp_path / "results.duckdb"
    merge_results(results, [a, b])
    assert merge_results(results, [a, b]).rows == 0
    with duckdb.connect() as db:
        db.execute(f"ATTACH '{results}' AS r (READ_ONLY)")
        assert db.execute("SELECT model_key, zeros FROM r.zeros_of_a_test ORDER BY ALL").fetchall() == [
            ("one", 3),
            ("two", 4),
        ]


def test_what_names_what_nobody_has_is_refused_whole(tmp_path):
    b = made(tmp_path / "b.duckdb", *facts_of("one"))
    with duckdb.connect(str(b)) as db:
        db.execute("DELETE FROM model")
    results = tmp_path / "results.duckdb"
    with pytest.raises(
        InvalidRecordError, match=r"b\.duckdb: nothing was merged: .* names the model 'one', which neither has"
    ):
        merge_results(results, [b])
    assert not Store(results).has_models()


def test_bad_files_are_one_line(tmp_path):
    results = made(tmp_path / "results.duckdb", model("one"))
    with pytest.raises(StoreError, match=r"nowhere\.duckdb: there is no such file"):
        merge_results(results, [tmp_path / "nowhere.duckdb"])
    with pytest.raises(StoreError, match=r"is the file that others are merged into"):
        merge_results(results, [results])
    (tmp_path / "text.duckdb").write_text("no database")
    with pytest.raises(StoreError, match=r"text\.duckdb"):
        merge_results(results, [tmp_path / "text.duckdb"])


def test_results_are_ones_own_only_if_all_that_was_merged_is(tmp_path):
    from pipeline.sweep.config import Config

    config = Config(recipe={}, dataset={"name": "digits"})
    paths = [made(tmp_path / f"{name}.duckdb", model(name)) for name in ("mine", "also_mine", "theirs")]
    for path in paths[:2]:
        known_data.remember("data1", config, Store(path).identity)
    results = tmp_path / "results.duckdb"
    merge_results(results, paths[:2])
    assert known_data.is_own(Store(results).identity)
    merge_results(results, paths[2:])
    assert not known_data.is_own(Store(results).identity)
