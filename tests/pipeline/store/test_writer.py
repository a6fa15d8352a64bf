import math
import random
import re
import shutil
from dataclasses import replace
from datetime import timedelta

import numpy as np
import pytest

from pipeline.store.errors import ForeignFileError, InvalidRecordError, WriteError
from pipeline.store.reader import open_results
from pipeline.store.records import run_records
from pipeline.store.writer import Store
from tests.pipeline.store import facts
from tests.pipeline.store.facts import (
    ACCURACY,
    GROUND,
    INSTANCES,
    RUN,
    START,
    layer,
    measurement,
    model,
    predictions,
    step,
    values,
)
from tests.timing import in_loops

EVERYTHING = [
    *GROUND,
    model("base", op="base"),
    model("child", "base", sparsity=0.5),
    model("grandchild", "child"),
    step("base"),
    step("child", outcome="failed", error="boom", traceback="at line 1"),
    measurement("base", "accuracy", 0.9, data="data1", low=0.8, high=0.95, count=4),
    layer("base", "net.weight"),
    INSTANCES,
    predictions("base", [[0.9, 0.1], [0.2, 0.8], [0.4, 0.6], [0.3, 0.7]]),
    values("base", "accuracy", [1, 1, 0, 1]),
    run_records.Ingested("evidence1"),
    run_records.RunEnd("run1", START + timedelta(seconds=5), 1),
]
ROWS = len(EVERYTHING) - 3 + 3 * 4  # the three sets have four rows each


def test_facts_are_written_once_whatever_their_order(store, query):
    shuffled = random.Random(0).sample(EVERYTHING, len(EVERYTHING))
    assert store.write(shuffled) == ROWS
    assert store.write(EVERYTHING) == 0
    assert store.write([*EVERYTHING, *EVERYTHING]) == 0
    store.publish()
    assert query("SELECT name, parent, root, depth FROM models ORDER BY depth") == [
        ("base", None, "base", 0), ("child", "base", "base", 1), ("grandchild", "child", "base", 2),
    ]  # fmt: skip
    assert query("SELECT exit_code, seconds FROM runs") == [(1, 5.0)]
    assert query("SELECT path, outcome, error FROM steps ORDER BY path") == [
        ("base", "done", None), ("child", "failed", "boom")
    ]  # fmt: skip
    assert query("SELECT sparsity, mean_abs FROM layers") == [(0.5, 0.4)]


@pytest.mark.parametrize(
    ("record", "message"),
    [
        (model("x", "nobody"), "Model 'x' names the parent nobody, which is neither in the store nor written with it."),
        (model("x", "x"), "Model 'x' is its own ancestor."),
        (measurement("nobody", "accuracy", 1.0), "A measurement names the model 'nobody', which is neither in the store"),
        (measurement("base", "speed", 1.0), "A measurement names the metric 'speed'"),
        (measurement("base", "accuracy", 1.0, device="moon"), "A measurement names the device 'moon'"),
        (measurement("base", "accuracy", 1.0, data="d9"), "A measurement names the dataset 'd9'"),
        (step("x", run="run9"), "A step names the run 'run9'"),
        (step("x", outcome="lost"), "nothing was written"),
        (replace(ACCURACY, better="bigger"), "nothing was written"),
        (replace(ACCURACY, role="virtue"), "nothing was written"),
        (values("nobody", "accuracy", [1, 1, 0, 1]), "A value set names the model 'nobody', which is neither in the store"),
        (values("base", "speed", [1, 1, 0, 1]), "A value set names the metric 'speed'"),
        (values("base", "accuracy", [1, 1, 0, 1], data="d9"), "the evaluation instances of data set d9 are not in the store"),
        (values("base", "accuracy", [1, 1, 0]), "3 values for 4 instances of the evaluation split"),
        (predictions("base", [[1, 0]] * 4, data="data9"), "the evaluation instances of data set data9 are not in the store"),
        (predictions("base", [[1, 0]] * 3, labels=(0, 0, 0)), "3 predictions for 4 instances of the evaluation split"),
    ],
)  # fmt: skip
def test_a_fact_that_contradicts_the_store_undoes_the_whole_call(store, query, record, message):
    store.write([*GROUND, model("base"), INSTANCES])
    with pytest.raises(InvalidRecordError, match=re.escape(message)):
        store.write([model("other"), step("other"), record])
    store.publish()
    assert query("SELECT name FROM models") == [("base",)]
    assert query("SELECT path FROM steps") == []
    assert store.write([model("other")]) == 1


@pytest.mark.parametrize("mode", [0o600, 0o640, 0o664])
def test_permissions_of_the_results_are_kept(store, path, mode):
    store.publish()
    path.chmod(mode)
    store.write([model("base")])
    assert store.publish()
    assert path.stat().st_mode & 0o777 == mode
    store.close()
    shutil.rmtree(path.parent / ".bouillon")
    Store(path).close()
    assert (path.parent / ".bouillon" / f"{path.name}.working").stat().st_mode & 0o777 == mode


