"""A small sweep on real data, from the command line to SQL: what it leaves, what a second run does, what goes wrong."""

import json
import os
import re
import shutil
import subprocess

import pytest

from pipeline.core import environment
from tests.pipeline.command import Place

NO_TIMING = "bench=none"
PATHS = ["base", "base/int8", "base/pruned", "base/pruned/tuned"]


@pytest.fixture(scope="module")
def swept(tmp_path_factory):
    """A finished sweep, timed by the smoke preset."""
    place = Place(tmp_path_factory.mktemp("swept"))
    code, out, err = place.run("recipe=small", "bench=smoke")
    assert code == 0, err
    return place, out


def test_every_model_is_in_the_store_with_its_evidence(swept):
    place, _ = swept
    assert [path for (path,) in place.sql("SELECT name FROM models ORDER BY name")] == PATHS
    evaluated = place.sql("SELECT model, count(*) FROM predictions GROUP BY ALL ORDER BY 1")
    assert [path for path, _ in evaluated] == PATHS
    assert {count for _, count in evaluated} == {place.sql("SELECT count(*) FROM instances")[0][0]}
    assert [path for (path,) in place.sql("SELECT DISTINCT model FROM layers ORDER BY 1")] == PATHS
    for metric in ("accuracy", "file_bytes", "sparsity", "latency_p50", "agreement"):
        measured = {path for (path,) in place.sql("SELECT DISTINCT model FROM measurements WHERE metric = ?", metric)}
        assert measured == set(PATHS) - ({"base"} if metric == "agreement" else set()), metric


def test_every_model_has_a_rough_latency_early(swept):
    """Taken by a job of the sweep, marked as what it is, and without an interval."""
    place, _ = swept
    assert place.sql("SELECT path, outcome FROM steps WHERE job = 'latency' ORDER BY path LIMIT 4") == [
        (path, "done") for path in PATHS
    ]
    assert place.sql("SELECT model, preset, rough, p50_ms > 0 FROM timings ORDER BY model") == [
        (path, "smoke", True, True) for path in PATHS
    ]
    assert place.sql("SELECT DISTINCT low, high FROM measurements WHERE metric = 'latency_p50'") == [(None, None)]
    assert place.sql("SELECT count(*) FROM speedups") == [(0,)]


def test_accuracy_in_the_store_is_that_of_the_stored_predictions(swept):
    place, _ = swept
    rows = place.sql(
        "SELECT m.value, avg(p.correct::INT) FROM measurements m JOIN predictions p USING (model_key)"
        " WHERE metric = 'accuracy' GROUP BY m.model_key, m.value"
    )
    assert len(rows) == len(PATHS)
    assert all(value == pytest.approx(counted) for value, counted in rows)


def test_the_size_is_that_of_a_file(swept):
    place, _ = swept
    sizes = {path.stat().st_size for path in place.artifacts.rglob("model.onnx")}
    assert {value for (value,) in place.sql("SELECT value FROM measurements WHERE metric = 'file_bytes'")} == sizes


def test_sparsity_in_the_store_is_that_of_the_stored_tensors(swept):
    place, _ = swept
    rows = place.sql(
        "SELECT m.value, 1 - sum(l.nonzeros) / sum(l.size) FROM measurements m JOIN layers l USING (model_key)"
        " WHERE metric = 'sparsity' GROUP BY m.model_key, m.value"
    )
    assert len(rows) == len(PATHS)
    assert all(value == pytest.approx(counted) for value, counted in rows)


def test_int8_runs_in_integer_kernels_and_pruned_zeros_stay(swept):
    place, _ = swept
    assert place.sql(
        "SELECT value > 0.9 FROM measurements WHERE metric = 'integer_mac_share' AND model = 'base/int8'"
    ) == [(True,)]
    zeros = place.sql(
        "SELECT sum(size) - sum(nonzeros) FROM layers WHERE model LIKE 'base/pruned%' AND module_type IN ('Conv2d', 'Linear') GROUP BY model"
    )
    assert len(zeros) == 2
    assert len(set(zeros)) == 1


def test_the_summary_names_every_model_and_the_next_commands(swept):
    _, out = swept
    for word in ("base", "int8", "pruned", "tuned", "accuracy", "panel serve viewer", "FROM scoreboard"):
        assert word in out


def test_a_second_run_does_nothing_and_changes_nothing(swept):
    place, _ = swept
    before = place.sql("SELECT count(*) FROM measurements")
    code, _, err = place.run("recipe=small", "bench=smoke")
    assert code == 0, err
    latest = (
        "SELECT outcome, count(*) FROM steps WHERE run_id = (SELECT max_by(run_id, started_at) FROM runs) GROUP BY ALL"
    )
    assert [outcome for outcome, _ in place.sql(latest)] == ["cached"]
    assert place.sql("SELECT count(*) FROM measurements") == before


