"""Processes on this machine.

Not `concurrent.futures.ProcessPoolExecutor`: there, one killed worker breaks the pool and with it every job, and a job
cannot be given a limit of time or memory.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import queue
import threading
import time
from concurrent.futures import Future
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess
from typing import Any, NamedTuple, Self

import psutil

from pipeline.core.keys import Key
from pipeline.engine.executors.nodes import missing, this_machine
from pipeline.engine.jobs import ClusterNode, Done, Failed, Job, Resources, Workplace

_POLL_SECONDS = 0.25
_GRACE_SECONDS = 2.0


class _Item(NamedTuple):
    """A job in the queue."""

    job: Job[Any]
    future: Future[Done | Failed]
    stop: threading.Event


class LocalPool:
    """`workers` processes, each run by a thread that hands it one job at a time and watches its limits.

    A process is spawned (never forked: torch has threads) when its first job comes, is used for many jobs, and replaced
    when it dies. It ends by itself when this process does, however that ends.
    """

    def __init__(self, workplace: Workplace, *, workers: int = 1) -> None:
        self.workers = workers
        self._workplace = workplace
        self._queue: queue.SimpleQueue[_Item | None] = queue.SimpleQueue()
        self._stopping = threading.Event()
        self._active: dict[Key, tuple[Resources, threading.Event]] = {}
        self._threads = [threading.Thread(target=self._serve, daemon=True) for _ in range(workers)]
        for thread in self._threads:
            thread.start()

    def nodes(self) -> list[ClusterNode]:
        """This machine."""
        return [this_machine()]

    def refuse(self, resources: Resources) -> str | None:
        """Say what this machine lacks. A job has a worker of its own, so processors are no matter."""
        return missing(resources, self.nodes())

    def free(self, resources: Resources) -> bool:
        """Whether a worker is idle, and nobody wants to be alone."""
        active = [taken for taken, _ in list(self._active.values())]
        if resources.alone or any(taken.alone for taken in active):
            return not active
        return len(active) < self.workers

    def submit(self, job: Job[Any]) -> Future[Done | Failed]:
        """Queue a job."""
        future: Future[Done | Failed] = Future()
        reason = self.refuse(job.resources)
        if reason is not None:
            future.set_result(Failed(job.key, None, reason))
            return future
        stop = threading.Event()
        self._active[job.key] = (job.resources, stop)
        self._queue.put(_Item(job, future, stop))
        return future

    def cancel(self, key: Key) -> None:
        """Stop a job: one that runs is terminated."""
        if key in self._active:
            self._active[key][1].set()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        """Stop at once: running jobs are terminated, queued ones dropped. Half-written artifacts are never published."""
        self._stopping.set()
        for _, stop in list(self._active.values()):
            stop.set()
        for _ in self._threads:
            self._queue.put(None)
        for thread in self._threads:
            thread.join()

    def _serve(self) -> None:
        process = WorkerProcess(self._workplace)
        try:
            while (item := self._queue.get()) is not None and not self._stopping.is_set():
                outcome = outcome_in(process, item.job, item.stop)
                self._active.pop(item.job.key, None)
                item.future.set_result(outcome)
        finally:
            process.stop()


def outcome_in(process: WorkerProcess, job: Job[Any], stop: threading.Event) -> Done | Failed:
    """Run a job in a worker process to its end, whatever that is. Never raises."""
    try:
        return process.run(job, stop)
    except (OSError, RuntimeError) as error:
        return Failed(job.key, 0.0, f"No worker process could be started: {error}")
    except Exception as error:  # noqa: BLE001 - what a person's own stage plans may not be plain data
        why = f"The job cannot be handed to a worker process: {type(error).__name__}: {error}"
        return Failed(job.key, 0.0, why)


class WorkerProcess:
    """One worker process, started again whenever it has died."""

    def __init__(self, workplace: Workplace) -> None:
        self._workplace = workplace
        self._process: SpawnProcess | None = None
        self._pipe: Connection | None = None
        self._busy = False

    def run(self, job: Job[Any], stopping: threading.Event) -> Done | Failed:
        """Run one job to its end, whatever that is."""
        self._busy = True
        outcome = self._run(job, stopping)
        self._busy = False
        return outcome

    def _run(self, job: Job[Any], stopping: threading.Event) -> Done | Failed:
        start, is_running = time.monotonic(), False
        process, pipe = self._ensure()
        try:
            pipe.send(job)
        except (BrokenPipeError, OSError):  # it died while idle: a fresh one takes the job
            self.stop()
            process, pipe = self._ensure()
            pipe.send(job)
        while True:
            if pipe in wait([pipe, process.sentinel], timeout=_POLL_SECONDS):
                try:
                    message: Done | Failed | None = pipe.recv()
                except (EOFError, ConnectionResetError):
                    return self._died(job, start)
                if message is not None:
                    return message
                start, is_running = time.monotonic(), True
            if not process.is_alive() and not pipe.poll():
                return self._died(job, start)
            if reason := self._over_limit(process, start if is_running else None, stopping):
                self.stop()
                return Failed(job.key, time.monotonic() - start, reason)

    def _ensure(self) -> tuple[SpawnProcess, Connection]:
        if self._process is None or self._pipe is None or not self._process.is_alive():
            context = multiprocessing.get_context("spawn")
            self._pipe, theirs = context.Pipe()
            self._process = context.Process(target=serve, args=(theirs, self._workplace), daemon=True)
            self._process.start()
            theirs.close()
        return self._process, self._pipe

    def _died(self, job: Job[Any], start: float) -> Failed:
        assert self._process is not None
        self._process.join(_GRACE_SECONDS)
        code = self._process.exitcode
        self._process = None
        killed = code is not None and code < 0
        why = (
            f"by signal {-code} (signal 9 often means that the machine ran out of memory)"
            if killed and code
            else f"with exit code {code}"
        )
        return Failed(job.key, time.monotonic() - start, f"The worker process ended {why}")

    def _over_limit(self, process: SpawnProcess, start: float | None, stopping: threading.Event) -> str | None:
        """The reason to stop; `start` is None while the job waits for its turn, which does not count."""
        limits = self._workplace.limits
        if stopping.is_set():
            return "Interrupted"
        if limits.seconds is not None and start is not None and time.monotonic() - start > limits.seconds:
            return (
                f"Stopped after its time limit of {limits.seconds:g} s: give it more with limits.seconds=..., or null"
            )
        if limits.memory_bytes is not None and (used := _resident_bytes(process.pid)) > limits.memory_bytes:
            return (
                f"Stopped at {used / 1e9:.2f} GB of memory, over its limit of {limits.memory_bytes / 1e9:.2f} GB "
                "(limits.memory_gb)"
            )
        return None

    def stop(self) -> None:
        """End the process: an idle one by closing its pipe, so that it frees what it holds; a busy one is terminated.

        What it started ends with it.
        """
        started = _children(self._process.pid) if self._process is not None and self._busy else []
        if self._pipe is not None:
            self._pipe.close()
        if self._process is not None and self._process.is_alive() and not self._busy:
            self._process.join(_GRACE_SECONDS)
        if self._process is not None and self._process.is_alive():
            self._process.terminate()
            self._process.join(_GRACE_SECONDS)
            if self._process.is_alive():
                self._process.kill()
                self._process.join()
        self._process = None
        for process in started:
            with contextlib.suppress(psutil.Error):
                process.kill()


def _children(pid: int | None) -> list[psutil.Process]:
    try:
        return list(psutil.Process(pid).children(recursive=True))
    except psutil.Error:
        return []


def _resident_bytes(pid: int | None) -> int:
    """Memory of a worker and of what it started. Of a child only what is its own counts: forks share the rest."""
    try:
        total = int(psutil.Process(pid).memory_info().rss)
    except psutil.NoSuchProcess:
        return 0
    for process in _children(pid):
        with contextlib.suppress(psutil.Error):
            total += int(process.memory_full_info().uss)
    return total


def serve(pipe: Connection, workplace: Workplace) -> None:
    """Main function of a worker process: run jobs until the pipe closes."""
    import signal

    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group; the parent decides what stops
    for variable in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
        os.environ[variable] = str(workplace.threads)
    # Threads that sleep at once when they wait cost a ResNet-50 in training 45 % of its time on idle cores; threads that
    # spin for long make a small net five times slower as soon as another process wants the core. Some milliseconds:
    os.environ.setdefault("GOMP_SPINCOUNT", "300000")
    threading.Thread(target=_end_with_parent, daemon=True).start()
    from pipeline.core.plugins import PluginError
    from pipeline.core.secret_values import hidden_output
    from pipeline.engine.worker import Worker

    worker = Worker(workplace)
    with hidden_output(), contextlib.suppress(EOFError, BrokenPipeError, KeyboardInterrupt):
        with contextlib.suppress(PluginError):  # each job says so
            worker.prepare()  # a job of a person's own stage can be received only when that is known
        while True:
            pipe.send(worker.run(pipe.recv(), on_start=lambda: pipe.send(None)))


def _end_with_parent() -> None:
    """A killed parent must not leave a worker that goes on writing."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        for process in _children(os.getpid()):  # what a job has started must not outlive it either
            with contextlib.suppress(psutil.Error):
                process.kill()
        os._exit(1)
