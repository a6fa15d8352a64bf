"""What a run writes reaches the store, whatever else the store refuses or a stage of the user's raises."""

from dataclasses import dataclass
from typing import Annotated

import pytest

from pipeline.engine.jobs import Done, Failed, Job
from pipeline.engine.stage import STAGES, NoParameters, Stage, register
from pipeline.store.errors import InvalidRecordError, WriteError
from pipeline.store.reader import open_results
from pipeline.store.records.run_records import RunEnd
from pipeline.store.write.own_table import own_table
from pipeline.store.writer import Store
from pipeline.sweep.recorder import Recorder
from tests.pipeline.store.facts import GROUND, START, measurement, model


@pytest.fixture
def store(tmp_path):
    return Store(tmp_path / "results.duckdb")


@pytest.fixture
def recorder(store, planned, artifacts):
    return Recorder(store, planned({"base": {"op": "toy_base"}}), artifacts, run_id="run1")


def asked(store, query):
    with open_results(store.results) as db:
        return db.execute(query).fetchall()


def test_what_the_store_refuses_does_not_take_the_rest_along(recorder, store):
    recorder.add(GROUND)
    recorder.add([model("base"), measurement("base", "accuracy", 0.9)])
    recorder.add([measurement("nobody", "accuracy", 0.5)])
    recorder.add([model("child", "base")])
    with pytest.raises(InvalidRecordError, match="A measurement names the model 'nobody'"):
        recorder.flush()
    recorder.add([RunEnd("run1", START, 1)])
    recorder.flush(publish=True)
    assert asked(store, "SELECT name FROM models ORDER BY name") == [("base",), ("child",)]
    assert asked(store, "SELECT model, value FROM measurements") == [("base", 0.9)]
    assert asked(store, "SELECT exit_code FROM runs") == [(1,)]


@own_table("toy_counts", model_key="model")
@dataclass(frozen=True, slots=True)
class Count:
    """Something that is counted."""

    model_key: Annotated[str, "The model."]
    count: Annotated[int, "How many there are."]


class Counting(Stage[NoParameters]):
    """A stage of the user's, whose records a test gives."""

    name, version, params = "counting_of_test", 1, NoParameters

    def jobs(self, planning):
        return ()

    def make(self, worker, job, folder, scratch):
        return {}


@pytest.fixture
def counting(store, planned, artifacts):
    """Record the artifact of a stage of the user's, of a plan whose base is in the store."""
    stage = register(Counting())
    plan = planned({"base": {"op": "toy_base"}})
    (step,) = plan.steps
    recorder = Recorder(store, plan, artifacts, run_id="run1")
    recorder.add([*GROUND, model(step.key)])
    job = Job(stage.key(step.key), stage.name, step.path, step.key, (step.key,), NoParameters())
    with artifacts.publish(job.key, {"n": 1}):
        pass

    def record(records, failure=lambda job, recording: None):
        stage.records, stage.failure = records, failure
        return recorder, job, recorder.record(job, Done(job.key, 2.0))

    yield record
    STAGES._items.pop(stage.name, None)


def fails(job, recording):
    yield Count(job.model, 1)
    raise KeyError("oops")


def test_a_stage_that_cannot_make_its_records_fails_for_its_job_alone(counting, store, artifacts):
    recorder, job, outcome = counting(fails)
    assert isinstance(outcome, Failed)
    place = f"({__file__}:{fails.__code__.co_firstlineno + 2})"
    assert outcome.error == f"its records cannot be made: KeyError: 'oops' {place}"
    assert outcome.seconds == 2.0
    assert "Traceback" in outcome.traceback
    recorder.add([RunEnd("run1", START, 1)])
    recorder.flush(publish=True)
    steps = asked(store, "SELECT job, outcome, error FROM steps")
    assert steps == [("counting_of_test", "failed", outcome.error)]
    assert asked(store, "SELECT exit_code FROM runs") == [(1,)]
    assert job.key not in store.ingested()
    assert job.key in artifacts  # it is whole: what was made is kept, and not called damaged
    assert recorder.damaged([job]) == []


def test_a_stage_that_cannot_say_whether_its_artifact_is_whole_fails_for_its_job_alone(counting):
    _, _, outcome = counting(lambda job, recording: [Count(job.model, 1)], fails_to_judge)
    assert isinstance(outcome, Failed)
    assert outcome.error.startswith("its records cannot be made: ZeroDivisionError: division by zero (")


def fails_to_judge(job, recording):
    return 1 / 0


@pytest.mark.parametrize(
    ("record", "reason"),
    [
        (5, "int is no record of the store: declare its table by @own_table"),
        (Count("f" * 64, 1), f"A toy_counts names the model '{'f' * 64}', which is neither in the store nor"),
        (Count("", 2**70), "A toy_counts has a count that does not fit the others: Python int too large"),
        (Count("", "many"), "nothing was written: Conversion Error: Could not convert string 'many' to INT64"),
        (Count("", None), "nothing was written: Constraint Error: NOT NULL constraint failed: toy_counts.count"),
        (Count("", {1: object}), "nothing was written: Conversion Error"),
    ],
)
def test_records_that_the_store_refuses_make_their_job_a_failure(counting, store, record, reason):
    recorder, job, outcome = counting(lambda job, recording: [record])
    assert isinstance(outcome, Done)
    recorder.add([RunEnd("run1", START, 1)])
    recorder.flush(publish=True)  # goes on
    error = recorder.refused[job.key].error
    assert error.startswith("its records do not fit the store: ")
    assert reason in error
    assert asked(store, "SELECT name FROM models") == [(f"{job.model}",)]
    ends = asked(store, "SELECT job, outcome, error FROM steps ORDER BY outcome")
    assert ends == [(job.stage, "done", None), (job.stage, "failed", error)]
    assert job.key not in store.ingested()


def test_what_a_full_disk_refuses_is_written_when_there_is_room_again(recorder, store, monkeypatch):
    recorder.add([*GROUND, model("base")])
    with monkeypatch.context() as patch:
        patch.setattr(store, "write", lambda records: (_ for _ in ()).throw(WriteError("No space left")))
        for _ in range(2):
            with pytest.raises(WriteError, match="No space left"):
                recorder.flush()
    recorder.add([RunEnd("run1", START, 130)])
    recorder.flush(publish=True)
    assert asked(store, "SELECT name FROM models") == [("base",)]
    assert asked(store, "SELECT exit_code FROM runs") == [(130,)]
