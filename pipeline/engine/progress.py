"""Progress of the jobs of a run: how many have ended, and how long the others will take."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from statistics import median
from typing import Any

from pipeline.core.keys import Key
from pipeline.engine.jobs import Job

__all__ = ["Durations", "ExpectedSeconds", "JobProgress"]

Durations = Mapping[tuple[str, str], float]
"""(kind of job, operation) -> median seconds in past runs."""


class ExpectedSeconds:
    """How long jobs take, by what such jobs took in past runs: in plans and while a run goes on."""

    def __init__(self, durations: Durations) -> None:
        self._durations = durations
        self._of_stage: dict[str, list[float]] = {}
        for (stage, _), seconds in durations.items():
            self._of_stage.setdefault(stage, []).append(seconds)

    def of(self, job: Job[Any], op: str) -> float | None:
        """Return the median of such jobs; of evidence about models of a new operation that about other models.

        Args:
            job: the job.
            op: the operation that makes its model.

        Returns:
            None where no run tells: of the step of an operation that none has finished.
        """
        seconds = self._durations.get((job.stage, op))
        if seconds is not None or job.makes_model or job.stage not in self._of_stage:
            return seconds
        return median(self._of_stage[job.stage])


class JobProgress:
    """Is told of every start and end of a job; may be asked from another thread."""

    def __init__(
        self, jobs: Sequence[Job[Any]], operations: Mapping[Key, str], durations: Durations, workers: int
    ) -> None:
        """Begin with nothing done.

        Args:
            jobs: all of the run.
            operations: model -> the operation that makes it.
            durations: seconds that such jobs took in past runs.
            workers: how many jobs run at a time.
        """
        self.total = len(jobs)
        self._workers = max(1, workers)
        expected = ExpectedSeconds(durations)
        self._expected = {job.key: expected.of(job, operations[job.model]) for job in jobs}
        self._seconds: dict[Key, float] = {}
        self._running: dict[Key, float] = {}

    @property
    def done(self) -> int:
        """How many jobs have ended."""
        return len(self._seconds)

    def start(self, job: Job[Any]) -> None:
        """Take note that a job runs."""
        self._running[job.key] = time.monotonic()

    def end(self, job: Job[Any]) -> None:
        """Take note that a job has ended, whether it ran or not; others than those of the run do not count."""
        now = time.monotonic()
        started = self._running.pop(job.key, now)
        if job.key in self._expected:
            self._seconds[job.key] = now - started

    def remaining_seconds(self) -> float | None:
        """From past runs; a job never seen is taken to last as long as the mean of its run's jobs. None: no idea yet."""
        ended, running = dict(self._seconds), dict(self._running)
        durations = [seconds for seconds in ended.values() if seconds > 0]
        mean = sum(durations) / len(durations) if durations else None
        total = 0.0
        now = time.monotonic()
        for key, expected in self._expected.items():
            if key in ended:
                continue
            guess = expected if expected is not None else mean
            if guess is None:
                return None
            total += max(0.0, guess - (now - running[key])) if key in running else guess
        return total / self._workers
