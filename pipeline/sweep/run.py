"""Run what was prepared: every job, the timing session and the lints; record all of it and publish the results."""

from __future__ import annotations

import contextlib
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline.core import environment
from pipeline.core.keys import Key
from pipeline.engine.jobs import Done, Failed, Job, Limits, Outcome, Skipped, What, Workplace
from pipeline.engine.runner import run as run_jobs
from pipeline.measure.lints.check import Evidence, check
from pipeline.measure.lints.overlap import calibration_overlap
from pipeline.stages.timing import Timing, lengths_note
from pipeline.store.errors import StoreError
from pipeline.store.queries.lint_rows import lint_rows
from pipeline.store.records.run_records import Device, Lint, Run, RunEnd
from pipeline.sweep.config import ConfigError
from pipeline.sweep.prepare import Prepared
from pipeline.sweep.recorder import Recorder, dataset_records, failed_metrics, measurement_records, metric_records
from pipeline.sweep.reporter import Reporter, SilentReporter

if TYPE_CHECKING:
    from pipeline.engine.executors.api import Executor

_INTERRUPTED = 130
_GIGA = 1_000_000_000


@dataclass(frozen=True, slots=True)
class Result:
    """The end of a run. Its figures are in the published store."""

    run_id: str
    outcomes: Sequence[tuple[Job, Outcome]]
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
    return _Run(prepared, reporter or SilentReporter()).run()


def _absent(targets: Mapping[str, Mapping[str, Any]]) -> dict[str, str]:
    """Targets that this machine cannot run -> why, and what to install. Imports runtimes: ask for those in use alone."""
    from pipeline.targets.api import MissingRuntimeError
    from pipeline.targets.open import open_target

    absent = {}
    for name, entry in targets.items():
        try:
            open_target(entry).require()
        except MissingRuntimeError as error:
            absent[name] = str(error)
    return absent