def test_plan_only_shows_keys_cache_and_expected_times(swept):
    place, _ = swept
    code, out, _ = place.run(
        "recipe=small", "plan_only=true", "+recipe.tree.base.then.more={op: magnitude_prune, with: {sparsity: 0.9}}"
    )
    assert code == 0
    key = place.sql("SELECT model_key FROM models WHERE name = 'base'")[0][0]
    assert re.search(rf"{key[:12]}  base  train  cached", out)
    assert re.search(r"more  magnitude_prune  about [\d.]+ s", out)
    assert "5 models" in out


def test_explain_names_what_changed(swept):
    place, _ = swept
    _, out, _ = place.run("recipe=small", "explain=base/int8")
    assert "will not run" in out
    _, out, _ = place.run("recipe=small", "explain=base/int8", "recipe.tree.base.then.int8.with.samples=32")
    assert "base/int8: quantize samples 64 -> 32" in out
    _, out, _ = place.run("recipe=small", "explain=base/pruned/tuned", "recipe.seed=3")
    assert "seed 0 -> 3" in out
    code, _, err = place.run("recipe=small", "explain=base/int4")
    assert code == 2
    assert "No step has the path 'base/int4'. Did you mean 'base/int8'?" in err


def test_force_runs_a_step_again(swept):
    place, _ = swept
    assert place.run("recipe=small", "bench=smoke", "force=base/pruned")[0] == 0
    latest = "SELECT path FROM steps WHERE outcome = 'done' AND run_id = (SELECT max_by(run_id, started_at) FROM runs)"
    assert place.sql(latest) == [("base/pruned",)]


def test_what_is_forced_is_planned_and_explained(swept):
    place, _ = swept
    words = "recipe=small", "bench=none", "force=base/pruned"
    code, out, _ = place.run(*words, "plan_only=true")
    assert code == 0
    assert re.search(r"pruned  magnitude_prune  about [\d.]+ s  \(forced\)", out)
    assert re.search(r"4 models; 1 of \d+ jobs to do", out)
    assert place.run(*words, "explain=base/pruned")[1] == "'base/pruned' will run: it is forced\n"
    code, _, err = place.run("recipe=small", "force=base/prund", "plan_only=true")
    assert code == 2
    assert "No step has the path 'base/prund'. Did you mean 'base/pruned'?" in err


def test_a_workspace_of_another_machine_is_recorded_with_that_machine(swept, tmp_path):
    """One that may use other cores counts as another: `taskset -c 0`, another container."""
    place = Place(tmp_path / "moved")
    shutil.copytree(swept[0].folder / ".bouillon" / "artifacts", place.artifacts)
    [(here,)] = swept[0].sql("SELECT device FROM devices")
    machine = {**environment.device(), "cores": 99}
    there = environment.id_of(machine)
    for file in place.artifacts.rglob("*.json"):
        text = file.read_text().replace(f'"{here}"', f'"{there}"')
        file.write_text(text)
        if file.name == "manifest.json":
            written = {name: value for name, value in json.loads(text).items() if name not in ("files", "sha256")}
            file.write_text(json.dumps({**written, "machines": {there: machine}}))
    code, _, err = place.run("recipe=small", NO_TIMING)
    assert code == 0, err
    assert there in [device for (device,) in place.sql("SELECT device FROM measurements WHERE metric = 'accuracy'")]
    [(description,)] = place.sql("SELECT description FROM devices WHERE device = ?", there)
    assert json.loads(description)["cores"] == 99
    assert place.sql("SELECT exit_code FROM runs") == [(0,)]


@pytest.mark.matrix
def test_a_session_takes_the_place_of_rough_latencies(swept, tmp_path):
    """Of the same models in another store's copy: nothing is computed again but the times."""
    place, _ = swept
    copy = Place(tmp_path / "copy")
    shutil.copytree(place.folder, copy.folder)
    quick = (
        "bench.conditions=[{scenario: single_stream, runs: 12}]", "bench.rounds=6", "bench.max_rounds=6",
        "bench.seconds=0.02", "bench.twins=1", "bench.warmup={runs: 2, seconds: 0, cap: 0.1}",
    )  # fmt: skip
    code, _, err = copy.run("recipe=small", *quick)
    assert code == 0, err
    run = "run_id = (SELECT max_by(run_id, started_at) FROM runs)"
    assert copy.sql(f"SELECT DISTINCT outcome FROM steps WHERE {run}") == [("cached",)]
    assert copy.sql("SELECT DISTINCT preset, rough FROM timings") == [("default", False)]
    stated = "SELECT DISTINCT evidence_key FROM measurements WHERE metric IN ('latency_p50', 'speedup')"
    assert copy.sql(stated) == copy.sql("SELECT DISTINCT evidence_key FROM timings")
    assert copy.sql("SELECT count(*) FROM measurements WHERE metric = 'speedup' AND low IS NOT NULL") == [(3,)]
    assert copy.run("recipe=small", *quick)[0] == 0
    assert copy.sql(f"SELECT count(*) FROM steps WHERE job = 'latency' AND {run}") == [(0,)]  # no need any more
    assert copy.run("recipe=small", *quick, "bench.name=again")[0] == 0  # all times from one session
    assert copy.sql("SELECT DISTINCT preset FROM timings") == [("again",)]


