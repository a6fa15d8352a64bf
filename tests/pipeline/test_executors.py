"""Both executors meet the contract; the pool survives whatever its jobs do."""

import re
import time
from dataclasses import replace
from types import SimpleNamespace

import pytest

from pipeline.engine.executors.inprocess import InProcess
from pipeline.engine.executors.local import LocalPool
from pipeline.engine.jobs import Done, Failed, Limits
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
    monkeypatch.setattr("pipeline.core.machine.cpu_quota.cores", lambda: 4)
    assert ExecutorConfig(workers=workers, threads=threads).threads_alone() == alone
