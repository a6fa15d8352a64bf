"""Run what was prepared: every job, the timing session and the lints; record all of it and publish the results."""

from __future__ import annotations

import contextlib
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

from pipeline.core import environment
from pipeline.engine.executors.open import open_executor
from pipeline.engine.jobs import Done, Failed, Job, Outcome, Skipped
from pipeline.engine.runner import run as run_jobs
from pipeline.measure.lints.lint_run import lint_run
from pipeline.stages.timing import Timing, lengths_note
from pipeline.store.errors import StoreError
from pipeline.store.records.run_records import Lint, RunEnd
from pipeline.sweep.opening import absent_targets, note_own_results, open_workplace, opening_records
from pipeline.sweep.prepare import Prepared
from pipeline.sweep.recorder import Recorder
from pipeline.sweep.reporter import Reporter, SilentReporter

_INTERRUPTED = 130


@dataclass(frozen=True, slots=True)
class Result:
    """The end of a run. Its figures are in the published store."""

    run_id: str
    outcomes: Sequence[tuple[Job[Any], Outcome]]
    findings: Sequence[Lint]
    """Lints of this run; none where nothing is new."""
    absent: Mapping[str, str]
    """Targets that this machine cannot run -> the reason, and what to install."""
    device: str
    """Identity of the machine that timed the models."""

    @property
    def succeeded(self) -> bool:
        """Whether every job gave its artifact."""
        return all(isinstance(outcome, Done) for _, outcome in self.outcomes)


def run(prepared: Prepared, reporter: Reporter | None = None) -> Result:
    """Run every job whose artifact is missing, time the models, look for what is odd, and publish.

    Failures of jobs are outcomes, not exceptions; what is finished is kept whatever happens.

    Raises:
        ConfigError: if this machine can run none of the targets that are needed.
        StoreError: if the results cannot be written.
    """
    with prepared.artifacts.in_use():
        return _Run(prepared, reporter or SilentReporter()).run()


def run_all(prepared: Prepared, reporter: Reporter | None = None) -> tuple[Prepared, Result]:
    """Run; where steps with `allocate` wait for the sensitivity of models, measure it first, plan them, and run the rest.

    Returns:
        What was run last, and its end. A run whose measurement failed ends there.

    Raises:
        RecipeError: a budget cannot be met.
        ConfigError, StoreError: as `run`.
    """
    while prepared.resume is not None:
        result = run(replace(prepared, preset=None), reporter)
        if not result.succeeded:
            return prepared, result
        prepared = prepared.resume()
    return prepared, run(prepared, reporter)


class _Run:
    """One run of a plan."""

    def __init__(self, prepared: Prepared, reporter: Reporter) -> None:
        self.prepared, self.reporter = prepared, reporter
        self.config, self.plan = prepared.config, prepared.plan
        self.artifacts, self.store, self.data = prepared.artifacts, prepared.store, prepared.data
        self.absent = absent_targets(prepared)
        self.targets = {name: entry for name, entry in prepared.targets.items() if name not in self.absent}
        self.jobs = [job for job in prepared.jobs if job.target not in self.absent]
        self.run_id = f"{datetime.now(UTC):%Y%m%dT%H%M%S}-{uuid.uuid4().hex[:8]}"

    def run(self) -> Result:
        """Run every job, record all outcomes, time the models and publish."""
        note_own_results(self.prepared)
        recorder = Recorder(self.store, self.plan, self.artifacts, run_id=self.run_id)
        with recorder.heartbeat(self.prepared.jobs, self.config.executor.workers):
            return self._run(recorder)

    def _run(self, recorder: Recorder) -> Result:
        damaged = recorder.damaged(self.jobs)
        for job, why in damaged:
            place = self.artifacts.path(job.key)
            self.reporter.notice(f"{job.stage} of '{job.path}' is made again: {place} is damaged ({why})")
        force = self.prepared.force | {job.key for job, _ in damaged}
        recorder.add(opening_records(self.prepared, self.run_id))
        for job in self.prepared.jobs:
            if job.target in self.absent:
                recorder.record(job, Skipped(job.key, self.absent[job.target]))
        for name, why in self.absent.items():
            self.reporter.notice(f"Target '{name}' is skipped: {why}")
        workplace, options = open_workplace(self.prepared, self.targets), self.config.executor
        outcomes: list[tuple[Job[Any], Outcome]] = []
        try:
            with (
                open_executor(options.executor, workplace, options.workers, options.cluster()) as executor,
                self.reporter.jobs(self.prepared, workplace.scratch) as report,
            ):
                for job, end in run_jobs(self.jobs, executor, self.artifacts, force=force):
                    if end is None:
                        recorder.start(job)
                        report(job, None)
                        continue
                    outcome = recorder.record(job, end)
                    report(job, outcome)
                    outcomes.append((job, outcome))
            outcomes += self._time(recorder)
            findings = self._lint(recorder)
            recorder.flush()
            outcomes = [(job, recorder.refused.get(job.key, outcome)) for job, outcome in outcomes]
        except BaseException:
            with contextlib.suppress(StoreError):  # the first error is the cause, and the one to tell
                self._end(recorder, _INTERRUPTED)
            raise
        result = Result(self.run_id, outcomes, findings, self.absent, environment.device_id())
        self._end(recorder, 0 if result.succeeded else 1)
        return result

    def _end(self, recorder: Recorder, exit_code: int) -> None:
        recorder.add([RunEnd(self.run_id, datetime.now(UTC), exit_code)])
        recorder.flush(publish=True)

    def _time(self, recorder: Recorder) -> list[tuple[Job[Any], Failed]]:
        """Time what lacks figures, alone on the machine; return what could not be timed."""
        if self.prepared.preset is None:
            return []
        recorder.flush()
        timing = Timing(self.plan, self.targets, self.artifacts, self.prepared.preset, self.config.plugins)
        with self.reporter.timing() as report:

            def progress(done: int, total: int, text: str) -> None:
                recorder.note_timing(done, total)
                report(done, total, text)

            timed = timing.run(self.store.ingested(), self.data, run_id=self.run_id, progress=progress)
        recorder.add(timed.records)
        for note in lengths_note(timed.records):
            self.reporter.notice(note)
        recorder.news |= bool(timed.records)
        for job, failed in timed.failures:
            recorder.record(job, failed)
        return timed.failures

    def _lint(self, recorder: Recorder) -> list[Lint]:
        """Look for what is odd, if anything is new."""
        if not recorder.news:
            return []
        recorder.flush(publish=True)
        models = [step.key for step in self.plan.steps]
        findings, notices = lint_run(self.config.results, models, self.data, run_id=self.run_id)
        for notice in notices:
            self.reporter.notice(notice)
        recorder.add(findings)
        return findings
