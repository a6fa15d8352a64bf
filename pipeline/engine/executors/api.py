"""The contract of an executor. One file per executor; a contract test class says what each must do."""

from __future__ import annotations

from concurrent.futures import Future
from typing import Any, Protocol, Self

from pipeline.core.keys import Key
from pipeline.engine.jobs import ClusterNode, Done, Failed, Job, Resources, Workplace

__all__ = ["Executor", "Job", "Workplace"]


class Executor(Protocol):
    """Runs jobs somewhere and returns their outcomes.

    Obligations: a future never raises, whatever the job does (raise, exit, be killed, run out of time or memory): it
    gives `Failed`; a job that fails leaves the executor usable; a job that no node can run gives `Failed` with what is
    missing, and none waits for ever; a job's own failure is never tried again, a lost node is no failure of the job's;
    leaving the context stops what still runs.
    """

    @property
    def workers(self) -> int:
        """The number of jobs that it runs at once."""
        ...

    def nodes(self) -> list[ClusterNode]:
        """The machines that run jobs now."""
        ...

    def refuse(self, resources: Resources) -> str | None:
        """Say why no node can ever run a job of such needs; None if one can."""
        ...

    def free(self, resources: Resources) -> bool:
        """Whether a job of such needs would start at once. True for what is refused: submitted, it gives its failure."""
        ...

    def submit(self, job: Job[Any]) -> Future[Done | Failed]:
        """Start a job, or queue it."""
        ...

    def cancel(self, key: Key) -> None:
        """Stop a job, wherever it is; it gives `Failed`. One that has ended, or was never submitted, is no matter."""
        ...

    def __enter__(self) -> Self: ...
    def __exit__(self, *exc: object) -> None: ...
