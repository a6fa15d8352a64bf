"""Jobs and their outcomes: plain data that crosses process boundaries, so that any process or machine can run them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

from pipeline.core.keys import Key
from pipeline.core.sharing.shared_artifacts import SharedPlace

P = TypeVar("P")


@dataclass(frozen=True, slots=True)
class Resources:
    """What a job takes of the node that runs it."""

    cpus: float = 1.0
    gpus: float = 0.0
    memory_bytes: int | None = None
    """None: not reckoned with."""
    device: str = ""
    """Short name of the machine whose figures the job takes (`pipeline.core.environment.device_id`); empty: any will do."""
    alone: bool = False
    """Whether no other job may run beside it on its node."""


@dataclass(frozen=True, slots=True)
class ClusterNode:
    """A machine that runs jobs."""

    name: str
    device: str
    """Short name of the kind of machine."""
    cpus: float
    gpus: float = 0.0
    memory_bytes: int | None = None


@dataclass(frozen=True, slots=True)
class Job(Generic[P]):
    """One artifact to make."""

    key: Key
    stage: str
    """Name of the stage that makes it: see `pipeline.engine.stage`."""
    path: str
    """Path of the model's step in the recipe, for people."""
    model: Key
    needs: tuple[Key, ...]
    """Artifacts that must exist before this one is made."""
    params: P
    """Parameters of its stage beyond the keys: plain data."""
    target: str = ""
    """The conf/target entry that it uses; empty if it uses none."""
    force: bool = False
    """Make the artifact although it is there; the new one takes its place when it is whole."""
    resources: Resources = Resources()

    @property
    def makes_model(self) -> bool:
        """Whether the artifact is the model itself; the others are observed of it."""
        return self.key == self.model


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds of one job; None: no limit."""

    seconds: float | None = None
    memory_bytes: int | None = None


@dataclass(frozen=True, slots=True)
class Workplace:
    """The surroundings that all jobs of a run share. Sent once to every worker."""

    artifacts: Path
    scratch: Path
    data_folder: Path
    dataset: Mapping[str, Any]
    """The conf/dataset entry."""
    targets: Mapping[str, Mapping[str, Any]]
    """conf/target entries by name."""
    plugins: tuple[str, ...] = ()
    threads: int = 1
    """Inner threads of one worker."""
    threads_alone: int = 1
    """Inner threads of a job that no other can run beside."""
    batch_size: int = 256
    """Instances per batch when predictions are made."""
    limits: Limits = Limits()
    data_fingerprint: str | None = None
    """Of the data that the run was planned with; None: not known."""
    shared: SharedPlace | None = None
    """The object store behind the artifacts; None: there is none."""


@dataclass(frozen=True, slots=True)
class Done:
    """The artifact is there. `cached`: it was there before."""

    key: Key
    seconds: float = 0.0
    cpu_seconds: float = 0.0
    peak_bytes: int | None = None
    cached: bool = False


@dataclass(frozen=True, slots=True)
class Failed:
    """The job did not give its artifact; nothing of it is kept but this record."""

    key: Key
    seconds: float | None
    """None where it is not known."""
    error: str
    traceback: str = ""
    halts: bool = False
    """Whether it is the surroundings that failed, not the job: no other job would fare better, and the run stops."""


@dataclass(frozen=True, slots=True)
class Skipped:
    """Not tried, because something that it needs failed."""

    key: Key
    because: str
    """Path and kind of the job that failed."""


Outcome = Done | Failed | Skipped


def state_of(outcome: Outcome | None) -> str:
    """`running`, `cached`, `done`, `failed` or `skipped`."""
    if outcome is None:
        return "running"
    if isinstance(outcome, Done):
        return "cached" if outcome.cached else "done"
    return "failed" if isinstance(outcome, Failed) else "skipped"
