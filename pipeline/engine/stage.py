"""Stages: each makes one kind of artifact of every model, and says which records the store gets of it.

A stage is one file. It derives from `Stage` and registers itself; the schedule, the workers and the recorder know it by
its name alone:

    @register
    class ZerosStage(Stage[NoParameters]):
        name, version, params = "zeros", 1, NoParameters

        def jobs(self, planning):
            for step in planning.plan.steps:
                yield Job(self.key(step.key), self.name, step.path, step.key, (step.key,), NoParameters())

        def make(self, worker, job, folder, scratch):
            ...  # writes files to `folder`, and returns the rest of the manifest

        def records(self, job, recording):
            ...  # reads them, and yields records of the store

A person's own stage is such a file, listed under `plugins:`. Libraries that take long to import are imported in `make`:
planning imports every stage.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from graphlib import CycleError, TopologicalSorter
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Generic, TypeVar

from ops.core.operation import Format
from ops.core.registry import Registry, nearest
from pipeline.core.artifacts import ArtifactStore
from pipeline.core.errors import BouillonError
from pipeline.core.keys import Key, evidence_key
from pipeline.core.user_code import code_of_definition
from pipeline.engine.jobs import Job
from pipeline.plan.allocation import AllocatedStep
from pipeline.plan.candidates import SensitivityRequest
from pipeline.plan.steps import Plan, Step

if TYPE_CHECKING:
    from pipeline.engine.worker import Worker

P = TypeVar("P")


class StageError(BouillonError, ValueError):
    """A stage of the user's gives jobs that cannot be run."""


@dataclass(frozen=True, slots=True)
class NoParameters:
    """Parameters of a stage whose jobs need to know nothing but their keys."""


@dataclass(frozen=True)
class Planning:
    """Everything that a stage may read when it says which jobs a plan needs."""

    plan: Plan
    targets: Mapping[str, Mapping[str, Any]]
    """conf/target entries of the recipe's targets, by name."""
    metrics: tuple[str, ...] = ()
    """`pipeline.measure.metrics.compute.identities`: the registered metrics."""
    device: str = ""
    """Short name of the machine that times models."""
    ingested: Collection[str] = frozenset()
    """Keys of the evidence that is in the store."""
    session_preset: Mapping[str, Any] | None = None
    """The conf/bench entry, in full, of the timing session at the end; None: there is none."""
    rough_preset: Mapping[str, Any] | None = None
    """That of the rough figures which are taken while others work; None: none are taken."""
    sensitivity: tuple[SensitivityRequest, ...] = ()
    """Models whose layers are measured, candidate by candidate."""
    allocations: tuple[AllocatedStep, ...] = ()
    """Steps whose strengths were found by `allocate`."""
    _jobs: dict[Stage[Any], tuple[Job[Any], ...]] = field(default_factory=dict, init=False, repr=False, compare=False)

    @cached_property
    def steps(self) -> Mapping[Key, Step]:
        """Steps of the plan by their key."""
        return self.plan.by_key()

    @cached_property
    def exports(self) -> Mapping[Key, Key]:
        """Torch model -> its ONNX export."""
        facts = self.plan.facts
        return {step.key: facts.export_key(step.key) for step in self.plan.steps if step.format is Format.TORCH}

    def jobs_of(self, stage: Stage[P]) -> tuple[Job[P], ...]:
        """Return the jobs of a stage. Others may ask for them too: they are made once.

        Raises:
            StageError: if the stage gives a job that its name, its parameters, the plan or the targets do not fit.
        """
        if stage not in self._jobs:
            jobs = tuple(stage.jobs(self))
            for job in jobs:
                self._check(stage, job)
            self._jobs[stage] = jobs
        return self._jobs[stage]

    def _check(self, stage: Stage[P], job: object) -> None:
        if not isinstance(job, Job):
            raise StageError(f"stage '{stage.name}': gives an object of type '{type(job).__name__}', not a job")
        if job.stage != stage.name or not isinstance(job.params, stage.params):
            raise StageError(
                f"stage '{stage.name}': gives a job of stage '{job.stage}' with {type(job.params).__name__}; its own have "
                f"{stage.params.__name__}"
            )
        if job.model not in self.steps:
            raise StageError(
                f"stage '{stage.name}': gives a job of model {str(job.model)[:12]}, which is not in the plan"
            )
        if job.target and job.target not in self.targets:
            raise StageError(
                f"stage '{stage.name}': gives a job for target '{job.target}', which the recipe does not name.{nearest(job.target, self.targets)}"
            )

    def place(self, target: str) -> dict[str, Any]:
        """Return the runtime and the machine: with others, kernels and so answers and times differ."""
        return {"runtime": dict(self.plan.facts.runtimes.get(target, {})), "device": self.plan.facts.device}


