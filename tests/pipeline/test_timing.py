"""The session at the end of a sweep: what lacks figures, and what could not be timed."""

import numpy as np
import pytest

from ops.core.operation import Batch
from pipeline.core.environment import device_id
from pipeline.engine.jobs import Failed
from pipeline.engine.stage import Planning
from pipeline.measure.metrics.api import METRICS, Better, Speedups, metric
from pipeline.measure.timing.preset import parse_preset
from pipeline.models.storage import ONNX_FILE
from pipeline.plan.steps import export_key
from pipeline.stages.predict import PREDICT
from pipeline.stages.timing import Timing, timing_key
from pipeline.store.records.run_records import Ingested, Measurement, TimingFailure, TimingSamples
from tests.pipeline.bench import odd_targets

TREE = {"base": {"op": "toy_base", "then": {"a": {"op": "toy_add"}, "b": {"op": "toy_add", "with": {"amount": 2}}}}}
PRESET = parse_preset({
    "name": "test", "conditions": [{"scenario": "single_stream", "runs": 6}, {"scenario": "offline", "batch": 2, "runs": 6}],
    "rounds": 6, "max_rounds": 6, "seconds": 0.01, "max_seconds": 1, "warmup": {"runs": 40, "seconds": 0, "cap": 1},
    "alone": False, "compare": False,
})  # fmt: skip


class Data:
    name = "toy"

    def batches(self, split, *, batch_size, samples=None):
        yield Batch(("1", "2"), {"pixel_values": np.zeros((2, 3), np.float32)}, {})


@pytest.fixture
def timing(planned, artifacts):
    """A plan of three models, of which the given ones are there with their predictions; any file will do."""

    def make(there, target="steady"):
        plan = planned(TREE)
        targets = {"onnxruntime": {"target": f"{target}_test_target"}}
        for step in plan.steps:
            if step.path in there:
                keys = [
                    export_key(step.key, plan.facts.export_version),
                    PREDICT.job(step, "onnxruntime", Planning(plan, targets)).key,
                ]
                for key in keys:
                    with artifacts.publish(key, {}) as folder:
                        (folder / ONNX_FILE).write_text(step.path)
        return Timing(plan, targets, artifacts, PRESET, (odd_targets.PLUGIN,))

    return make


def run(timing, ingested=()):
    return timing.run(set(ingested), Data(), run_id="r", progress=lambda *_: None)


def test_only_models_that_are_there_and_have_answered_are_timed(timing, artifacts):
    made = timing({"base", "base/a"})
    keys = {step.path: step.key for step in made.plan.steps}
    with artifacts.publish(
        export_key(keys["base/b"], made.plan.facts.export_version), {}
    ) as folder:  # never a latency alone
        (folder / ONNX_FILE).touch()
    assert {candidate.model_key for candidate in made.candidates()} == {keys["base"], keys["base/a"]}


def test_what_has_figures_is_not_timed_again(timing):
    made = timing({"base"})
    timed = run(made)
    (done,) = (record for record in timed.records if isinstance(record, Ingested))
    assert done.evidence_key == timing_of(made, made.plan.steps[0].key)
    assert timed.failures == []
    assert run(made, {done.evidence_key}).records == []


def test_a_model_whose_file_is_damaged_is_not_timed_and_not_taken_for_timed(timing, artifacts):
    made = timing({"base", "base/a"})
    keys = {step.path: step.key for step in made.plan.steps}
    file = artifacts.path(made.plan.facts.export_key(keys["base/a"])) / ONNX_FILE
    file.write_text("b" * file.stat().st_size)
    timed = run(made)
    ((job, failed),) = timed.failures
    assert (job.path, job.target) == ("base/a", "onnxruntime")
    assert "was damaged" in failed.error
    assert {record.model_key for record in timed.records if isinstance(record, TimingSamples)} == {keys["base"]}
    assert [record for record in timed.records if isinstance(record, Ingested)] == [
        Ingested(timing_of(made, keys["base"]))
    ]


def timing_of(made, model):
    """Key of a model's timings here."""
    return timing_key(
        model, source=made.plan.facts.export_key(model), target=made.targets["onnxruntime"],
        preset=PRESET.model_dump(mode="json"), device=device_id(), data=made.plan.facts.data_fingerprint,
    )  # fmt: skip


def test_a_model_that_could_not_be_timed_is_a_failed_job(timing):
    made = timing({"base"}, target="dying")
    timed = run(made)
    ((job, failed),) = timed.failures
    assert (job.stage, job.path, job.target) == ("timing", "base", "onnxruntime")
    assert failed == Failed(job.key, None, "The measuring process was killed by signal 9")
    assert not any(isinstance(record, Ingested) for record in timed.records)  # the next run tries again
    assert len([record for record in timed.records if isinstance(record, TimingFailure)]) == 2


class TestFailedMetric:
    """A metric of a plug-in, of speed-ups that a base does not have."""

    @pytest.fixture(autouse=True)
    def registered(self, monkeypatch):
        monkeypatch.setattr(METRICS, "_items", {name: METRICS[name] for name in METRICS})

        @metric(unit="", better=Better.HIGHER)
        def squared(speedups: Speedups) -> float:
            """Square of the speed-up."""
            return speedups.base.value**2

    def test_is_told_of_its_model_and_timed_again(self, timing):
        made = timing({"base", "base/a"})
        timed = run(made)
        assert [(job.path, job.target) for job, _ in timed.failures] == [
            ("base", "onnxruntime"), ("base/a", "onnxruntime"),
        ]  # fmt: skip
        for _, failed in timed.failures:
            assert failed.error.startswith(
                "metric 'squared': AttributeError: 'NoneType' object has no attribute 'value'"
            )
            assert failed.error.endswith("The other metrics are kept")
        assert not any(isinstance(record, Ingested) for record in timed.records)

    def test_all_else_is_kept(self, timing):
        timed = run(timing({"base"}))
        assert {type(record) for record in timed.records} == {TimingSamples, Measurement}
        names = {record.metric for record in timed.records if isinstance(record, Measurement)}
        assert {"throughput", "load_time", "first_run_time"} <= names
        assert "squared" not in names


def test_conditions_that_fail_differently_are_told_apart(timing):
    timed = run(timing({"base"}, target="picky"))
    ((_, failed),) = timed.failures
    assert failed.error == (
        "single_stream, batch 1, 1 thread(s): batches of 1 are refused; "
        "offline, batch 2, 1 thread(s): batches of 2 are refused"
    )


def test_a_model_whose_file_is_damaged_is_a_failed_job_and_is_timed_when_it_is_whole(timing, artifacts):
    made = timing({"base", "base/a"})
    keys = {step.path: step.key for step in made.plan.steps}
    file = artifacts.path(made.plan.facts.export_key(keys["base/a"])) / ONNX_FILE
    file.write_text("BASE/A")  # of the same size
    timed = run(made)
    ((job, failed),) = timed.failures
    assert (job.path, job.target) == ("base/a", "onnxruntime")
    assert "was damaged (the content of model.onnx is not what was written)" in failed.error
    done = {record.evidence_key for record in timed.records if isinstance(record, Ingested)}
    assert len(done) == 1  # that of `base`
    assert {record.model_key for record in timed.records if isinstance(record, TimingSamples)} == {keys["base"]}
    again = run(timing({"base/a"}), done)
    assert {record.model_key for record in again.records if isinstance(record, TimingSamples)} == {keys["base/a"]}
    assert not again.failures
