"""Rough latencies while a sweep runs: which models get one, and what is timed again."""

import json
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from ops.core.operation import Format
from pipeline.engine.jobs import Done, Failed
from pipeline.engine.schedule import jobs_of
from pipeline.engine.stage import Planning
from pipeline.engine.worker import Worker
from pipeline.measure.timing.preset import parse_preset
from pipeline.models.storage import ONNX_FILE
from pipeline.stages.rough_latency import LATENCY
from pipeline.stages.timing import timing_key
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


def early(plan, session=DEFAULT, *, rough=SMOKE, device="here", ingested=(), targets=TARGETS):
    presets = {"rough_preset": rough.model_dump(mode="json"), "session_preset": session.model_dump(mode="json")}
    return list(LATENCY.jobs(Planning(plan, targets, device=device, ingested=ingested, **presets)))


def test_every_model_gets_one_on_targets_that_open_quickly(plan):
    jobs = early(plan)
    assert [(job.path, job.stage, job.target) for job in jobs] == [
        ("base", "latency", "onnxruntime"), ("base/q", "latency", "onnxruntime"),
    ]  # fmt: skip
    assert {job.params.preset["name"] for job in jobs} == {"smoke"}


def test_without_a_session_at_the_end_there_are_none(plan):
    assert not list(LATENCY.jobs(Planning(plan, TARGETS, rough_preset=SMOKE.model_dump(mode="json"))))


def test_a_model_answers_before_it_is_timed(plan):
    predictions = {job.key for job in jobs_of(Planning(plan, TARGETS)) if job.stage == "predict"}
    for job in early(plan):
        assert job.needs[0] in predictions
        assert job.params.source in job.needs


def test_preset_and_machine_are_in_the_key(plan):
    keys = [job.key for device in ("here", "there") for job in early(plan, device=device)]
    assert len(set(keys)) == 4
    other = early(plan, rough=preset("smoke", alone=False, compare=False))
    assert not set(keys) & {job.key for job in other}


def test_what_a_session_has_timed_needs_no_rough_figure(plan):
    key = key_of(plan, plan.steps[0], DEFAULT)
    assert [job.path for job in early(plan, ingested={key})] == ["base/q"]


def test_a_session_under_the_same_preset_finds_its_work_done(plan):
    """With bench=smoke the figure is that of the session, and is taken once."""
    jobs = early(plan, SMOKE)
    assert [job.key for job in jobs] == [key_of(plan, step, SMOKE) for step in plan.steps]
    assert early(plan, SMOKE, ingested={job.key for job in jobs}) == []


@pytest.fixture
def worked(planned, workplace, artifacts):
    """A worker's outcome for the base of a plan, on a target of the tests; any file will do for a model."""

    def work(target):
        plan, targets = planned({"base": {"op": "toy_base"}}), {"onnxruntime": {"target": f"{target}_test_target"}}
        (job,) = early(plan, targets=targets)
        with artifacts.publish(job.params.source, {}) as folder:
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