def test_models_in_a_cycle_are_refused(store):
    with pytest.raises(InvalidRecordError, match="is its own ancestor"):
        store.write([model("a", "b"), model("b", "c"), model("c", "a")])


def test_a_chain_of_thousands_is_placed(store, query):
    chain = [model("0"), *(model(str(number), str(number - 1)) for number in range(1, 2000))]
    store.write(reversed(chain))
    store.publish()
    assert query("SELECT depth, root_key FROM models WHERE name = '1999'") == [(1999, "0")]


def test_publishing_happens_only_when_something_changed(store, path):
    assert store.publish()
    assert not store.publish()
    assert not Store(path).publish()
    store.write([RUN])
    assert store.publish()
    store.write([RUN])
    assert not store.publish()


def test_readers_see_nothing_before_it_is_published_and_keep_what_they_opened(store, path, query):
    store.publish()
    store.write([model("first")])
    assert query("SELECT count(*) FROM models") == [(0,)]
    store.publish()
    reader = open_results(path)
    store.write([model("second")])
    store.publish()
    assert reader.execute("SELECT count(*) FROM models").fetchall() == [(1,)]
    assert query("SELECT count(*) FROM models") == [(2,)]
    reader.close()


def test_deleted_results_are_published_again(store, path, query):
    store.write(EVERYTHING)
    store.publish()
    path.unlink()
    assert Store(path).publish()
    assert query("SELECT count(*) FROM models") == [(3,)]


def test_a_lost_working_file_is_made_again_from_the_results(store, path, query):
    store.write(EVERYTHING)
    store.publish()
    working = path.parent / ".bouillon" / "results.duckdb.working"
    working.unlink()
    working.with_name("results.duckdb.working.wal").write_bytes(b"of another life")
    again = Store(path)
    assert again.write(EVERYTHING) == 0
    assert again.write([model("new", "grandchild")]) == 1
    again.publish()
    assert query("SELECT depth FROM models WHERE name = 'new'") == [(3,)]


def test_an_earlier_state_of_the_results_is_published_over(store, path, query):
    store.publish()
    earlier = path.read_bytes()
    store.write([model("base")])
    store.publish()
    path.write_bytes(earlier)
    assert Store(path).publish()
    assert query("SELECT name FROM models") == [("base",)]


def test_results_of_another_store_are_never_overwritten(store, path, tmp_path):
    store.write([model("mine")])
    store.publish()
    other = Store(tmp_path / "other.duckdb")
    other.write([model("theirs")])
    other.publish()
    (tmp_path / "other.duckdb").replace(path)
    message = (
        "is not what .*results.duckdb.working was published as: publishing would overwrite results that are only there"
    )
    with pytest.raises(ForeignFileError, match=message):
        Store(path)
    store.write([model("another")])
    with pytest.raises(ForeignFileError, match=message):
        store.publish()
    with open_results(path) as db:
        assert db.execute("SELECT name FROM models").fetchall() == [("theirs",)]


def test_two_stores_take_turns_in_one_process(path):
    one, two = Store(path), Store(path)
    one.write([model("base")])
    two.write([model("child", "base")])
    assert one.write([model("child", "base"), model("third", "child")]) == 1


def test_what_the_driver_asks(store, path):
    store.write(
        [*GROUND, model("base", op="load"), step("base", recipe_op="load", seconds=2.0), run_records.Ingested("e1")]
    )
    store.write([step("base", recipe_op="load", seconds=4.0, job="predict")])
    later = replace(RUN, run_id="run2", started_at=START + timedelta(days=1), config={"seed": 1})
    changed = replace(model("base2", samples=256), op_version=2, notes={"kept": [1]})
    store.write(
        [later, changed, replace(step("base", run="run2", seconds=8.0), model_key="base2", params={"samples": 256})]
    )
    store.write([replace(step("base", run="run2", outcome="failed"), model_key="base3")])
    assert store.ingested() == {"e1"}
    assert store.durations() == {("operation", "load"): 2.0, ("predict", "load"): 4.0, ("operation", "prune"): 8.0}
    last = Store(path).last_steps("study")["base"]
    assert last.pop("finished_at") == START.replace(tzinfo=None)
    assert last == {
        "model_key": "base2", "parent_key": None, "op": "prune", "op_version": 2, "kind": "prune", "run_id": "run2",
        "params": {"samples": 256}, "references": {}, "notes": {"kept": [1]}, "config": {"seed": 1},
    }  # fmt: skip
    assert store.last_steps("other") == {}
    assert store.metrics()["accuracy"] == ACCURACY


def test_definitions_of_metrics_can_change_and_change_back(store, query):
    for unit in ("s", "ms", "s", "s"):
        store.write([replace(facts.LATENCY, unit=unit)])
        store.publish()
        assert query("SELECT unit FROM metrics") == [(unit,)]


def test_a_metric_that_cannot_be_shown_is_not_written(store, query, monkeypatch):
    """Or else nothing could be published any more."""
    store.write([RUN])
    with monkeypatch.context() as patch:
        patch.setattr("pipeline.store.schema.scoreboard.column_name", lambda *_: "")
        with pytest.raises(WriteError, match="zero-length delimited identifier"):
            store.write([*GROUND, model("base")])
    assert store.metrics() == {}
    store.write([*GROUND, model("base")])
    store.publish()
    assert query("SELECT model, accuracy FROM scoreboard") == [("base", None)]


