"""Measure what candidates do to layers, one by one; and what a choice of them does, against what was predicted."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ops.core.errors import OperationError
from ops.core.operation import OPERATIONS, Format, OnnxModel, TorchModel, Uses
from pipeline.core.environment import device_id
from pipeline.core.keys import Key
from pipeline.core.machine.libraries import EXPORTER, releases
from pipeline.core.user_code import code_of
from pipeline.engine.jobs import Job
from pipeline.engine.stage import Planning, Recording, Stage, register
from pipeline.layers.records_file import load_records, save_records
from pipeline.models import storage
from pipeline.plan.allocation import AllocatedStep
from pipeline.plan.candidates import LayerCandidate, SensitivityRequest
from pipeline.plan.steps import Facts, Step
from pipeline.stages.operation import UNSEEDED, settle
from pipeline.stages.operation_context import WorkerContext
from pipeline.store.records.run_records import Allocation, Sensitivity, SensitivityTime
from pipeline.targets.api import Profiler
from pipeline.targets.open import open_target

if TYPE_CHECKING:
    import numpy as np

    from ops.core.operation import Batch
    from pipeline.engine.worker import Worker
    from pipeline.measure.sensitivity.survey import Survey
    from pipeline.measure.sensitivity.times import Profile

_BATCH = 64
_FILE = "sensitivity.jsonl"
_SAMPLE = 3
"""Layers of which the whole model is timed with the candidate on them alone."""


@dataclass(frozen=True, slots=True)
class CandidateParams:
    """A candidate for the layers of a model."""

    source: Key
    """The model, or its export."""
    op: str
    label: str
    params: Mapping[str, Any]
    strengths: tuple[str, ...]
    samples: int
    exact: int | None
    seed: int
    code: str | None
    """Digest of the code of a person's own operation."""

    @property
    def candidate(self) -> LayerCandidate:
        """The candidate as the plan knows it."""
        return LayerCandidate(self.op, self.label, self.params, self.strengths)


def _params(request: SensitivityRequest, candidate: LayerCandidate, step: Step, planning: Planning) -> CandidateParams:
    facts, spec = planning.plan.facts, candidate.spec
    is_export = not candidate.on_network and step.format is Format.TORCH
    return CandidateParams(
        source=facts.export_key(step.key) if is_export else step.key,
        op=candidate.op,
        label=candidate.label,
        params=dict(candidate.params),
        strengths=candidate.strengths,
        samples=request.samples,
        exact=request.exact,
        seed=step.seed if Uses.SEED in spec.uses_with(candidate.params) else UNSEEDED,
        code=facts.code.get(candidate.op),
    )


def _identity(params: CandidateParams, facts: Facts) -> dict[str, Any]:
    """Everything that a candidate's evidence depends on."""
    spec = OPERATIONS[params.op]
    return {
        "source": params.source,
        "op": params.op,
        "label": params.label,
        "op_version": spec.version,
        "params": dict(params.params),
        "strengths": list(params.strengths),
        "samples": params.samples,
        "seed": params.seed,
        "op_code": params.code or "",
        "data": facts.data_fingerprint,
        "libraries": releases(spec.libraries, facts.libraries),
    }


class SensitivityStage(Stage[CandidateParams]):
    """The damage and the savings of every candidate, layer by layer."""

    name, version, params = "sensitivity", 2, CandidateParams
    needs = ("operation", "export")

    def jobs(self, planning: Planning) -> Iterator[Job[CandidateParams]]:
        """One job per model and candidate."""
        for request in planning.sensitivity:
            step = planning.steps[request.model]
            for candidate in request.candidates:
                params = _params(request, candidate, step, planning)
                # what a file answers depends on the kernels of the machine
                place = {} if candidate.on_network else {"device": planning.plan.facts.device}
                key = self.key(step.key, exact=request.exact, **_identity(params, planning.plan.facts), **place)
                yield Job(key, self.name, step.path, step.key, (params.source,), params)

    def make(self, worker: Worker, job: Job[CandidateParams], folder: Path, scratch: Path) -> dict[str, Any]:
        """Write a record of every layer."""
        survey, context = _survey(worker, job, scratch)
        save_records(survey.records(context), folder / _FILE)
        return {"candidate": job.params.label}

    def records(self, job: Job[CandidateParams], recording: Recording) -> list[Sensitivity]:
        """Every layer."""
        return self.read(recording.artifacts.folder(job.key))

    def read(self, folder: Path) -> list[Sensitivity]:
        """Return what an artifact holds."""
        return load_records(Sensitivity, folder / _FILE)


