"""The facts that a run writes: one frozen dataclass per table, plain data only. `writer.Store.write` takes them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any

from pipeline.store.records.layer_records import Change, Distribution, Finding, Layer, LayerTime
from pipeline.store.records.timing_records import Lint, Speedup, TimingFailure, TimingSamples

if TYPE_CHECKING:
    import numpy as np

__all__ = [
    "Change",
    "DatasetInfo",
    "Device",
    "Distribution",
    "Finding",
    "ImportDetail",
    "Ingested",
    "InstanceValues",
    "Instances",
    "Layer",
    "LayerTime",
    "Lint",
    "Measurement",
    "Metric",
    "Model",
    "PredictionSet",
    "Record",
    "Run",
    "RunEnd",
    "Speedup",
    "Step",
    "TimingFailure",
    "TimingSamples",
]


@dataclass(frozen=True, slots=True)
class Run:
    """One `python -m pipeline` (or one import)."""

    run_id: str
    recipe: str
    config: Mapping[str, Any]
    versions: Mapping[str, str]
    host: Mapping[str, Any]
    git_commit: str | None
    started_at: datetime


@dataclass(frozen=True, slots=True)
class RunEnd:
    """How a run ended. A run without one is running, or was killed."""

    run_id: str
    finished_at: datetime
    exit_code: int


@dataclass(frozen=True, slots=True)
class Model:
    """One distinct model. Written once, whatever the number of runs that made it."""

    model_key: str
    parent_key: str | None
    name: str
    """Path of its step, e.g. `resnet50/magnitude[sparsity=0.5]/int8`."""
    title: str
    recipe: str
    op: str
    op_version: int
    kind: str
    format: str
    params: Mapping[str, Any]
    references: Mapping[str, str] = field(default_factory=dict)
    notes: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Step:
    """What happened to one job of a run. Also rows for steps whose model never came to be."""

    run_id: str
    path: str
    job: str
    """Name of the stage: `pipeline.engine.stage.STAGES`; or `timing`, the session at the end."""
    model_key: str
    parent_key: str | None
    op: str
    kind: str
    params: Mapping[str, Any]
    outcome: str
    """`done`, `cached`, `failed` or `skipped`."""
    seconds: float | None = None
    cpu_seconds: float | None = None
    peak_bytes: int | None = None
    error: str | None = None
    traceback: str | None = None
    finished_at: datetime | None = None
    target: str = ""
    """The runtime, for jobs that use one."""


@dataclass(frozen=True, slots=True)
class DatasetInfo:
    """A data set, as it was opened."""

    dataset_key: str
    """The data set's fingerprint."""
    name: str
    task: str
    classes: Sequence[str]
    splits: Mapping[str, int]
    entry: Mapping[str, Any]
    """The conf/dataset entry, for people to read: results may be anybody's, so nothing opens what it says."""


@dataclass(frozen=True, slots=True)
class Instances:
    """All instances of one split of a data set, columnar."""

    dataset_key: str
    split: str
    ids: Sequence[str]
    labels: Sequence[str]
    attributes: Mapping[str, Sequence[str]]


@dataclass(frozen=True, slots=True)
class PredictionSet:
    """Predictions of one model on one target for one split, columnar, in the order of the split's instances."""

    model_key: str
    target: str
    dataset_key: str
    predicted: Sequence[str]
    confidence: np.ndarray
    """Probability of the prediction, float32 (N,)."""
    label_probability: np.ndarray
    """Probability of the true label, float32 (N,); NaN where it has none."""
    correct: np.ndarray
    """bool (N,)."""
    score: np.ndarray
    """Quality per instance in [0, 1]: 1/0 for classification, token F1 for question answering; float32 (N,)."""
    probabilities: np.ndarray | None
    """float32 (N, classes), or None where the task has no classes."""
    split: str = "evaluation"


@dataclass(frozen=True, slots=True)
class Metric:
    """What a metric means. A changed definition is a new row; views show the newest."""

    metric: str
    unit: str
    format: str
    better: str
    primary: bool
    description: str
    role: str
    """Question that it answers: `pipeline.core.metric_kinds.MetricRole`."""
    pairing: str = "none"
    """Observations that two models share: `pipeline.core.metric_kinds.Pairing`."""


@dataclass(frozen=True, slots=True)
class Device:
    """A machine that numbers were measured on."""

    device: str
    """Short id: hash of the description."""
    description: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Measurement:
    """One number."""

    model_key: str
    target: str
    """Empty if the number does not depend on the runtime; likewise `device` and `dataset_key`."""
    device: str
    dataset_key: str
    metric: str
    value: float
    low: float | None
    high: float | None
    count: int | None
    run_id: str
    measured_at: datetime
    evidence_key: str
    """The artifact or the session that the number was computed from."""


@dataclass(frozen=True, slots=True)
class InstanceValues:
    """Values of one metric by instance, whose mean is the measurement of the same identity."""

    model_key: str
    target: str
    device: str
    dataset_key: str
    metric: str
    values: np.ndarray
    """float32 (N,), in the order of the evaluation split; NaN for instances that do not count."""
    evidence_key: str
    """Of the measurement."""


@dataclass(frozen=True, slots=True)
class Ingested:
    """All records of one evidence artifact are in the store: write it in the same call as those records."""

    evidence_key: str


@dataclass(frozen=True, slots=True)
class ImportDetail:
    """A piece of an imported file, verbatim, so that an export gives it back."""

    run_id: str
    part: str
    position: int
    content: str
    """JSON."""
    model_key: str | None = None


Record = (
    Run
    | RunEnd
    | Model
    | Step
    | DatasetInfo
    | Instances
    | PredictionSet
    | Metric
    | Device
    | Measurement
    | InstanceValues
    | Layer
    | Distribution
    | Change
    | Finding
    | LayerTime
    | TimingSamples
    | TimingFailure
    | Speedup
    | Lint
    | Ingested
    | ImportDetail
)