def test_newer_evidence_is_shown_and_older_kept(store, query):
    store.write([*GROUND, model("base"), measurement("base", "accuracy", 0.8, days=1)])
    store.write(
        [measurement("base", "accuracy", 0.7), layer("base", "w"), INSTANCES, predictions("base", [[1, 0]] * 4)]
    )
    store.write([layer("base", "w", nonzeros=10), predictions("base", [[0, 1]] * 4)])
    store.publish()
    assert query("SELECT value FROM measurements") == [(0.8,)]
    assert query("SELECT value FROM measurement_history ORDER BY value") == [(0.7,), (0.8,)]
    assert query("SELECT nonzeros FROM layers") == [(10,)]
    assert query("SELECT DISTINCT predicted FROM predictions") == [("dog",)]


def test_what_is_not_a_number_is_kept_as_such(store, query):
    run = replace(RUN, config={"loss": math.nan, "list": [math.inf, np.float32(0.5)], "array": np.arange(2)})
    unknown = [[0.5, 0.5], [math.nan, math.nan], [1, 0], [0, 1]]
    store.write([*GROUND[1:], run, model("base"), INSTANCES, predictions("base", unknown)])
    store.write([measurement("base", "accuracy", math.nan)])
    store.publish()
    assert query("SELECT config ->> 'loss', config -> 'list', config -> 'array' FROM runs") == [
        ("nan", '["inf",0.5]', "[0,1]")
    ]
    assert math.isnan(query("SELECT value FROM measurements")[0][0])
    found = query("SELECT confidence, probabilities FROM predictions ORDER BY position")
    assert found[1] == (None, None)
    assert found[2] == (1.0, [1.0, pytest.approx(0, abs=1e-14)])


def test_values_by_instance_keep_what_does_not_count_and_the_newest_hold(store, query):
    store.write([*GROUND, INSTANCES, model("base"), model("child", "base")])
    both = [values("base", "accuracy", [0.5, math.nan, 2.5, math.inf]), values("child", "accuracy", [1, 0, 0, 0])]
    assert store.write(both) == 8
    assert store.write([*both, *both]) == 0
    store.write([values("base", "accuracy", [0.25, math.nan, 2.5, 3], evidence="later")])
    store.publish()
    columns = "position, instance_id, value, evidence_key, target, device, dataset"
    assert query(f"SELECT {columns} FROM instance_values WHERE model = 'base' ORDER BY position") == [
        (0, "a", 0.25, "later", "ort", None, "digits"), (1, "b", None, "later", "ort", None, "digits"),
        (2, "c", 2.5, "later", "ort", None, "digits"), (3, "d", 3.0, "later", "ort", None, "digits"),
    ]  # fmt: skip
    assert query("SELECT avg(value) FROM instance_values WHERE model = 'child'") == [(0.25,)]


def test_a_task_without_classes_has_no_probabilities(store, query):
    unknown = np.full(4, np.nan, np.float32)
    answers = run_records.PredictionSet(
        "base", "ort", "data1", ["a", "", "<b>", "d"], unknown, unknown, np.array([True, False, False, True]),
        np.array([1, 0, 0.5, 1], np.float32), None,
    )  # fmt: skip
    store.write([*GROUND, model("base"), INSTANCES, answers])
    store.publish()
    assert query("SELECT predicted, score, confidence, probabilities FROM predictions WHERE position = 2") == [
        ("<b>", 0.5, None, None)
    ]


def test_a_renamed_branch_is_called_so_but_by_its_own_recipe_alone(store, query):
    other = replace(RUN, run_id="run2", recipe="another")
    later = replace(RUN, run_id="run3")
    store.write([RUN, other, later, model("base"), model("pruned", "base"), step("pruned")])
    assert store.write([replace(step("alien", run="run2", outcome="cached"), model_key="pruned")]) == 1
    assert store.write([replace(step("base/new", run="run3", outcome="failed"), model_key="pruned")]) == 1
    store.publish()
    assert query("SELECT name FROM models ORDER BY depth") == [("base",), ("pruned",)]
    assert store.write([replace(step("base/new", run="run3", outcome="cached"), model_key="pruned")]) == 2
    store.publish()
    assert query("SELECT name, parent FROM models ORDER BY depth") == [("base", None), ("base/new", "base")]


def test_steps_in_batches_cost_little(store):
    store.write([RUN])

    def batches():
        for batch in range(25):
            store.write([step(f"{batch}/{number}") for number in range(20)])

    assert in_loops(batches, repeats=1) / 500 < 4


def test_names_of_files_may_hold_anything(tmp_path):
    path = tmp_path / 'it\'s a "test"; über %s' / "my results.db"
    store = Store(path)
    store.write([model("base")])
    store.publish()
    assert open_results(path).execute("SELECT name FROM models").fetchall() == [("base",)]