def test_a_target_that_is_not_here_is_skipped_with_the_reason(swept, tmp_path):
    """The figures on the others are there; the steps say what was left out."""
    place, _ = swept
    copy = Place(tmp_path / "copy")
    shutil.copytree(place.folder, copy.folder)
    code, out, err = copy.run("recipe=small", "bench=smoke", "recipe.targets=[onnxruntime,onnxruntime_cuda]")
    assert code == 0, err
    said = re.sub(r"\s+", " ", out)
    assert re.search(r"Target 'onnxruntime_cuda' is skipped: This onnxruntime .* has no CUDAExecutionProvider", said)
    assert "pip install onnxruntime-gpu" in said
    assert "small on onnxruntime " in said
    assert "small on onnxruntime_cuda" not in said
    skipped = copy.sql(
        "SELECT DISTINCT target, job, error LIKE '%onnxruntime-gpu%' FROM steps WHERE outcome = 'skipped'"
    )
    assert sorted(skipped) == [("onnxruntime_cuda", "measure", True), ("onnxruntime_cuda", "predict", True)]


def test_without_any_target_nothing_is_started(tmp_path):
    code, _, err = Place(tmp_path).run("recipe=small", "recipe.targets=[onnxruntime_cuda]")
    assert code == 2
    assert "error: target 'onnxruntime_cuda': This onnxruntime" in err
    assert "Install it with: pip install onnxruntime-gpu" in err
    assert not (tmp_path / ".bouillon" / "artifacts").exists()


@pytest.mark.matrix
def test_a_model_that_cannot_be_timed_is_a_failure_and_is_tried_again(tmp_path):
    """It answers, but its process is killed while it is timed: early, and by the session."""
    place = Place(tmp_path)
    words = (
        "recipe=small", "plugins=[tests.pipeline.toy,tests.pipeline.bench.odd_targets]", "recipe.targets=[dying]",
        "recipe.tree.base.op=toy_base", "~recipe.tree.base.with", "~recipe.tree.base.then",
    )  # fmt: skip
    failed = "SELECT job, target, error FROM steps WHERE outcome = 'failed' ORDER BY job"
    for _ in range(2):
        code, out, err = place.run(*words)
        assert code == 1, out + err
        assert re.search(r"base +latency +MeasureError: The measuring process was killed by signal 9", out)
        assert re.search(r"base +timing +The measuring process was killed by signal 9", out)
    assert place.sql(failed) == [
        ("latency", "dying", "MeasureError: The measuring process was killed by signal 9"),
        ("latency", "dying", "MeasureError: The measuring process was killed by signal 9"),
        ("timing", "dying", "The measuring process was killed by signal 9"),
        ("timing", "dying", "The measuring process was killed by signal 9"),
    ]
    assert place.sql("SELECT error FROM timings WHERE runs = 0 LIMIT 1") == [
        ("The measuring process was killed by signal 9",)
    ]