class SensitivityTimesStage(Stage[CandidateParams]):
    """The time that every candidate saves, layer by layer, on the targets that can tell it."""

    name, version, params = "sensitivity_times", 1, CandidateParams
    needs = ("operation", "export")

    def jobs(self, planning: Planning) -> Iterator[Job[CandidateParams]]:
        """One job per model, candidate and target."""
        facts = planning.plan.facts
        for request in planning.sensitivity:
            step = planning.steps[request.model]
            file = facts.export_key(step.key) if step.format is Format.TORCH else step.key
            for target in request.targets:
                for candidate in request.candidates:
                    params = _params(request, candidate, step, planning)
                    identity = _identity(params, facts)
                    identity["libraries"] |= releases(EXPORTER, facts.libraries)
                    place = planning.place(target)
                    key = self.key(step.key, target=dict(planning.targets[target]), **identity, **place)
                    needs = tuple(dict.fromkeys((params.source, file)))
                    yield Job(key, self.name, step.path, step.key, needs, params, target)

    def make(self, worker: Worker, job: Job[CandidateParams], folder: Path, scratch: Path) -> dict[str, Any]:
        """Profile the model, the model with the candidate everywhere, and with it on a few layers alone."""
        from pipeline.measure.sensitivity.times import mean_saving

        survey, _ = _survey(worker, job, scratch)
        target = open_target(worker.workplace.targets[job.target])
        assert isinstance(target, Profiler)  # planned for no other
        records: list[SensitivityTime] = []
        if not _has_same_shapes(survey):
            base = worker.artifacts.folder(job.needs[-1]) / storage.ONNX_FILE
            sample = survey.groups[:: max(1, len(survey.groups) // _SAMPLE)][:_SAMPLE]
            files = [base, _file(survey.uniform[0], scratch / "uniform.onnx")]
            files += [_file(survey.alone(group), scratch / f"{place}.onnx") for place, group in enumerate(sample)]
            before, uniform, *alone = _profiles(worker, target, files, scratch)
            whole = {group[0]: mean_saving(before, after) for group, after in zip(sample, alone, strict=True)}
            records = list(_time_records(job, survey.groups, (before, uniform), whole))
        save_records(records, folder / _FILE)
        return {"candidate": job.params.label, "target": target.describe()}

    def records(self, job: Job[CandidateParams], recording: Recording) -> list[SensitivityTime]:
        """Every layer."""
        return self.read(recording.artifacts.folder(job.key))

    def read(self, folder: Path) -> list[SensitivityTime]:
        """Return what an artifact holds: nothing of a candidate that leaves all kernels and shapes as they are."""
        return load_records(SensitivityTime, folder / _FILE)


def _survey(worker: Worker, job: Job[CandidateParams], scratch: Path) -> tuple[Survey, WorkerContext]:
    """Open the model and the calibration instances."""
    from ops.calibration.batches import calibration_batches
    from pipeline.measure.sensitivity.damage import check_task
    from pipeline.measure.sensitivity.survey import Survey

    params, spec = job.params, OPERATIONS[job.params.op]
    if params.code != code_of(str(spec.apply.__module__)):
        raise OperationError(f"{spec.name}: its code has changed since the run was planned; run again")
    settle(params.seed, worker.workplace.threads)
    model = storage.load(worker.artifacts.folder(params.source))
    check_task(model.architecture.task)
    own = _context(worker, scratch, params.seed, frozenset(Uses))
    batches: list[Batch] = list(calibration_batches(own, samples=params.samples, batch_size=_BATCH))

    def apply(values: Mapping[str, Any]) -> tuple[TorchModel | OnnxModel, Mapping[str, Any]]:
        settle(params.seed, worker.workplace.threads)  # each call draws the same numbers
        place = scratch / "candidate"
        place.mkdir(exist_ok=True)
        context = _context(worker, place, params.seed, spec.uses_with(params.params))
        return spec.apply(model, context, **values), context.notes

    return Survey(job.key, job.model, params.candidate, model, apply, batches, params.exact), own


def _context(worker: Worker, scratch: Path, seed: int, uses: frozenset[Uses]) -> WorkerContext:
    def build(entry: Mapping[str, Any], pretrained: bool) -> TorchModel | OnnxModel:
        raise OperationError(f"A candidate builds no model ({entry.get('name')})")

    return WorkerContext(
        seed=seed, scratch=scratch, dataset=lambda: worker.dataset, build=build, references={}, uses=uses
    )


def _has_same_shapes(survey: Survey) -> bool:
    """Whether the candidate changes values alone: kernels and shapes, and so times, stay what they are."""
    changed = survey.uniform[0]
    return (
        isinstance(changed, TorchModel) and isinstance(survey.model, TorchModel) and changed.edits == survey.model.edits
    )


def _file(model: TorchModel | OnnxModel, path: Path) -> Path:
    """The model as a file of its own: the next candidate's takes the place of an operation's result."""
    from pipeline.models.onnx_export import export_onnx

    if isinstance(model, TorchModel):
        export_onnx(model, path)
    else:
        model.path.rename(path)
    return path


def _profiles(worker: Worker, target: Profiler, files: Sequence[Path], scratch: Path) -> list[list[Profile]]:
    from pipeline.measure.sensitivity.times import profiles

    batch = next(iter(worker.dataset.batches("calibration", batch_size=1, samples=1)))
    inputs: dict[str, np.ndarray] = {name: array[:1] for name, array in batch.inputs.items()}
    return profiles(files, target, inputs, scratch, device=device_id())


def _time_records(
    job: Job[CandidateParams],
    groups: Sequence[tuple[str, ...]],
    pair: tuple[Sequence[Profile], Sequence[Profile]],
    whole: Mapping[str, tuple[float, float]],
) -> Iterator[SensitivityTime]:
    """Yield a record of each group of layers, and one of all else, so that they add up to the model."""
    from pipeline.measure.sensitivity.times import ROUNDS, mean_saving, rest_of, total_seconds

    before, after = pair
    members = [name for group in groups for name in group]
    rows: list[tuple[str, Sequence[Profile], Sequence[Profile], Sequence[str] | None]] = [
        (group[0], before, after, group) for group in groups
    ]
    rows.append(("", rest_of(before, members), rest_of(after, members), None))
    for layer, own_before, own_after, names in rows:
        saved, error = mean_saving(own_before, own_after, names)
        whole_seconds, whole_error = whole.get(layer, (None, None))
        yield SensitivityTime(
            evidence_key=job.key,
            model_key=job.model,
            candidate=job.params.label,
            layer=layer,
            target=job.target,
            device=device_id(),
            before_seconds=total_seconds(own_before, names),
            saved_seconds=saved,
            saved_se=error,
            whole_seconds=whole_seconds,
            whole_se=whole_error,
            rounds=ROUNDS,
        )


@dataclass(frozen=True, slots=True)
class AllocationParams:
    """A model whose strengths by layer were found, and its parent."""

    step: AllocatedStep
    parent: Key
    files: tuple[Key, Key] | None
    """What a target opens of the parent and of the model, where times were predicted."""


class AllocationStage(Stage[AllocationParams]):
    """What an allocated model lost and costs, beside what was predicted of it."""

    name, version, params = "allocation", 2, AllocationParams
    needs = ("operation", "export")

    def jobs(self, planning: Planning) -> Iterator[Job[AllocationParams]]:
        """One job per allocated step."""
        plan = planning.plan
        by_path = {step.path: step for step in plan.steps}
        by_path |= {path: planning.steps[key] for path, key in plan.aliases.items()}
        for allocated in planning.allocations:
            step, parent = by_path[allocated.path], by_path[allocated.parent]
            pair = tuple(planning.exports.get(each.key, each.key) for each in (parent, step))
            files = (pair[0], pair[1]) if allocated.target else None
            identity: dict[str, Any] = {
                "parent": parent.key,
                "request": dict(allocated.request),
                "choices": dict(allocated.choices),
                "predicted": [allocated.predicted_damage, allocated.predicted_error, dict(allocated.predicted)],
                "data": plan.facts.data_fingerprint,
                "machine": plan.facts.device,
            }
            needs = tuple(dict.fromkeys((step.key, parent.key, *(files or ()))))
            params = AllocationParams(allocated, parent.key, files)
            yield Job(
                self.key(step.key, **identity), self.name, step.path, step.key, needs, params, allocated.target or ""
            )

    def make(self, worker: Worker, job: Job[AllocationParams], folder: Path, scratch: Path) -> dict[str, Any]:
        """Measure the model as its layers were measured."""
        from ops.calibration.batches import calibration_batches
        from pipeline.measure.sensitivity.damage import damage_of, run_model
        from pipeline.measure.sensitivity.survey import costs_of

        params, step = job.params, job.params.step
        settle(UNSEEDED, worker.workplace.threads)
        context = _context(worker, scratch, UNSEEDED, frozenset(Uses))
        batches = list(calibration_batches(context, samples=step.samples, batch_size=_BATCH))
        model, parent = (storage.load(worker.artifacts.folder(key)) for key in (job.model, params.parent))
        damage = damage_of(run_model(model, batches), run_model(parent, batches))
        measured = costs_of(model, work="macs" in step.predicted)
        if params.files is not None:
            target = open_target(worker.workplace.targets[job.target])
            assert isinstance(target, Profiler)  # planned for no other
            files = [worker.artifacts.folder(key) / storage.ONNX_FILE for key in params.files]
            before, after = _profiles(worker, target, files, scratch)
            from pipeline.measure.sensitivity.times import mean_saving

            # the parent's time may be another by now: what is saved is paired, and taken off what was predicted with
            measured["seconds"] = step.before["seconds"] - mean_saving(before, after)[0]
        record = Allocation(
            model_key=job.model,
            parent_key=params.parent,
            request=dict(step.request),
            choices=dict(step.choices),
            damage=step.damage,
            predicted_damage=step.predicted_damage,
            predicted_se=step.predicted_error,
            measured_damage=getattr(damage, step.damage),
            measured_se=getattr(damage, f"{step.damage}_se"),
            predicted=dict(step.predicted),
            measured=measured,
            before=dict(step.before),
        )
        save_records([record], folder / _FILE)
        return {"choices": dict(step.choices)}

    def records(self, job: Job[AllocationParams], recording: Recording) -> list[Allocation]:
        """The prediction and what came out."""
        return self.read(recording.artifacts.folder(job.key))

    def read(self, folder: Path) -> list[Allocation]:
        """Return what an artifact holds."""
        return load_records(Allocation, folder / _FILE)


SENSITIVITY = register(SensitivityStage())
SENSITIVITY_TIMES = register(SensitivityTimesStage())
ALLOCATION = register(AllocationStage())
