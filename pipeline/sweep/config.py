"""A run's configuration as checked data. It comes composed from the command line; nothing here knows Hydra."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from ops.core.registry import nearest
from ops.core.text import cut, show
from pipeline.core.errors import BouillonError
from pipeline.core.machine.cpu_quota import cores
from pipeline.core.sharing.shared_artifacts import SharedPlace
from pipeline.engine.jobs import Resources
from pipeline.plan.allocation import SAMPLES

_GIGA = 1_000_000_000
_LONGEST = 200
"""Characters of each part of a message."""
_NUMBERS = (
    "executor.workers",
    "executor.threads",
    "limits.seconds",
    "limits.memory_gb",
    "artifacts.cache_gb",
    "artifacts.patience",
)


class ConfigError(BouillonError, ValueError):
    """The configuration is wrong: the message names the key, the problem and the nearest fix."""


class LimitsConfig(BaseModel):
    """Limits of one job."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    seconds: float | None = Field(default=21600, gt=0)
    memory_gb: float | None = Field(default=None, gt=0)


class ResourcesConfig(BaseModel):
    """What jobs of one kind, or of one operation, take of a node."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    cpus: float | None = Field(default=None, gt=0)
    gpus: float = Field(default=0, ge=0)
    memory_gb: float | None = Field(default=None, gt=0)
    alone: bool = False


class ExecutorConfig(BaseModel):
    """The executor: where jobs run."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    executor: Literal["local", "inprocess", "ray"] = "local"
    workers: int = Field(default=1, ge=1, le=256)
    threads: int | None = Field(default=None, ge=1)
    resources: dict[str, ResourcesConfig] = Field(default_factory=dict)
    address: str = "auto"
    folder: str | None = None
    lost: int = Field(default=3, ge=0)
    wait_for_node: float = Field(default=300, ge=0)

    def cluster(self) -> dict[str, Any]:
        """Options of the executor `ray`."""
        return {name: getattr(self, name) for name in ("address", "folder", "lost", "wait_for_node")}

    def resources_of(self, stage: str, operation: str | None, own: Resources) -> Resources:
        """What a job takes: as asked for its operation, else for its kind, else `own` with a processor for each thread."""
        needs = self.resources.get(operation or "") or self.resources.get(stage)
        threads = float(self.inner_threads()) if self.executor == "ray" else own.cpus
        if needs is None:
            return replace(own, cpus=threads)
        memory = int(needs.memory_gb * _GIGA) if needs.memory_gb else None
        return Resources(needs.cpus or threads, needs.gpus, memory, own.device, needs.alone)

    def inner_threads(self) -> int:
        """Threads of one worker: as asked, or the cores divided by the workers."""
        if self.executor == "ray":  # nodes have processors of their own number
            return self.threads or 1
        return self.threads or max(1, cores() // self.workers)

    def threads_alone(self) -> int:
        """Threads of a job that no other can run beside: those of all workers, as far as there are cores for them."""
        threads = self.inner_threads()
        if self.executor == "ray":
            return threads
        return max(threads, min(threads * self.workers, cores()))


class SensitivityConfig(BaseModel):
    """The model whose layers are measured in the place of a run of the whole recipe."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    at: str
    candidates: dict[str, Any] | None = None
    samples: int = Field(default=SAMPLES, ge=1)
    exact: int | None = Field(default=None, ge=1)
    times: bool = False


class ArtifactsConfig(BaseModel):
    """The object store behind the workspace, if there is one."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    url: str | None = None
    upload: bool = True
    cache_gb: float | None = Field(default=None, gt=0)
    patience: float = Field(default=600, ge=0)

    def place(self, *, leads: bool) -> SharedPlace | None:
        """Return the object store; None if there is none.

        `leads`: whether what is there counts, since jobs run where nothing but it is shared.
        """
        if self.url is None:
            return None
        room = int(self.cache_gb * _GIGA) if self.cache_gb else None
        return SharedPlace(self.url, upload=self.upload, leads=leads, cache_bytes=room, patience=self.patience)


class Config(BaseModel):
    """Everything a run needs; `recipe` is parsed apart."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    recipe: dict[str, Any]
    model: dict[str, Any] | None = None
    dataset: dict[str, Any] | None = None
    executor: ExecutorConfig = ExecutorConfig()
    bench: dict[str, Any] | None = None
    results: Path = Path("results.duckdb")
    workspace: Path = Path(".bouillon")
    artifacts: ArtifactsConfig = ArtifactsConfig()
    data_folder: Path = Path("~/.cache/bouillon/data")
    plugins: tuple[str, ...] = ()
    limits: LimitsConfig = LimitsConfig()
    batch_size: int = Field(default=256, ge=1)
    plan_only: bool = False
    explain: str | None = None
    force: str | tuple[str, ...] | None = None
    sensitivity: SensitivityConfig | None = None

    def shared_place(self) -> SharedPlace | None:
        """The object store behind the workspace; None if there is none. It leads where jobs run on other machines."""
        return self.artifacts.place(leads=self.executor.executor == "ray")

    def forced(self) -> tuple[str, ...]:
        """Paths of the steps to run again."""
        if self.force is None:
            return ()
        return (self.force,) if isinstance(self.force, str) else self.force


def check_config(raw: Mapping[str, Any]) -> Config:
    """Check a composed configuration.

    Raises:
        ConfigError: listing each wrong key with its problem.
    """
    try:
        config = Config.model_validate(dict(raw))
    except ValidationError as error:
        raise ConfigError("\n".join(dict.fromkeys(_explain(problem, raw) for problem in error.errors()))) from None
    place = config.shared_place()
    if place is not None and place.leads and not place.upload:
        raise ConfigError(
            "config: artifacts.upload: false does not go with executor=ray, whose nodes give each other results by the object "
            "store. Leave it out, or name an object store of your own by artifacts.url"
        )
    return config


_WORDS = {
    "force": "expected the path of a step, or a list of paths",
    "plugins": "expected a list of modules, e.g. plugins=[mine]",
    "results": "expected the path of a file",
    "workspace": "expected the path of a folder",
    "data_folder": "expected the path of a folder",
    "artifacts": "expected a mapping, e.g. artifacts.url=s3://bucket/team",
    "limits": "expected a mapping, e.g. limits.seconds=60",
    "sensitivity": "expected a mapping, e.g. sensitivity.at=base",
    "executor": "expected a mapping, e.g. executor.workers=2",
}
"""What is said of a value of another type, where pydantic's own words name types of Python."""


def _explain(problem: Mapping[str, Any], raw: Mapping[str, Any]) -> str:
    first = str(problem["loc"][0])
    where = cut(".".join(map(str, problem["loc"])), _LONGEST)
    if problem["type"] == "extra_forbidden":
        keys = ", ".join(Config.model_fields)
        return f"config: unknown key '{where}'.{nearest(where, Config.model_fields)} Known: {keys}"
    if first in _WORDS and problem["type"].endswith(("_type", "path_type")) and where not in _NUMBERS:
        return f"config: {first}: {_WORDS[first]} (got {show(raw[first])})"
    return f"config: {where}: {cut(problem['msg'], _LONGEST)} (got {show(problem['input'])})"