def test_a_failed_step_is_reported_and_tried_again(swept, tmp_path):
    place, _ = swept
    mended = tmp_path / "mended"
    bad = f"+recipe.tree.base.then.bad={{op: toy_fail, with: {{marker: {mended}}}, then: {{int8: {{op: quantize}}}}}}"
    words = ["recipe=small", "plugins=[tests.pipeline.toy]", NO_TIMING, bad]
    code, out, _ = place.run(*words)
    assert code == 1
    assert "RuntimeError: told to fail" in out
    assert place.sql(
        "SELECT path, outcome, error FROM steps WHERE outcome IN ('failed', 'skipped') AND job = 'operation' ORDER BY path"
    ) == [
        ("base/bad", "failed", "RuntimeError: told to fail"),
        ("base/bad/int8", "skipped", "operation of 'base/bad' failed"),
    ]
    mended.touch()
    assert place.run(*words)[0] == 0


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["recipe=smal"], "No recipe is called 'smal'. Did you mean 'small'?"),
        ([], "which recipe? Give recipe=NAME"),
        (["small"], "'small' is not key=value. Try: recipe=small"),
        (["recipe=small", "dataset=digit"], "No dataset is called 'digit'. Did you mean 'digits'?"),
        (["recipe=small", "model=digits_resne"], "No model is called 'digits_resne'. Did you mean 'digits_resnet'?"),
        (
            [
                "recipe=small",
                "dataset.colour=3",
            ],
            "colour",
        ),
        (
            ["recipe=small", "recipe.tree.base.then.int8.op=quantise"],
            "Step 'base/int8': No operation is called 'quantise'. Did you mean 'quantize'?",
        ),
        (
            ["recipe=small", "recipe.tree.base.then.pruned.with.sparsity=1.5"],
            "Step 'base/pruned': Operation 'magnitude_prune': sparsity",
        ),
        (
            ["recipe=small", "+recipe.tree.base.then.pruned.with.sparsty=0.5"],
            "unknown parameter 'sparsty'. Did you mean 'sparsity'?",
        ),
        (
            ["recipe=small", "recipe.tree.base.then.pruned.with.sparsity={each: []}"],
            "Step 'base/pruned': `sparsity: each` needs a list",
        ),
        (
            ["recipe=small", "+recipe.tree.base.then.int8.then.t={op: finetune}"],
            "Step 'base/int8/t': 'finetune' takes a torch model, but 'quantize' gives an ONNX model",
        ),
        (["recipe=small", "recipe.targets=[openvno]"], "no target is called 'openvno'. Did you mean 'openvino'?"),
        (
            ["recipe=small", "executor.workers=0"],
            "executor.workers: Input should be greater than or equal to 1 (got 0)",
        ),
        (["recipe=small", "plugins=[no.such.module]"], "plugins: 'no.such.module' cannot be imported"),
        (["recipe=small", "bench.rounds=0"], "bench 'default': rounds"),
        (["recipe=small", "model=null"], "'model=null': names nothing"),
        (["--resume", "recipe=small"], "unknown option '--resume'"),
    ],
)
def test_a_mistake_on_the_command_line_is_one_message(tmp_path, words, message):
    code, out, err = Place(tmp_path).run(*words)
    assert code == 2
    assert message in err
    assert "Traceback" not in err + out
    assert not (tmp_path / ".bouillon" / "artifacts").exists()


def test_a_results_file_of_something_else_is_refused_and_untouched(tmp_path):
    import duckdb

    place = Place(tmp_path)
    with duckdb.connect(str(place.results)) as db:
        db.execute("CREATE TABLE customers AS SELECT 1 AS id")
    code, _, err = place.run("recipe=small", NO_TIMING)
    assert code == 2
    assert "results.duckdb" in err
    assert "Traceback" not in err
    assert place.sql("SELECT id FROM customers") == [(1,)]


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_without_write_permission_is_named(tmp_path):
    locked = tmp_path / "locked"
    locked.mkdir(mode=0o500)
    code, _, err = Place(tmp_path).run("recipe=small", f"workspace={locked}/w", NO_TIMING)
    assert code == 2
    assert "locked" in err


@pytest.mark.matrix
def test_a_full_disk_is_named_and_nothing_is_lost(tmp_path):
    """A limit on the size of files stands in for a full disk: writing fails in the middle of a file."""
    import resource

    place = Place(tmp_path)
    small = 40_000
    process = place.start(
        "recipe=small",
        NO_TIMING,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (small, small)),
    )
    out, _ = process.communicate()
    assert process.returncode in (1, 2)
    assert "error:" in out or "disk is full" in out
    assert "Traceback" not in out
    assert not list(place.artifacts.glob("*/*/manifest.json"))
    code, _, err = place.run("recipe=small", NO_TIMING)
    assert code == 0, err


@pytest.mark.matrix
def test_a_damaged_artifact_is_named_and_made_again(swept, tmp_path):
    place, _ = swept
    copy = Place(tmp_path / "copy")
    shutil.copytree(place.folder, copy.folder)
    key = place.sql("SELECT model_key FROM models WHERE name = 'base'")[0][0]
    weights = copy.artifacts / key[:2] / key / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:1000])
    more = "+recipe.tree.base.then.more={op: magnitude_prune, with: {sparsity: 0.9}}"
    code, out, _ = copy.run("recipe=small", NO_TIMING, more)
    assert code == 0
    assert "operation of 'base' is made again" in out
    assert json.loads((weights.parent / "manifest.json").read_text())["path"] == "base"
