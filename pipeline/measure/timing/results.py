"""Input and result of a timing session: plain data, and its form on disk, as which it is an artifact."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from datetime import datetime
from enum import StrEnum
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.measure.metrics.api import Scenario

_FILE, _ARRAYS = "session.json", "samples.npz"
_PER_RUN = ("wall_ns", "cpu_ns", "round", "kept")


@dataclass(frozen=True, slots=True)
class Candidate:
    """A model that may be measured, or that others are compared with."""

    model_key: str
    base_key: str
    """The root of its tree; its own key for a root."""
    parent_key: str | None
    target: str
    """Name of the conf/target entry."""
    path: Path
    """ONNX file or torch artifact folder, as the target takes it."""


class Role(StrEnum):
    """The reason why a process took part."""

    MODEL = "model"
    REFERENCE = "reference"
    """A parent or base, measured again beside the models that are compared with it."""
    TWIN = "twin"
    """The base once more: what twins differ by is noise."""


@dataclass(frozen=True, slots=True)
class Case:
    """The case of a timing: a model on a target under a condition."""

    model_key: str
    target: str
    scenario: Scenario
    batch: int
    threads: int


@dataclass(frozen=True, slots=True)
class ProcessSamples:
    """Every timed run of one process. Arrays have one element per run, in order."""

    case: Case
    role: Role
    group: int
    """Processes of one group were alive together and ran in turn."""
    launch: int
    process: int
    """Number within the group and launch."""
    wall_ns: np.ndarray
    cpu_ns: np.ndarray
    round: np.ndarray
    """In which round of the group: figures of two models are compared round by round."""
    kept: np.ndarray
    """False for runs of contended bursts, where enough others are left."""
    load_seconds: float
    first_run_seconds: float
    warmup_runs: int
    warmup_seconds: float
    warmed_up: bool
    valid: bool
    """False: outputs were NaN or infinite; the figure is of no use."""
    contended: bool
    foreign_cores: float
    """Cores that others kept busy meanwhile, on average."""
    drift: float
    """Relative change of the base's CPU time over the group's rounds."""
    drifted: bool
    peak_bytes: int | None
    joules: float | None
    runtime: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Failure:
    """A model that could not be measured."""

    case: Case
    error: str


class Verdict(StrEnum):
    """What an interval of a speed-up says."""

    FASTER = "faster"
    SLOWER = "slower"
    SAME = "no difference"
    """The interval holds 1."""
    UNKNOWN = "unknown"
    """Too few rounds in common for an interval."""


@dataclass(frozen=True, slots=True)
class SpeedupEstimate:
    """How many times faster a model is than another (below 1: slower), with its 95 % interval."""

    case: Case
    against_key: str
    relation: str
    """`base`, `parent`, or `itself` for the base against a twin."""
    clock: str
    """`cpu` or `wall`: the time that was compared."""
    ratio: float
    low: float | None
    high: float | None
    verdict: Verdict
    rounds: int
    """Rounds that both took part in."""
    noise: float
    """Standard deviation of what equal processes differ by, relative; it is part of the interval."""
    contended: bool
    """Too much of one of the two was contended. A drift of the whole machine cancels: both were timed in each round."""
    process: int = 0
    """Number of the model's process in its group: tells twins apart."""


@dataclass(frozen=True, slots=True)
class SessionResult:
    """Everything that one session measured."""

    session: str
    preset: Mapping[str, Any]
    started_at: datetime
    finished_at: datetime
    samples: tuple[ProcessSamples, ...]
    failures: tuple[Failure, ...] = ()
    comparisons: tuple[SpeedupEstimate, ...] = field(default=())


def save_session(result: SessionResult, folder: Path) -> None:
    """Write session.json and samples.npz (no pickle)."""
    raw = _plain(result)
    arrays = {}
    for number, samples in enumerate(result.samples):
        for name in _PER_RUN:
            del raw["samples"][number][name]
            arrays[f"{number}.{name}"] = getattr(samples, name)
    np.savez(folder / _ARRAYS, allow_pickle=False, **arrays)
    (folder / _FILE).write_text(json.dumps(raw, indent=1))


def load_session(folder: Path) -> SessionResult:
    """Read what `save_session` wrote."""
    raw = json.loads((folder / _FILE).read_text())
    with np.load(folder / _ARRAYS, allow_pickle=False) as stored:
        samples = tuple(
            ProcessSamples(
                **{
                    **entry,
                    "case": _case(entry),
                    "role": Role(entry["role"]),
                    **{name: stored[f"{number}.{name}"] for name in _PER_RUN},
                }
            )
            for number, entry in enumerate(raw["samples"])
        )
    failures = tuple(Failure(_case(entry), entry["error"]) for entry in raw["failures"])
    comparisons = tuple(
        SpeedupEstimate(**{**entry, "case": _case(entry), "verdict": Verdict(entry["verdict"])})
        for entry in raw["comparisons"]
    )
    return SessionResult(
        session=raw["session"],
        preset=raw["preset"],
        started_at=datetime.fromisoformat(raw["started_at"]),
        finished_at=datetime.fromisoformat(raw["finished_at"]),
        samples=samples,
        failures=failures,
        comparisons=comparisons,
    )


def _plain(result: SessionResult) -> dict[str, Any]:
    raw = {entry.name: getattr(result, entry.name) for entry in fields(result)}
    for name in ("samples", "failures", "comparisons"):
        raw[name] = [asdict(entry) for entry in raw[name]]
    return raw | {name: raw[name].isoformat() for name in ("started_at", "finished_at")}


def _case(entry: Mapping[str, Any]) -> Case:
    return Case(**{**entry["case"], "scenario": Scenario(entry["case"]["scenario"])})
