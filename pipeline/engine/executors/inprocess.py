"""Runs each job at once, in this process: for tests and debuggers. Limits are not enforced here."""

from __future__ import annotations

from concurrent.futures import Future
from typing import Any, Self

from pipeline.engine.jobs import Done, Failed, Job, Workplace
from pipeline.engine.worker import Worker


class InProcess:
    """An executor of one worker without a process of its own."""

    workers = 1

    def __init__(self, workplace: Workplace) -> None:
        self._worker = Worker(workplace)

    def submit(self, job: Job[Any]) -> Future[Done | Failed]:
        """Run the job now; the future is complete on return."""
        future: Future[Done | Failed] = Future()
        future.set_result(self._worker.run(job))
        return future

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        """Nothing runs between calls, so there is nothing to stop."""
