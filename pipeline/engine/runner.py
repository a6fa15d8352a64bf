"""Walks jobs: submits what is ready, reports outcomes, skips what needs something that failed."""

from __future__ import annotations

import logging
from collections import defaultdict, deque
from collections.abc import Collection, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from dataclasses import replace
from typing import Any

from pipeline.core.artifacts import ArtifactStore
from pipeline.core.keys import Key
from pipeline.engine.executors.api import Executor
from pipeline.engine.jobs import Done, Failed, Job, Outcome, Skipped

_log = logging.getLogger(__name__)


def run(
    jobs: Sequence[Job[Any]], executor: Executor, artifacts: ArtifactStore, *, force: Collection[Key] = ()
) -> Iterator[tuple[Job[Any], Outcome | None]]:
    """Yield (job, None) when a job starts and (job, outcome) when it ends; the caller records them.

    A job whose artifact exists is `Done(cached=True)` at once, unless its key is in `force`: then another is made beside,
    and takes its place. Jobs are started in the order given, as the jobs that they need are done and workers are free.

    Args:
        jobs: of several that could start, the first does.
        executor: runs them, so many at a time as it has workers.
        artifacts: says which results are there.
        force: keys whose results are made again.
    """
    waits = _Waits(jobs)
    running: dict[Future[Done | Failed], Job[Any]] = {}
    while waits.ready or running:
        while waits.ready and len(running) < executor.workers:
            job = waits.ready.popleft()
            if job.key in artifacts and job.key not in force:
                yield job, Done(job.key, cached=True)
                waits.done(job)
                continue
            yield job, None
            _log.info("start %s of %s (%s)", job.stage, job.path, job.key[:12])
            running[executor.submit(replace(job, force=job.key in force))] = job
        finished, _ = wait(running, return_when=FIRST_COMPLETED) if running else (set(), None)
        for future in [future for future in running if future in finished]:  # a set has another order in every process
            job = running.pop(future)
            outcome = future.result()
            _log.info("end %s of %s (%s): %s", job.stage, job.path, job.key[:12], type(outcome).__name__.lower())
            yield job, outcome
            if isinstance(outcome, Done):
                waits.done(job)
            else:
                yield from waits.skip_below(job)


def unsound(
    jobs: Sequence[Job[Any]], artifacts: ArtifactStore, again: Collection[Key] = ()
) -> list[tuple[Job[Any], str]]:
    """Return the jobs whose results would be read in a run, but are not what was written, and what is wrong with them.

    What is read are the results that jobs need which are not done, or are to be made `again`. Nothing else is looked at.

    Args:
        jobs: those of a run.
        artifacts: holds their results.
        again: keys of jobs that run although their results are there.
    """
    by_key = {job.key: job for job in jobs}
    waiting = [job for job in jobs if job.key in again or job.key not in artifacts]
    visited, faults = set(again), list[tuple[Job[Any], str]]()
    while waiting:
        for need in waiting.pop().needs:
            if need in visited or need not in by_key or need not in artifacts:
                continue
            visited.add(need)
            fault = artifacts.fault(need)
            if fault is not None:
                faults.append((by_key[need], fault))
                waiting.append(by_key[need])
    return faults


class _Waits:
    """Which jobs wait for which."""

    def __init__(self, jobs: Sequence[Job[Any]]) -> None:
        keys = {job.key for job in jobs}
        self._order = {job.key: number for number, job in enumerate(jobs)}
        self._missing = {job.key: {need for need in job.needs if need in keys} for job in jobs}
        self._waiting: dict[Key, list[Job[Any]]] = defaultdict(list)
        self._skipped: set[Key] = set()
        for job in jobs:
            for need in self._missing[job.key]:
                self._waiting[need].append(job)
        self.ready = deque(job for job in jobs if not self._missing[job.key])

    def done(self, job: Job[Any]) -> None:
        """Make ready what waited for this job alone. What was planned first comes first."""
        freed = []
        for waiting in self._waiting.pop(job.key, []):
            self._missing[waiting.key].discard(job.key)
            if not self._missing[waiting.key] and waiting.key not in self._skipped:
                freed.append(waiting)
        for waiting in sorted(freed, key=lambda job: self._order[job.key], reverse=True):
            self.ready.appendleft(waiting)

    def skip_below(self, failed: Job[Any]) -> Iterator[tuple[Job[Any], Skipped]]:
        """Yield everything that needs `failed`, directly or not, each once."""
        because = f"{failed.stage} of '{failed.path}' failed"
        stack = [failed.key]
        while stack:
            for waiting in self._waiting.pop(stack.pop(), []):
                if waiting.key not in self._skipped:
                    self._skipped.add(waiting.key)
                    yield waiting, Skipped(waiting.key, because)
                    stack.append(waiting.key)
