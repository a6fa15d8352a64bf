"""Both executors meet the contract; the pool survives whatever its jobs do."""

import os
import re
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import replace
from types import SimpleNamespace

import pytest

from pipeline.core import secret_values
from pipeline.core.machine.lock import measuring
from pipeline.engine.executors.inprocess import InProcess
from pipeline.engine.executors.local import LocalPool, WorkerProcess, _resident_bytes
from pipeline.engine.jobs import Done, Failed, Limits, Resources
from pipeline.engine.worker import Worker
from pipeline.sweep.config import ExecutorConfig
from tests.pipeline.executor_contract import ExecutorContract, ends


class TestInProcess(ExecutorContract):
    @pytest.fixture
    def executor(self, workplace):
        return InProcess(workplace)

    @pytest.fixture
    def again(self):
        return InProcess


class TestLocalPool(ExecutorContract):
    @pytest.fixture
    def executor(self, workplace):
        return LocalPool(workplace, workers=2)

    @pytest.fixture
    def again(self):
        return LocalPool


@pytest.mark.parametrize(
    ("how", "limits", "message"),
    [
        ("kill", Limits(), r"The worker process ended by signal 9"),
        ("hang", Limits(seconds=10_000), r"Stopped after its time limit of 10000 s"),
        ("memory", Limits(memory_bytes=1_200_000_000), r"over its limit of 1\.20 GB"),
    ],
)
def test_a_job_that_does_not_come_back_is_a_failure_like_any_other(
    workplace, planned, operations, artifacts, tmp_path, monkeypatch, how, limits, message
):
    hanging = tmp_path / "hanging"
    # hours pass at the moment when the job hangs: a real wait would have to be longer than any other job takes
    clock = SimpleNamespace(monotonic=lambda: time.monotonic() + 20_000 * hanging.exists())
    monkeypatch.setattr("pipeline.engine.executors.local.time", clock)
    bad = {"op": "toy_fail", "with": {"how": how, "marker": str(hanging)}}
    tree = {"base": {"op": "toy_base", "then": {"bad": bad, "good": {"op": "toy_add"}}}}
    outcomes = ends(operations(planned(tree)), LocalPool(replace(workplace, limits=limits)), artifacts)
    assert isinstance(outcomes["base/bad"], Failed)
    assert re.search(message, outcomes["base/bad"].error)
    assert isinstance(outcomes["base/good"], Done)


def test_a_forced_job_that_fails_leaves_the_result_that_was_there(workplace, planned, operations, artifacts, tmp_path):
    marker = tmp_path / "well"
    marker.touch()
    tree = {"base": {"op": "toy_base", "then": {"odd": {"op": "toy_fail", "with": {"marker": str(marker)}}}}}
    jobs = operations(planned(tree))
    assert all(isinstance(outcome, Done) for outcome in ends(jobs, InProcess(workplace), artifacts).values())
    before = {job.key: (artifacts.path(job.key) / "manifest.json").stat().st_ino for job in jobs}
    marker.unlink()
    outcomes = ends(jobs, InProcess(workplace), artifacts, force={job.key for job in jobs})
    assert isinstance(outcomes["base"], Done)
    assert not outcomes["base"].cached
    assert isinstance(outcomes["base/odd"], Failed)
    after = {job.key: (artifacts.path(job.key) / "manifest.json").stat().st_ino for job in jobs}
    assert [after[job.key] == before[job.key] for job in jobs] == [False, True]


