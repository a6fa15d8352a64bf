"""Run a recipe from its composed configuration to the published results."""

from __future__ import annotations

import sys
import uuid
from collections.abc import Mapping, Sequence, Set
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.text import Text

from pipeline.cli.explain import explain, print_plan, step_at
from pipeline.cli.progress import show_progress
from pipeline.cli.summary import print_absent, print_failures, print_findings, print_next, print_scores
from pipeline.core import environment
from pipeline.core.artifacts import ArtifactStore
from pipeline.core.keys import Key
from pipeline.datasets.api import DataError
from pipeline.engine.jobs import Done, Failed, Job, Limits, Outcome, Skipped, What, Workplace
from pipeline.engine.runner import run
from pipeline.measure.lints.check import Evidence, check
from pipeline.measure.lints.overlap import calibration_overlap
from pipeline.measure.timing.preset import Preset, PresetError, parse_preset
from pipeline.plan.planner import make_plan
from pipeline.plan.recipe import parse
from pipeline.plan.steps import Plan
from pipeline.stages.rough_latency import PRESET, Early
from pipeline.stages.schedule import jobs_of
from pipeline.stages.timing import Timing
from pipeline.store.queries.lint_rows import lint_rows
from pipeline.store.queries.scores import scores
from pipeline.store.records.run_records import Device, Lint, Run, RunEnd
from pipeline.store.writer import Store
from pipeline.sweep.config import Config, ConfigError
from pipeline.sweep.preflight import gather, load_plugins, open_data, read_data
from pipeline.sweep.recorder import Recorder, failed_metrics, measurement_records

if TYPE_CHECKING:
    from pipeline.datasets.api import Dataset
    from pipeline.engine.executors.api import Executor

_GIGA = 1_000_000_000
_WIDTH = 130  # of tables in pipes and logs


def sweep(config: Config, entries: Mapping[str, Mapping[str, Mapping[str, Any]]]) -> int:
    """Plan and run a recipe; return the exit code: 0, or 1 if a job failed.

    Raises:
        RecipeError, ConfigError: before anything runs, for every mistake that needs no computing.
        StoreError: if the results cannot be read or written.
    """
    load_plugins(config.plugins)
    preset = _preset(config.bench)
    recipe = parse(config.recipe)
    data = open_data(config)
    plan = make_plan(recipe, gather(config, recipe, data, entries))
    targets = {name: entries["target"][name] for name in recipe.targets}
    artifacts = ArtifactStore(config.workspace / "artifacts")
    store = Store(config.results)
    if data.fingerprint not in store.ingested():  # else it has been read before
        read_data(data)
    jobs = jobs_of(plan, targets=targets, metrics=_metrics())
    early = _preset(entries["bench"].get(PRESET))
    if preset is not None and early is not None:
        jobs += Early(early, preset, environment.device_id(), store.ingested()).jobs(plan, targets)
    force = {step_at(plan, path).key for path in config.forced()}
    console = Console(width=None if sys.stdout.isatty() else _WIDTH)
    if config.plan_only:
        print_plan(plan, jobs, artifacts, store.durations(), console, force=force)
        return 0
    if config.explain:
        reasons = explain(plan, config.explain, artifacts, store.last_steps(recipe.name), force=force)
        console.print("\n".join(reasons), markup=False)
        return 0
    wanted = {job.details.get("target") for job in jobs if job.key not in artifacts or job.key in force}
    absent = _absent({name: entry for name, entry in targets.items() if name in wanted})
    if len(absent) == len(targets):
        raise ConfigError("\n".join(f"target '{name}': {why}" for name, why in absent.items()))
    return _Sweep(
        config=config,
        plan=plan,
        jobs=jobs,
        targets=targets,
        artifacts=artifacts,
        store=store,
        data=data,
        preset=preset,
        absent=absent,
        force=force,
    ).run(console)


def _preset(entry: Mapping[str, Any] | None) -> Preset | None:
    """How to time models; None (`bench=none`): not at all."""
    if entry is None or entry == {"name": "none"}:
        return None
    try:
        return parse_preset(entry)
    except PresetError as error:
        raise ConfigError(str(error)) from None


def _absent(targets: Mapping[str, Mapping[str, Any]]) -> dict[str, str]:
    """Targets that this machine cannot run -> why, and what to install. Imports runtimes: ask for those in use alone."""
    from pipeline.targets.api import MissingRuntimeError
    from pipeline.targets.open import open_target

    found = {}
    for name, entry in targets.items():
        try:
            open_target(entry).require()
        except MissingRuntimeError as error:
            found[name] = str(error)
    return found


def _metrics() -> tuple[str, ...]:
    from pipeline.measure.metrics.api import METRICS

    return tuple(METRICS)