class _Run:
    """One run of a plan."""

    def __init__(self, prepared: Prepared, reporter: Reporter) -> None:
        self.prepared, self.reporter = prepared, reporter
        self.config, self.plan = prepared.config, prepared.plan
        self.artifacts, self.store, self.data = prepared.artifacts, prepared.store, prepared.data
        needed = {job.details.get("target") for job in prepared.missing()}
        self.absent = _absent({name: entry for name, entry in prepared.targets.items() if name in needed})
        if len(self.absent) == len(prepared.targets):
            raise ConfigError("\n".join(f"target '{name}': {why}" for name, why in self.absent.items()))
        self.targets = {name: entry for name, entry in prepared.targets.items() if name not in self.absent}
        self.jobs = [job for job in prepared.jobs if job.details.get("target") not in self.absent]
        self.run_id = f"{datetime.now(UTC):%Y%m%dT%H%M%S}-{uuid.uuid4().hex[:8]}"

    def run(self) -> Result:
        """Run every job, record all outcomes, time the models and publish."""
        recorder = Recorder(self.store, self.plan, self.artifacts, run_id=self.run_id)
        force = self.prepared.force | self._damaged(recorder)
        recorder.add(self._opening())
        for job in self.prepared.jobs:
            if job.details.get("target") in self.absent:
                recorder.record(job, Skipped(job.key, self.absent[job.details["target"]]))
        for name, why in self.absent.items():
            self.reporter.notice(f"Target '{name}' is skipped: {why}")
        workplace = self._workplace()
        outcomes: list[tuple[Job, Outcome]] = []
        try:
            with self._executor(workplace) as executor, self.reporter.jobs(self.prepared, workplace.scratch) as report:
                for job, made in run_jobs(self.jobs, executor, self.artifacts, force=force):
                    outcome = self._judged(job, made, recorder)
                    report(job, outcome)
                    if outcome is not None:
                        outcomes.append((job, outcome))
                        recorder.record(job, outcome)
            outcomes += self._time(recorder)
            findings = self._lint(recorder)
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

    def _judged(self, job: Job, outcome: Outcome | None, recorder: Recorder) -> Outcome | None:
        """A metric that failed makes its job a failure, which is tried again next time; the other figures are kept."""
        if not isinstance(outcome, Done) or job.what is not What.MEASURE:
            return outcome
        manifest = self.artifacts.manifest(job.key)
        if not manifest.get("failed"):
            return outcome
        records = measurement_records(manifest, self.artifacts.path(job.key), run_id=self.run_id)
        recorder.add(recorder.with_devices(job, records))
        recorder.news = True
        self.artifacts.remove(job.key)
        return Failed(job.key, outcome.seconds, failed_metrics(manifest))

    def _damaged(self, recorder: Recorder) -> set[Key]:
        """Say which results have to be made again because their files cannot be read."""
        damaged = recorder.damaged(self.jobs)
        for job, why in damaged:
            place = self.artifacts.path(job.key)
            self.reporter.notice(f"{job.what} of '{job.path}' is made again: {place} is damaged ({why})")
        return {job.key for job, _ in damaged}

    def _time(self, recorder: Recorder) -> list[tuple[Job, Failed]]:
        """Time what lacks figures, alone on the machine; return what could not be timed."""
        if self.prepared.preset is None:
            return []
        recorder.flush()
        timing = Timing(self.plan, self.targets, self.artifacts, self.prepared.preset, self.config.plugins)
        with self.reporter.timing() as report:
            timed = timing.run(self.store.ingested(), self.data, run_id=self.run_id, progress=report)
        recorder.add(timed.records)
        for note in lengths_note(timed.records):
            self.reporter.notice(note)
        recorder.news |= bool(timed.records)
        for job, failed in timed.failures:
            recorder.record(job, failed)
        return timed.failures

    def _lint(self, recorder: Recorder) -> list[Lint]:
        """Look for what is odd, if anything is new."""
        from pipeline.datasets.api import DataError

        if not recorder.news:
            return []
        recorder.flush(publish=True)
        device = environment.device_id()
        rows = lint_rows(self.config.results, models=[step.key for step in self.plan.steps], device=device)
        try:
            overlap = calibration_overlap(self.data)
        except (DataError, OSError) as error:  # jobs that read such an instance have failed; the rest is worth showing
            overlap = None
            self.reporter.notice(f"Whether calibration and evaluation overlap is not known: {error}")
        findings = check(Evidence(**rows), run_id=self.run_id, at=datetime.now(UTC), overlap=overlap)
        recorder.add(findings)
        return findings

    def _opening(self) -> list[Any]:
        """The facts that hold for the whole run."""
        config = {
            **self.config.model_dump(mode="json"),
            "dataset_key": self.plan.facts.data_fingerprint,
            "dataset_notes": list(self.prepared.notes),
            **({"preprocessing": list(self.prepared.preprocessing)} if self.prepared.preprocessing else {}),
        }
        news = self.data.fingerprint not in self.store.ingested()
        return [
            Run(
                run_id=self.run_id,
                recipe=self.plan.recipe.name,
                config=config,
                versions=environment.versions(),
                host=environment.host(),
                git_commit=environment.git_commit(Path(__file__).parent),
                started_at=datetime.now(UTC),
            ),
            Device(environment.device_id(), environment.device()),
            *metric_records(),
            *(dataset_records(self.data, self.config.dataset or {}) if news else ()),
        ]

    def _workplace(self) -> Workplace:
        limits = self.config.limits
        scratch = self.config.workspace.resolve() / "scratch"
        scratch.mkdir(parents=True, exist_ok=True)
        self.artifacts.sweep()
        return Workplace(
            artifacts=self.artifacts.root.resolve(),
            scratch=scratch,
            data_folder=self.config.data_folder.expanduser(),
            dataset=self.config.dataset or {},
            targets=self.targets,
            plugins=self.config.plugins,
            threads=self.config.executor.inner_threads(),
            threads_alone=self.config.executor.threads_alone(),
            batch_size=self.config.batch_size,
            limits=Limits(limits.seconds, int(limits.memory_gb * _GIGA) if limits.memory_gb else None),
            data_fingerprint=self.plan.facts.data_fingerprint,
        )

    def _executor(self, workplace: Workplace) -> Executor:
        if self.config.executor.executor == "inprocess":
            from pipeline.engine.executors.inprocess import InProcess

            return InProcess(workplace)
        from pipeline.engine.executors.local import LocalPool

        return LocalPool(workplace, workers=self.config.executor.workers)
