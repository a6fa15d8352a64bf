"""The measuring session at the end of a sweep: which models lack figures, and what the session adds to the store."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ops.core.operation import Format
from pipeline.core.artifacts import ArtifactStore, DamagedArtifactError
from pipeline.core.environment import device_id
from pipeline.core.keys import Key, evidence_key
from pipeline.engine.jobs import Failed, Job
from pipeline.engine.stage import NoParameters, Planning
from pipeline.measure.metrics.compute import failure_message
from pipeline.measure.timing.inputs import write_inputs
from pipeline.measure.timing.preset import Preset
from pipeline.measure.timing.records import FailedMetrics, records_of
from pipeline.measure.timing.results import Candidate, Case, SessionResult
from pipeline.measure.timing.session import run_session
from pipeline.models.storage import ONNX_FILE
from pipeline.plan.steps import Plan, Step
from pipeline.stages.predict import PREDICT, RunParams
from pipeline.store.records.run_records import Ingested, Record, TimingSamples

if TYPE_CHECKING:
    from pipeline.datasets.api import Dataset

TIMING = "timing"
"""In the store's table of steps, for models that could not be timed: the session is no stage that workers run."""
TIMING_VERSION = 4
"""Of the timing protocol: a change of what its figures mean raises it, and models are timed again."""


def timing_key(
    model: Key,
    *,
    source: Key,
    target: Mapping[str, Any],
    preset: Mapping[str, Any],
    device: str,
    data: str,
    runtime: Mapping[str, str] | None = None,
) -> Key:
    """Key of a model's timings.

    Args:
        model: the model.
        source: what is run: its export, or itself.
        target: the conf/target entry.
        preset: the whole conf/bench entry.
        device: short name of the machine.
        data: fingerprint of the data set, whose instances are run.
        runtime: versions of what runs it.
    """
    return evidence_key(
        "timing",
        version=TIMING_VERSION,
        model=model,
        source=source,
        target=dict(target),
        preset=dict(preset),
        device=device,
        data=data,
        runtime=dict(runtime or {}),
    )


@dataclass(frozen=True, slots=True)
class Timed:
    """The outcome of a session."""

    records: list[Record] = field(default_factory=list)
    failures: list[tuple[Job[NoParameters], Failed]] = field(default_factory=list)
    """Models that could not be timed, as failed jobs of theirs."""


