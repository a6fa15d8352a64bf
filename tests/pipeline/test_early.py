"""Rough latencies while a sweep runs: which models get one, and what is timed again."""

import json
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from ops.core.operation import Format
from pipeline.engine.jobs import Done, Failed, What
from pipeline.engine.worker import Worker
from pipeline.measure.timing.preset import parse_preset
from pipeline.models.storage import ONNX_FILE
from pipeline.stages.rough_latency import Early
from pipeline.stages.schedule import jobs_of, timing_key
from pipeline.store.reader import open_results
from pipeline.store.records.run_records import Device, Model, Run
from pipeline.store.writer import Store
from pipeline.sweep.recorder import Recorder
from tests.pipeline.bench import odd_targets
from tests.pipeline.bench.test_store import metric_records
from tests.pipeline.test_timing import Data

TREE = {"base": {"op": "toy_base", "then": {"q": {"op": "toy_onnx"}}}}
TARGETS = {name: {"name": name, "target": name} for name in ("onnxruntime", "pytorch", "onnxruntime_cuda")}


def preset(name, **words):
    return parse_preset({"name": name, "conditions": [{"scenario": "single_stream", "runs": 12}], **words})


QUICK = {
    "rounds": 2,
    "max_rounds": 2,
    "seconds": 0.02,
    "max_seconds": 30,
    "warmup": {"runs": 3, "seconds": 0, "cap": 0.1},
}
SMOKE, DEFAULT = preset("smoke", alone=False, compare=False, **QUICK), preset("default")


@pytest.fixture
def plan(planned, facts):
    accepts = {"onnxruntime": Format.ONNX, "pytorch": Format.TORCH, "onnxruntime_cuda": Format.ONNX}
    known = replace(facts, accepts=accepts, known_targets=tuple(accepts))
    return planned(TREE, facts=known, targets=list(accepts))


def key_of(plan, step, preset):
    """Key of a session's figure on this machine, called `here`."""
    source = plan.facts.export_key(step.key) if step.format is Format.TORCH else step.key
    return timing_key(
        step.key, source=source, target=TARGETS["onnxruntime"], preset=preset.model_dump(mode="json"), device="here",
        data=plan.facts.data_fingerprint,
    )  # fmt: skip


def early(session=DEFAULT, *, device="here", ingested=()):
    return Early(SMOKE, session, device, ingested)


def test_every_model_gets_one_on_targets_that_open_quickly(plan):
    jobs = list(early().jobs(plan, TARGETS))
    assert [(job.path, job.what, job.details["target"]) for job in jobs] == [
        ("base", What.LATENCY, "onnxruntime"), ("base/q", What.LATENCY, "onnxruntime"),
    ]  # fmt: skip
    assert {job.details["preset"]["name"] for job in jobs} == {"smoke"}


def test_a_model_answers_before_it_is_timed(plan):
    predictions = {job.key for job in jobs_of(plan, targets=TARGETS, metrics=()) if job.what is What.PREDICT}
    for job in early().jobs(plan, TARGETS):
        assert job.needs[0] in predictions
        assert job.details["source"] in job.needs


def test_preset_and_machine_are_in_the_key(plan):
    keys = [job.key for device in ("here", "there") for job in early(device=device).jobs(plan, TARGETS)]
    assert len(set(keys)) == 4
    other = Early(preset("smoke", alone=False, compare=False), DEFAULT, "here", ())
    assert not set(keys) & {job.key for job in other.jobs(plan, TARGETS)}


def test_what_a_session_has_timed_needs_no_rough_figure(plan):
    key = key_of(plan, plan.steps[0], DEFAULT)
    assert [job.path for job in early(ingested={key}).jobs(plan, TARGETS)] == ["base/q"]


def test_a_session_under_the_same_preset_finds_its_work_done(plan):
    """With bench=smoke the figure is that of the session, and is taken once."""
    jobs = list(early(SMOKE).jobs(plan, TARGETS))
    assert [job.key for job in jobs] == [key_of(plan, step, SMOKE) for step in plan.steps]
    assert list(early(SMOKE, ingested={job.key for job in jobs}).jobs(plan, TARGETS)) == []


@pytest.fixture
def worked(planned, workplace, artifacts):
    """A worker's outcome for the base of a plan, on a target of the tests; any file will do for a model."""

    def work(target):
        plan, targets = planned({"base": {"op": "toy_base"}}), {"onnxruntime": {"target": f"{target}_test_target"}}
        (job,) = early().jobs(plan, targets)
        with artifacts.publish(job.details["source"], {}) as folder:
            (folder / ONNX_FILE).touch()
        worker = Worker(replace(workplace, targets=targets, plugins=(odd_targets.PLUGIN,)))
        vars(worker)["dataset"] = Data()
        return plan, job, worker.run(job)

    return work


def test_a_rough_figure_goes_from_the_worker_to_the_store(worked, artifacts, tmp_path):
    plan, job, outcome = worked("steady")
    assert isinstance(outcome, Done), outcome
    store, now = Store(tmp_path / "results.duckdb"), datetime.now(UTC)
    recorder = Recorder(store, plan, artifacts, run_id="run")
    device = artifacts.manifest(job.key)["device"]
    base = Model(job.model, None, "base", "", "r", "toy_base", 1, "base", "torch", {})
    recorder.add([Run("run", "r", {}, {}, {}, None, now), base, Device(device, {}), *metric_records()])
    recorder.record(job, outcome)
    recorder.flush(publish=True)
    assert job.key in store.ingested()
    store.close()
    with open_results(tmp_path / "results.duckdb") as db:
        ((rough, runs, p50, conditions),) = db.execute("SELECT rough, runs, p50_ms, conditions FROM timings").fetchall()
        assert rough
        assert runs >= 12
        assert p50 >= 1  # a millisecond of work, longer beside other work
        assert json.loads(conditions)["preset"]["alone"] is False
        stated = "SELECT value, low, high, run_id FROM measurements WHERE metric = 'latency_p50'"
        assert db.execute(stated).fetchall() == [(pytest.approx(p50), None, None, "run")]


def test_a_model_that_the_runtime_refuses_is_a_failure(worked):
    _, _, outcome = worked("picky")
    assert isinstance(outcome, Failed)
    assert outcome.error == "MeasureError: batches of 1 are refused"
