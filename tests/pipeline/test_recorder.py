"""What a run writes reaches the store, whatever else the store refuses; the error that is told is the first."""

import pytest

from pipeline.store.errors import InvalidRecordError, WriteError
from pipeline.store.reader import open_results
from pipeline.store.records.run_records import RunEnd
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
