"""Walks jobs: submits what is ready, reports outcomes, skips what needs something that failed."""

from __future__ import annotations

import contextlib
import heapq
import logging
from collections import defaultdict
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import replace
from graphlib import TopologicalSorter
from queue import Empty, SimpleQueue
from typing import Any, NamedTuple

from pipeline.core.artifacts import ArtifactStore
from pipeline.core.errors import BouillonError
from pipeline.core.keys import Key
from pipeline.engine.executors.api import Executor
from pipeline.engine.jobs import Done, Failed, Job, Outcome, Resources, Skipped


class HaltError(BouillonError, RuntimeError):
    """The surroundings of the jobs have failed, so that no job could do better: the message says what to do."""


_MANY_WORKERS = 16
_log = logging.getLogger(__name__)


def run(
    jobs: Sequence[Job[Any]],
    executor: Executor,
    artifacts: ArtifactStore,
    *,
    force: Collection[Key] = (),
    waiting: Callable[[], None] = lambda: None,
) -> Iterator[tuple[Job[Any], Outcome | None]]:
    """Yield (job, None) when a job starts and (job, outcome) when it ends; the caller records them.

    A job whose artifact exists is `Done(cached=True)` at once, unless its key is in `force`: then another is made beside,
    and takes its place. Jobs are started in the order given, as the jobs that they need are done and the executor has room.

    Args:
        jobs: of several that could start, the first does.
        executor: runs them, as many at a time as it has room for.
        artifacts: says which results are there.
        force: keys whose results are made again.
        waiting: called when nothing can be done until a job ends: a simulated clock goes on here.

    Raises:
        HaltError: if a job fails because its surroundings do: an object store that is out of reach.
    """
    waits = _Waits(jobs, executor.workers)
    ended: SimpleQueue[_Submitted] = SimpleQueue()
    running = 0
    while waits.ready or running:
        while (job := waits.ready.next(executor.free if running else None)) is not None:
            if job.key not in force and _is_there(job, artifacts):
                yield job, Done(job.key, cached=True)
                waits.done(job)
                continue
            yield job, None
            _log.info("start %s of %s (%s)", job.stage, job.path, job.key[:12])
            _submit(executor, replace(job, force=job.key in force), ended)
            running += 1
        for job, future in _next(ended, waiting) if running else ():
            running -= 1
            outcome = future.result()
            _log.info("end %s of %s (%s): %s", job.stage, job.path, job.key[:12], type(outcome).__name__.lower())
            yield job, outcome
            if isinstance(outcome, Done):
                waits.done(job)
                continue
            _check_halt(outcome)
            yield from waits.skip_below(job)


def _is_there(job: Job[Any], artifacts: ArtifactStore) -> bool:
    """Whether a job's artifact is where all who need it find it."""
    artifacts.share((job.key,))
    return job.key in artifacts


def _check_halt(failure: Failed) -> None:
    if failure.halts:
        raise HaltError(failure.error)


class _Submitted(NamedTuple):
    """A job that an executor has."""

    job: Job[Any]
    future: Future[Done | Failed]


def _submit(executor: Executor, job: Job[Any], ended: SimpleQueue[_Submitted]) -> None:
    """Start a job; it is in `ended` when it has come to its end. Waiting costs the same however many run."""
    executor.submit(job).add_done_callback(lambda future: ended.put(_Submitted(job, future)))


def _next(ended: SimpleQueue[_Submitted], waiting: Callable[[], None]) -> list[_Submitted]:
    """Wait for an end; return it with those that have come meanwhile."""
    if ended.empty():
        waiting()
    result = [ended.get()]
    with contextlib.suppress(Empty):
        while True:
            result.append(ended.get_nowait())
    return result


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


class _Ready:
    """Jobs that can start, the first by rank before others; none holds up those of other needs for which there is room."""

    def __init__(self) -> None:
        self._heaps: dict[Resources, list[tuple[tuple[int, int], Job[Any]]]] = {}

    def __bool__(self) -> bool:
        return bool(self._heaps)

    def put(self, job: Job[Any], rank: tuple[int, int]) -> None:
        """Add a job; no two have one rank."""
        heapq.heappush(self._heaps.setdefault(job.resources, []), (rank, job))

    def next(self, free: Callable[[Resources], bool] | None) -> Job[Any] | None:
        """Take the first job whose needs are free; None if there is none. `free` None: whatever is first."""
        heaps = [heap for needs, heap in self._heaps.items() if free is None or free(needs)]
        if not heaps:
            return None
        _, job = heapq.heappop(min(heaps, key=lambda heap: heap[0][0]))
        if not self._heaps[job.resources]:
            del self._heaps[job.resources]
        return job


class _Waits:
    """Which jobs wait for which.

    A few workers take what was planned first, and what their own work has made ready before all else: model after model is
    complete. Many would run out of work at the end while the last chains go on, so they take what most others wait for,
    directly or not, along the longest chain below it.
    """

    def __init__(self, jobs: Sequence[Job[Any]], workers: int) -> None:
        keys = {job.key for job in jobs}
        self._order = {job.key: number for number, job in enumerate(jobs)}
        self._missing = {job.key: {need for need in job.needs if need in keys} for job in jobs}
        self._waiting: dict[Key, list[Job[Any]]] = defaultdict(list)
        self._skipped: set[Key] = set()
        self._last = 0
        for job in jobs:
            for need in self._missing[job.key]:
                self._waiting[need].append(job)
        self._heights = _heights(jobs, self._waiting) if workers >= _MANY_WORKERS else None
        self.ready = _Ready()
        for job in jobs:
            if not self._missing[job.key]:
                self.ready.put(job, self._rank(job, 0))

    def _rank(self, job: Job[Any], turn: int) -> tuple[int, int]:
        return (turn if self._heights is None else -self._heights[job.key]), self._order[job.key]

    def done(self, job: Job[Any]) -> None:
        """Make ready what waited for this job alone. What was planned first comes first."""
        self._last -= 1
        for waiting in self._waiting.pop(job.key, []):
            self._missing[waiting.key].discard(job.key)
            if not self._missing[waiting.key] and waiting.key not in self._skipped:
                self.ready.put(waiting, self._rank(waiting, self._last))

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


def _heights(jobs: Sequence[Job[Any]], waiting: Mapping[Key, Sequence[Job[Any]]]) -> dict[Key, int]:
    """Jobs of the longest chain below each."""
    heights: dict[Key, int] = {}
    order = TopologicalSorter({job.key: [below.key for below in waiting.get(job.key, ())] for job in jobs})
    for key in order.static_order():
        heights[key] = 1 + max((heights[below.key] for below in waiting.get(key, ())), default=0)
    return heights