class _Sweep:
    """One run of a plan."""

    def __init__(
        self, *, config: Config, plan: Plan, jobs: Sequence[Job], targets: Mapping[str, Mapping[str, Any]],
        artifacts: ArtifactStore, store: Store, data: Dataset,
        preset: Preset | None, absent: Mapping[str, str], force: Set[Key],
    ) -> None:  # fmt: skip
        self.config, self.plan, self.absent, self.force = config, plan, absent, force
        self.targets = {name: entry for name, entry in targets.items() if name not in absent}
        self.jobs = [job for job in jobs if job.details.get("target") not in absent]
        self.skipped = [job for job in jobs if job.details.get("target") in absent]
        self.artifacts, self.store, self.data, self.preset = artifacts, store, data, preset
        self.workspace = config.workspace.resolve()
        self.run_id = f"{datetime.now(UTC):%Y%m%dT%H%M%S}-{uuid.uuid4().hex[:8]}"

    def run(self, console: Console) -> int:
        """Run every job, record all outcomes, time the models, publish, and print what came out."""
        recorder = Recorder(self.store, self.plan, self.artifacts, run_id=self.run_id)
        force = self.force | self._damaged(recorder, console)
        recorder.add(self._opening())
        for job in self.skipped:
            recorder.record(job, Skipped(job.key, self.absent[job.details["target"]]))
        print_absent(self.absent, console)
        workplace = self._workplace()
        durations = self.store.durations()
        outcomes: list[tuple[Job, Outcome]] = []
        exit_code = 130
        try:
            progress = show_progress(self.plan, self.jobs, workplace.scratch, durations, self.config.executor.workers)
            with self._executor(workplace) as executor, progress:
                for job, made in run(self.jobs, executor, self.artifacts, force=force):
                    outcome = self._judged(job, made, recorder)
                    progress.update(job, outcome)
                    if outcome is not None:
                        outcomes.append((job, outcome))
                        recorder.record(job, outcome)
            outcomes += self._time(recorder, console)
            findings = self._lint(recorder, console)
            exit_code = 0 if all(isinstance(outcome, Done) for _, outcome in outcomes) else 1
        finally:
            recorder.add([RunEnd(self.run_id, datetime.now(UTC), exit_code)])
            recorder.flush(publish=True)
        for target in self.targets:
            print_scores(self.plan, scores(self.config.results, target, environment.device_id()), target, console)
        print_failures(outcomes, console)
        print_absent(self.absent, console)
        print_findings(self.plan, findings, console)
        print_next(self.config.results, console)
        return exit_code

    def _judged(self, job: Job, outcome: Outcome | None, recorder: Recorder) -> Outcome | None:
        """A metric that failed makes its job a failure, which is tried again next time; the other figures are kept."""
        if not isinstance(outcome, Done) or job.what is not What.MEASURE:
            return outcome
        manifest = self.artifacts.manifest(job.key)
        if not manifest.get("failed"):
            return outcome
        recorder.add(measurement_records(manifest, run_id=self.run_id))
        recorder.news = True
        self.artifacts.remove(job.key)
        return Failed(job.key, outcome.seconds, failed_metrics(manifest))

    def _damaged(self, recorder: Recorder, console: Console) -> set[Key]:
        """Say which results have to be made again because their files cannot be read."""
        damaged = recorder.damaged(self.jobs)
        for job, why in damaged:
            text = f"{job.what} of '{job.path}' is made again: {self.artifacts.path(job.key)} is damaged ({why})"
            console.print(text, markup=False, highlight=False, soft_wrap=True)
        return {job.key for job, _ in damaged}

    def _time(self, recorder: Recorder, console: Console) -> list[tuple[Job, Failed]]:
        """Time what lacks figures, alone on the machine; return what could not be timed."""
        if self.preset is None:
            return []
        recorder.flush()
        timing = Timing(self.plan, self.targets, self.artifacts, self.preset, self.config.plugins)
        with console.status("timing") as status:
            timed = timing.run(
                self.store.ingested(),
                self.data,
                run_id=self.run_id,
                progress=lambda done, total, text: status.update(f"timing: {done} of {total} groups done; {text}"),
            )
        recorder.add(timed.records)
        recorder.news |= bool(timed.records)
        for job, failed in timed.failures:
            recorder.record(job, failed)
        return timed.failures

    def _lint(self, recorder: Recorder, console: Console) -> list[Lint]:
        """Look for what is odd, if anything is new."""
        if not recorder.news:
            return []
        recorder.flush(publish=True)
        device = environment.device_id()
        rows = lint_rows(self.config.results, models=[step.key for step in self.plan.steps], device=device)
        try:
            overlap = calibration_overlap(self.data)
        except (DataError, OSError) as error:  # jobs that read such an instance have failed; the rest is worth showing
            overlap = None
            console.print(Text(f"Whether calibration and evaluation overlap is not known: {error}", style="yellow"))
        findings = check(Evidence(**rows), run_id=self.run_id, at=datetime.now(UTC), overlap=overlap)
        recorder.add(findings)
        return findings

    def _opening(self) -> list[Any]:
        """The facts that hold for the whole run."""
        from pipeline.sweep.recorder import dataset_records, metric_records

        config = {**self.config.model_dump(mode="json"), "dataset_key": self.plan.facts.data_fingerprint}
        return [
            Run(
                run_id=self.run_id, recipe=self.plan.recipe.name, config=config, versions=environment.versions(),
                host=environment.host(), git_commit=environment.git_commit(Path(__file__).parent),
                started_at=datetime.now(UTC),
            ),
            Device(environment.device_id(), environment.device()),
            *metric_records(),
            *(dataset_records(self.data, self.config.dataset or {}) if self.data.fingerprint not in self.store.ingested() else ()),
        ]  # fmt: skip

    def _workplace(self) -> Workplace:
        limits = self.config.limits
        scratch = self.workspace / "scratch"
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
        )

    def _executor(self, workplace: Workplace) -> Executor:
        if self.config.executor.executor == "inprocess":
            from pipeline.engine.executors.inprocess import InProcess

            return InProcess(workplace)
        from pipeline.engine.executors.local import LocalPool

        return LocalPool(workplace, workers=self.config.executor.workers)
