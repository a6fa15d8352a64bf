"""The facts that a run writes: one frozen dataclass per table, plain data only. `writer.Store.write` takes them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np


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
    """`operation`, `export`, `predict`, `layers` or `measure`."""
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
    """The conf/dataset entry: opens the data set again, to show instances."""


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
class Layer:
    """Statistics of one tensor of one model. Histograms and comparisons are tables of their own."""

    model_key: str
    tensor: str
    module: str
    module_type: str
    parameter: str
    shape: Sequence[int]
    dtype: str
    bits: float
    size: int
    nonzeros: int
    bytes: int
    minimum: float | None
    maximum: float | None
    mean: float | None
    std: float | None
    abs_sum: float | None
    macs: int | None = None


@dataclass(frozen=True, slots=True)
class Distribution:
    """How the values of one tensor, or of one layer's output, are distributed. Moments are over the finite values."""

    model_key: str
    place: str
    """`parameter`, `buffer` or `activation`."""
    stage: str
    """Of activations: `torch` (the network) or `onnx` (the file that is deployed); empty for tensors."""
    site: str
    """Name of the tensor, or of the layer."""
    module: str
    module_type: str
    position: int
    """Place along the network."""
    shape: Sequence[int]
    """Of the tensor; of an activation empty."""
    count: int
    zeros: int
    nans: int
    infs: int
    minimum: float | None
    maximum: float | None
    mean: float | None
    std: float | None
    abs_sum: float
    square_sum: float
    channels: int | None
    dead_channels: int | None
    """Channels whose weights are all zero; of activations those that never move, or never pass the ReLU behind them."""
    saturated: float | None
    """Share of values outside what their quantized type can represent."""
    low: float
    high: float
    """Limits of the histogram."""
    counts: Sequence[int]
    """Below the limits, equal bins, above the limits, exactly zero."""
    macs: int | None = None
    """Of activations: multiply-accumulates of the layer for one instance."""


@dataclass(frozen=True, slots=True)
class Change:
    """One tensor, or one layer's output, compared with the same of a reference model."""

    model_key: str
    reference_key: str
    place: str
    stage: str
    reference_stage: str
    site: str
    module: str
    position: int
    status: str
    """`compared`, `gone` (not in this model), `new` (not in the reference) or `incomparable`."""
    reason: str
    """Why it was not compared."""
    how: Sequence[str]
    """What was done to compare it, in words: `int8 dequantized`."""
    count: int
    nonfinite: int
    zero_both: int
    zero_here: int
    zero_there: int
    mean_abs_change: float | None
    relative_change: float | None
    sqnr_db: float | None
    cosine: float | None
    low: float | None
    high: float | None
    counts: Sequence[int]
    """Value (rows as in the model's Distribution) by class of relative change, row by row."""
    counted: int
    """Pairs behind `counts`; fewer than `count` for large tensors."""


@dataclass(frozen=True, slots=True)
class Finding:
    """Something conspicuous in a model's layers, in words, with what to do about it."""

    model_key: str
    reference_key: str
    kind: str
    site: str
    weight: float
    """How much it matters, from 0 to 1."""
    text: str
    proposal: str
    """Recipe lines to copy; empty if nothing in a recipe helps."""


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
    | Layer
    | Distribution
    | Change
    | Finding
    | TimingSamples
    | TimingFailure
    | Speedup
    | Lint
    | Ingested
    | ImportDetail
)