@dataclass(frozen=True)
class Timing:
    """The session of a run: models, targets, and how they are timed."""

    plan: Plan
    targets: Mapping[str, Mapping[str, Any]]
    artifacts: ArtifactStore
    preset: Preset
    plugins: tuple[str, ...] = ()

    @cached_property
    def _planning(self) -> Planning:
        return Planning(self.plan, self.targets)

    def missing(self, ingested: set[str]) -> dict[Key, list[Candidate]]:
        """Model key -> its candidates that have no figures of this preset on this machine yet."""
        missing: dict[Key, list[Candidate]] = {}
        for candidate in self.candidates():
            if self._key(candidate) not in ingested:
                missing.setdefault(Key(candidate.model_key), []).append(candidate)
        return missing

    def candidates(self) -> list[Candidate]:
        """Every model of the plan that is there and has answered, on every target that takes it: never a latency alone."""
        candidates = [self._candidate(step, target) for step in self.plan.steps for target in self.targets]
        return [candidate for candidate in candidates if candidate is not None]

    def run(
        self, ingested: set[str], data: Dataset, *, run_id: str, progress: Callable[[int, int, str], None]
    ) -> Timed:
        """Measure what lacks figures; nothing comes of it if nothing does.

        Args:
            ingested: keys of timings that the store has.
            data: gives the inputs.
            run_id: the run that measures.
            progress: called with (done, total, text).
        """
        missing = self.missing(ingested)
        if not missing:
            return Timed()
        sound, damaged = self._sound(self.candidates())
        with self.artifacts.scratch_folder() as folder:
            result = run_session(
                sound,
                targets=self.targets,
                inputs=write_inputs(data, folder, samples=self.preset.samples),
                preset=self.preset,
                folder=folder,
                selection=set(missing),
                plugins=self.plugins,
                progress=progress,
            )
        failed_metrics: FailedMetrics = {}
        records = records_of(result, device=device_id(), run_id=run_id, failed=failed_metrics)
        failures = self._failures(result, failed_metrics)
        failed = {(job.model, job.target) for job, _ in failures}
        done = [
            Ingested(self._key(candidate))
            for candidates in missing.values()
            for candidate in candidates
            if candidate in sound and (candidate.model_key, candidate.target) not in failed
        ]
        return Timed([*records, *done], [*damaged, *failures])

    def _sound(self, candidates: list[Candidate]) -> tuple[list[Candidate], list[tuple[Job[NoParameters], Failed]]]:
        """Those whose files are what was written, and a failed job for each of the others: no figure is taken of it."""
        steps = self._planning.steps
        sound, damaged = list[Candidate](), list[tuple[Job[NoParameters], Failed]]()
        for candidate in candidates:
            step = steps[Key(candidate.model_key)]
            try:
                self.artifacts.folder(self._run(candidate).params.source)
                sound.append(candidate)
            except DamagedArtifactError as error:
                key, target = self._key(candidate), candidate.target
                job = _job(key, step, target)
                damaged.append((job, Failed(key, None, str(error))))
        return sound, damaged

    def _candidate(self, step: Step, target: str) -> Candidate | None:
        source = self._source(step, target)
        if source is None:
            return None
        return Candidate(step.key, step.root, step.parent, target, source)

    def _source(self, step: Step, target: str) -> Path | None:
        """What a target opens, if it takes the model, and the model and its predictions are there."""
        predict = PREDICT.job(step, target, self._planning)
        if predict is None or not all(key in self.artifacts for key in (predict.key, *predict.needs)):
            return None
        # where it will be: `_sound` brings it here before it is timed, and says if it is damaged
        folder = self.artifacts.path(predict.params.source).resolve()
        return folder / ONNX_FILE if self.plan.facts.accepts[target] is Format.ONNX else folder

    def _failures(self, result: SessionResult, failed_metrics: FailedMetrics) -> list[tuple[Job[NoParameters], Failed]]:
        """One per model and target: conditions that failed, each with its error where they differ, and failed metrics.

        Models with a failed metric are timed again next time: the session is no artifact that it could be computed from.
        """
        errors: dict[tuple[str, str], dict[str, Case]] = {}
        for failure in result.failures:
            errors.setdefault((failure.case.model_key, failure.case.target), {})[failure.error] = failure.case
        steps = self._planning.steps
        keys = {(candidate.model_key, candidate.target): self._key(candidate) for candidate in self.candidates()}
        failures = []
        for model, target in dict.fromkeys((*errors, *failed_metrics)):
            own = errors.get((model, target), {})
            texts = [error if len(own) == 1 else f"{_condition(case)}: {error}" for error, case in own.items()]
            if problems := failed_metrics.get((model, target)):
                texts.append(failure_message(problems))
            job = _job(keys[model, target], steps[Key(model)], target)
            failures.append((job, Failed(job.key, None, "; ".join(texts))))
        return failures

    def _run(self, candidate: Candidate) -> Job[RunParams]:
        """The job that has made the candidate's predictions."""
        predict = PREDICT.job(self._planning.steps[Key(candidate.model_key)], candidate.target, self._planning)
        assert predict is not None, "a candidate has answered"
        return predict

    def _key(self, candidate: Candidate) -> Key:
        return timing_key(
            Key(candidate.model_key),
            source=self._run(candidate).params.source,
            target=self.targets[candidate.target],
            preset=self.preset.model_dump(mode="json"),
            device=device_id(),
            data=self.plan.facts.data_fingerprint,
            runtime=self.plan.facts.runtimes.get(candidate.target),
        )


def _job(key: Key, step: Step, target: str) -> Job[NoParameters]:
    return Job(key, TIMING, step.path, step.key, (step.key,), NoParameters(), target)


def _condition(case: Case) -> str:
    return f"{case.scenario}, batch {case.batch}, {case.threads} thread(s)"


def lengths_note(records: Sequence[Record]) -> list[str]:
    """Of how many tokens the texts were that latencies are of: a sentence, or none of data without tokens."""
    timed = [record for record in records if isinstance(record, TimingSamples) and record.batch_size == 1]
    lengths = sorted({float(tokens) for record in timed if (tokens := record.conditions["runtime"].get("tokens"))})
    if not lengths:
        return []
    between = f"{lengths[0]:g}" if lengths[0] == lengths[-1] else f"{lengths[0]:g} to {lengths[-1]:g}, by model,"
    return [f"Latencies are of single texts of {between} tokens on average, as they are in the evaluation split"]