def test_waiting_is_no_part_of_a_job(workplace, planned, operations, artifacts, monkeypatch, tmp_path):
    """A limit of time counts from there on, and so do the seconds that are recorded."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    job = operations(planned({"base": {"op": "toy_base"}}))[0]
    events, outcomes = [], []

    def work():
        outcomes.append(Worker(workplace).run(job, on_start=lambda: events.append("begun")))

    with measuring():
        thread = threading.Thread(target=work)
        thread.start()
        thread.join(1)
        assert thread.is_alive()
        events.append("measured")
    thread.join()
    assert events == ["measured", "begun"]
    assert isinstance(outcomes[0], Done)
    assert outcomes[0].seconds < time.monotonic()


def test_a_job_that_waits_is_not_over_its_limit_of_time(workplace):
    process = WorkerProcess(replace(workplace, limits=Limits(seconds=1e-9)))
    never = threading.Event()
    assert process._over_limit(None, None, never) is None
    assert "time limit" in process._over_limit(None, time.monotonic() - 1, never)


def test_the_memory_of_what_a_worker_starts_counts():
    before = _resident_bytes(os.getpid())
    script = "x = bytearray(300_000_000); print(len(x), flush=True); input()"
    with subprocess.Popen([sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        process.stdout.readline()
        assert _resident_bytes(os.getpid()) - before > 290_000_000
        process.communicate(b"\n")


@pytest.mark.parametrize(("roots", "of_the_base"), [(("base",), 2), (("base", "other"), 1)])
def test_a_root_that_all_others_wait_for_has_the_threads_of_all_workers(
    workplace, planned, operations, artifacts, roots, of_the_base
):
    tree = {
        root: {"op": "toy_base", "with": {"seed": at}, "then": {"a": {"op": "toy_add"}}}
        for at, root in enumerate(roots)
    }
    jobs = operations(planned(tree))
    ends(jobs, LocalPool(replace(workplace, threads_alone=2), workers=2), artifacts)
    threads = {job.path: artifacts.manifest(job.key)["notes"]["threads"] for job in jobs}
    assert threads == {path: 1 if path.endswith("/a") else of_the_base for path in threads}


@pytest.mark.parametrize(
    ("workers", "threads", "alone"), [(1, None, 4), (2, None, 4), (2, 1, 2), (3, 1, 3), (16, None, 4), (1, 8, 8)]
)
def test_a_job_that_runs_alone_has_no_more_threads_than_there_are_cores_unless_asked(
    monkeypatch, workers, threads, alone
):
    monkeypatch.setattr("pipeline.sweep.config.cores", lambda: 4)
    assert ExecutorConfig(workers=workers, threads=threads).threads_alone() == alone


def test_what_a_job_prints_has_references_in_the_place_of_secrets(
    workplace, planned, operations, artifacts, monkeypatch, capfd
):
    monkeypatch.setenv("BOUILLON_TEST_TOKEN", "hunter2-long")
    secret_values.note("${oc.env:BOUILLON_TEST_TOKEN}")
    said = {"op": "toy_fail", "with": {"how": "print", "marker": "of hunter2-long"}}
    try:
        ends(operations(planned({"base": {"op": "toy_base", "then": {"said": said}}})), LocalPool(workplace), artifacts)
    finally:
        secret_values.forget()
    out, err = capfd.readouterr()
    assert "out of ${oc.env:BOUILLON_TEST_TOKEN}\n" in out
    assert "err of ${oc.env:BOUILLON_TEST_TOKEN}\n" in err
    assert "hunter2" not in out + err


def test_a_job_that_no_process_can_be_given_is_a_failure_like_any_other(workplace, planned, operations, artifacts):
    job, *rest = operations(planned({"base": {"op": "toy_base", "then": {"a": {"op": "toy_add"}}}}))
    odd = replace(rest[0], params=lambda: "no plain data")
    outcomes = ends([job, odd], LocalPool(workplace), artifacts)
    assert isinstance(outcomes["base"], Done)
    assert isinstance(outcomes["base/a"], Failed)
    assert outcomes["base/a"].error.startswith("The job cannot be handed to a worker process: ")


def test_a_job_that_is_cancelled_gives_its_worker_back(workplace, planned, operations, tmp_path):
    hang = {"op": "toy_fail", "with": {"how": "hang", "marker": str(tmp_path / "begun")}}
    base, hanging = operations(planned({"base": {"op": "toy_base", "then": {"x": hang}}}))
    with LocalPool(workplace) as pool:
        assert isinstance(pool.submit(base).result(), Done)
        future = pool.submit(hanging)
        assert not pool.free(hanging.resources)
        while not (tmp_path / "begun").exists():
            time.sleep(0.05)
        pool.cancel(hanging.key)
        assert future.result().error == "Interrupted"
        assert pool.free(hanging.resources)
        assert isinstance(pool.submit(base).result(), Done)


def test_a_job_that_wants_to_be_alone_waits_for_all_others_and_they_for_it(workplace, planned, operations, tmp_path):
    spin = {"op": "toy_spin", "with": {"seconds": 0.5}}
    base, spinning = operations(planned({"base": {"op": "toy_base", "then": {"x": spin}}}))
    alone = Resources(alone=True)
    with LocalPool(workplace, workers=2) as pool:
        pool.submit(base).result()
        assert pool.free(alone)
        future = pool.submit(spinning)
        assert pool.free(Resources())
        assert not pool.free(alone)
        future.result()
        future = pool.submit(replace(spinning, resources=alone, force=True))
        assert not pool.free(Resources())
        future.result()
