"""How fast models are, and what is odd about them: facts of measuring sessions. Part of `records`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np


@dataclass(frozen=True, slots=True)
class TimingSamples:
    """Every single run of one measuring process: what latency figures and speed-ups were computed from."""

    evidence_key: str
    """The session."""
    preset: str
    """Name of the conf/bench entry."""
    model_key: str
    target: str
    device: str
    scenario: str
    """`single_stream` or `offline`."""
    batch_size: int
    threads: int
    role: str
    """`model`, `reference` (a parent or base beside others) or `twin` (the base against itself)."""
    group_number: int
    """Processes of one group of a session were alive together and ran in turn."""
    launch: int
    process: int
    wall_seconds: np.ndarray
    """float64 (N,)."""
    cpu_seconds: np.ndarray
    """float64 (N,)."""
    rounds: np.ndarray
    """int64 (N,): the group's round that each run belongs to."""
    kept: np.ndarray
    """bool (N,): False for runs of contended rounds that were set aside."""
    load_seconds: float
    first_run_seconds: float
    peak_bytes: int | None
    joules: float | None
    valid: bool
    """False: outputs were NaN or infinite."""
    warmed_up: bool
    contended: bool
    foreign_cores: float
    drifted: bool
    drift: float
    conditions: Mapping[str, Any]
    """The whole preset, and the runtime's versions and options."""
    measured_at: datetime


@dataclass(frozen=True, slots=True)
class TimingFailure:
    """A model that could not be timed."""

    evidence_key: str
    preset: str
    model_key: str
    target: str
    device: str
    scenario: str
    batch_size: int
    threads: int
    error: str
    measured_at: datetime


@dataclass(frozen=True, slots=True)
class Speedup:
    """How many times faster a model is than another under one condition, with its 95 % interval."""

    evidence_key: str
    model_key: str
    against_key: str
    relation: str
    """`base`, `parent`, or `itself`."""
    target: str
    device: str
    scenario: str
    batch_size: int
    threads: int
    clock: str
    """`cpu` or `wall`."""
    ratio: float
    low: float | None
    high: float | None
    verdict: str
    rounds: int
    noise: float
    contended: bool
    process: int
    """Number of the model's process in its group: tells twins apart."""
    measured_at: datetime


@dataclass(frozen=True, slots=True)
class Lint:
    """Something odd about a model, or (with an empty `lint`) that nothing was found when it was checked."""

    model_key: str
    lint: str
    target: str
    """Empty if the rule is not about a runtime."""
    message: str
    advice: str
    evidence: Mapping[str, Any]
    run_id: str
    found_at: datetime
