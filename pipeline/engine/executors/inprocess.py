"""Runs each job at once, in this process: for tests and debuggers. Limits are not enforced here."""

from __future__ import annotations

from concurrent.futures import Future
from typing import Any, Self

from pipeline.core.keys import Key
from pipeline.engine.executors.nodes import missing, this_machine
from pipeline.engine.jobs import ClusterNode, Done, Failed, Job, Resources, Workplace
from pipeline.engine.worker import Worker


class InProcess:
    """An executor of one worker without a process of its own."""

    workers = 1

    def __init__(self, workplace: Workplace) -> None:
        self._worker = Worker(workplace)

    def nodes(self) -> list[ClusterNode]:
        """This machine."""
        return [this_machine()]

    def refuse(self, resources: Resources) -> str | None:
        """Say what this machine lacks."""
        return missing(resources, self.nodes())

    def free(self, resources: Resources) -> bool:
        """Whether a job can start: nothing runs between calls."""
        return True

    def cancel(self, key: Key) -> None:
        """Nothing runs between calls, so there is nothing to stop."""

    def submit(self, job: Job[Any]) -> Future[Done | Failed]:
        """Run the job now; the future is complete on return."""
        future: Future[Done | Failed] = Future()
        reason = self.refuse(job.resources)
        future.set_result(self._worker.run(job) if reason is None else Failed(job.key, None, reason))
        return future

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        """Nothing runs between calls, so there is nothing to stop."""