@dataclass(frozen=True)
class Recording:
    """Everything that a stage may read when it turns an artifact into records."""

    plan: Plan
    artifacts: ArtifactStore
    run_id: str

    @cached_property
    def steps(self) -> Mapping[Key, Step]:
        """Steps of the plan by their key."""
        return self.plan.by_key()


class Stage(ABC, Generic[P]):
    """A kind of artifact."""

    name: ClassVar[str]
    """In the store's table of steps, in messages, and as `job.stage`."""
    version: ClassVar[int] = 1
    """Of the artifacts: raise it, and they are made anew."""
    params: type[P]
    """Class of the jobs' parameters: plain data, so that any process or machine can run them."""
    evidence: ClassVar[str] = ""
    """Word for the artifacts in their keys; empty: the name."""
    needs: ClassVar[tuple[str, ...]] = ("operation",)
    """Names of the stages whose artifacts its jobs need: it comes after them."""
    on_device: ClassVar[bool] = False
    """Whether its figures are those of a machine: its jobs run on one of the kind that the run is planned for."""
    stored: ClassVar[bool] = True
    """Whether the store gets records of its artifacts."""

    @cached_property
    def _code(self) -> dict[str, str]:
        """The digest of the code of a person's own stage; ours have versions."""
        code = code_of_definition(type(self))
        return {} if code is None else {"code": code}

    def key(self, model: Key, **identity: Any) -> Key:
        """Return the key of an artifact of `model`.

        Args:
            model: the model that is observed.
            identity: whatever else the artifact depends on, each under a name of its own.
        """
        return evidence_key(self.evidence or self.name, version=self.version, model=model, **identity, **self._code)

    @abstractmethod
    def jobs(self, planning: Planning) -> Iterable[Job[P]]:
        """Return the jobs that a plan needs of this stage."""

    @abstractmethod
    def make(self, worker: Worker, job: Job[P], folder: Path, scratch: Path) -> dict[str, Any]:
        """Make the artifact of a job.

        Args:
            worker: gives the data set and the artifacts that the job needs.
            job: one of `jobs`.
            folder: where the artifact's files are written.
            scratch: a folder for checkpoints, which is kept while the job fails.

        Returns:
            What the manifest says beyond the job: JSON.
        """

    def records(self, job: Job[P], recording: Recording) -> Iterable[Any]:
        """Return the records of a finished artifact: of `pipeline.store.records`, or of an `own_table`."""
        return ()

    def failure(self, job: Job[P], recording: Recording) -> str | None:
        """Return the error of an artifact that is not whole: its records are kept, and it is made again next time."""
        return None


STAGES: Registry[Stage[Any]] = Registry("stage", "pipeline.stages", "pipeline.stages.evaluation_sets")
S = TypeVar("S", bound=Stage[Any])


def register(stage: S) -> S:
    """Register a stage under its name, and return it."""
    STAGES.add(stage.name, stage)
    return stage


def stages_in_order() -> list[Stage[Any]]:
    """Return every stage after those that it needs; of several that come next, by name.

    Raises:
        UnknownNameError: if a stage needs one that is not registered.
        StageError: if stages need one another.
    """
    sorter = TopologicalSorter({name: STAGES[name].needs for name in STAGES})
    try:
        sorter.prepare()
    except CycleError as error:
        raise StageError(f"stages need one another: {' -> '.join(error.args[1])}") from None
    names: list[str] = []
    while sorter.is_active():
        ready = sorted(sorter.get_ready())
        names += ready
        sorter.done(*ready)
    return [STAGES[name] for name in names]
