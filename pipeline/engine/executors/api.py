"""The contract of an executor. One file per executor; a contract test class says what each must do."""

from __future__ import annotations

from concurrent.futures import Future
from typing import Any, Protocol, Self

from pipeline.engine.jobs import Done, Failed, Job, Workplace

__all__ = ["Executor", "Job", "Workplace"]


class Executor(Protocol):
    """Runs jobs somewhere and returns their outcomes.

    Obligations: a future never raises, whatever the job does (raise, exit, be killed, run out of time or memory): it
    gives `Failed`; a job that fails leaves the executor usable; leaving the context stops what still runs.
    """

    @property
    def workers(self) -> int:
        """The number of jobs that it runs at once."""
        ...

    def submit(self, job: Job[Any]) -> Future[Done | Failed]:
        """Start a job, or queue it."""
        ...

    def __enter__(self) -> Self: ...
    def __exit__(self, *exc: object) -> None: ...
