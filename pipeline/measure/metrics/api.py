"""The contract of a metric: a function from one kind of evidence to a number.

    @metric(unit="", format=".1%", better=Better.HIGHER)
    def accuracy(predictions: Predictions) -> Estimate:
        '''Share of instances whose most likely class is the label.'''

The type of the argument says which evidence the metric needs; a second `Predictions` argument receives the base's, for
metrics of what compression changed. Return a float, an `Estimate` with its interval, or None where the metric does not
apply. `estimates.mean` and `estimates.share` keep the value of every instance: differences of two models are then paired
by instance. A person's own metric is such a function in a module listed under `plugins:`.

The evidence also says the metric's role, by which the summary, the viewer and the lints find it: metrics of predictions
are quality, against a base change, of timings and speed-ups cost, of files size. `role` overrides it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, get_type_hints

from ops.core.registry import Registry
from pipeline.core.metric_kinds import Better, MetricRole, Pairing

if TYPE_CHECKING:
    import numpy as np

__all__ = [
    "METRICS",
    "Better",
    "Estimate",
    "MetricRole",
    "MetricSpec",
    "ModelFiles",
    "Pairing",
    "Predictions",
    "Scenario",
    "Speedups",
    "Timings",
    "metric",
]


@dataclass(frozen=True, slots=True)
class Estimate:
    """A value with its 95 % interval, where one is known, and the number of observations behind it."""

    value: float
    low: float | None = None
    high: float | None = None
    count: int | None = None
    rows: np.ndarray | None = field(default=None, compare=False, repr=False)
    """float32 (N,): one number per instance, in the order of the predictions, whose mean is the value; NaN does not count.
    Stored, so that the difference of two models is paired by instance."""


@dataclass(frozen=True, slots=True)
class Predictions:
    """A model's answers on the evaluation split, on one target."""

    task: str
    classes: tuple[str, ...]
    ids: tuple[str, ...]
    outputs: Mapping[str, np.ndarray]
    """`logits` (N, classes) float32; or `start_logits` and `end_logits` (N, length); or of written answers `tokens` (N,
    length) int64 and `log_probability` (N,)."""
    targets: Mapping[str, np.ndarray]
    """`labels` (N,) int64; or `start_positions` and `end_positions`."""
    answers: tuple[str, ...] = ()
    """Question answering: the text extracted for each instance."""
    references: tuple[tuple[str, ...], ...] = ()
    """Question answering: the accepted answers of each instance."""
    attributes: Mapping[str, tuple[str, ...]] | None = None
    """Attribute name -> the group of each instance; empty where it has none."""


class Scenario(StrEnum):
    """How a model is used while it is timed (the names are MLPerf's)."""

    SINGLE_STREAM = "single_stream"
    """One instance at a time; the next when the previous is done."""
    OFFLINE = "offline"
    """Everything is there: batches as fast as they go."""


@dataclass(frozen=True, slots=True)
class Timings:
    """Raw samples of one model on one target under one condition, after warm-up; one element per run."""

    wall_seconds: np.ndarray
    cpu_seconds: np.ndarray
    batch_size: int
    threads: int
    scenario: Scenario = Scenario.SINGLE_STREAM
    load_seconds: float | None = None
    """Opening the model, in a fresh process with the runtime imported."""
    first_run_seconds: float | None = None
    peak_bytes: int | None = None
    """Peak memory of opening and running the model, above a process that has only imported the runtime."""
    joules: float | None = None
    """Energy of all runs by the processor's own counter; None where there is none."""


@dataclass(frozen=True, slots=True)
class Speedups:
    """How many times faster a model is than others, single stream on one thread, by the clock that suits the target."""

    base: Estimate | None
    parent: Estimate | None


@dataclass(frozen=True, slots=True)
class ModelFiles:
    """A model on disk."""

    file: Path
    """The file that would be deployed (ONNX)."""
    layers: tuple[Mapping[str, Any], ...]
    """Statistics per tensor: rows of the `layers` view."""
    macs: int | None
    kernels: Mapping[str, float] | None = None
    """Share of the MACs per kernel class, as the target runs the model."""


@dataclass(frozen=True, slots=True)
class MetricSpec:
    """A registered metric. `format` is a Python format specification; values are stored in `unit`."""

    name: str
    unit: str
    format: str
    better: Better
    primary: bool
    role: MetricRole
    pairing: Pairing
    evidence: type
    compute: Callable[..., Estimate | float | None]
    description: str
    relative: bool = False
    """Takes the base's predictions too."""
    scenario: Scenario | None = None
    """Of metrics of timings: the condition that the metric is stated for (one thread, or all cores when offline)."""
    runtime: bool = False
    """Of metrics of files: the value depends on how the target runs the file here; the others' is the same anywhere."""

    @property
    def is_share(self) -> bool:
        """Whether values are shares of one, shown in percent."""
        return self.format.endswith("%")

    def text(self, value: float) -> str:
        """A value for people: "90.1%", "3.21 ms"."""
        return f"{value:{self.format}}" + (f" {self.unit}" if self.unit else "")


METRICS: Registry[MetricSpec] = Registry("metric", "pipeline.measure.metrics")
F = TypeVar("F", bound=Callable[..., Any])
_ROLES = {
    Predictions: MetricRole.QUALITY,
    Timings: MetricRole.COST,
    Speedups: MetricRole.COST,
    ModelFiles: MetricRole.SIZE,
}
_TIMES = (Pairing.WALL_TIME, Pairing.CPU_TIME)


def metric(
    *,
    unit: str,
    better: Better,
    format: str = ".3g",  # noqa: A002 - the field's word
    primary: bool = False,
    scenario: Scenario = Scenario.SINGLE_STREAM,
    role: MetricRole | None = None,
    pairing: Pairing | None = None,
    runtime: bool = False,
) -> Callable[[F], F]:
    """Register a function as a metric, and return it unchanged.

    Args:
        unit: of the values; empty for plain numbers and shares.
        better: direction in which the metric improves.
        format: Python format specification for people.
        primary: whether it is shown first.
        scenario: of metrics of timings, the condition that the metric is stated for.
        role: the question that it answers; by default that of its evidence.
        pairing: the observations that two models share. By default the instances, of metrics of predictions, else
            nothing. By time: a lower value is a time, a higher one a rate.
        runtime: of metrics of files, whether the value depends on how the target runs the file.

    Raises:
        TypeError: if the arguments are no evidence, or the evidence does not have such pairs or no runtime.
    """

    def register(fn: F) -> F:
        evidence, relative = _evidence_of(fn)
        if pairing not in (None, *_pairings(evidence, scenario, better)) or (runtime and evidence is not ModelFiles):
            raise TypeError(
                f"{fn.__module__}.{fn.__qualname__}: pairs by instances are of Predictions, pairs by time of Timings "
                "(single stream) and Speedups with a direction, and runtime is of ModelFiles"
            )
        default = Pairing.INSTANCES if evidence is Predictions else Pairing.NONE
        spec = MetricSpec(
            name=fn.__name__,
            unit=unit,
            format=format,
            better=better,
            primary=primary,
            role=role or (MetricRole.CHANGE if relative else _ROLES[evidence]),
            pairing=default if pairing is None else pairing,
            evidence=evidence,
            compute=fn,
            description=(fn.__doc__ or "").strip().partition("\n")[0],
            relative=relative,
            scenario=scenario if evidence is Timings else None,
            runtime=runtime,
        )
        METRICS.add(spec.name, spec)
        return fn

    return register


def _pairings(evidence: type, scenario: Scenario, better: Better) -> tuple[Pairing, ...]:
    """Pairings that the values of some evidence can have."""
    if evidence is Predictions:
        return Pairing.NONE, Pairing.INSTANCES
    is_timed = evidence is Speedups or (evidence is Timings and scenario is Scenario.SINGLE_STREAM)
    return (Pairing.NONE, *_TIMES) if is_timed and better is not Better.NEITHER else (Pairing.NONE,)


def _evidence_of(fn: Callable[..., Any]) -> tuple[type, bool]:
    hints = get_type_hints(fn)
    hints.pop("return", None)
    arguments = list(hints.values())
    if arguments in ([Predictions], [Timings], [Speedups], [ModelFiles]):
        return arguments[0], False
    if arguments == [Predictions, Predictions]:
        return Predictions, True
    where = f"{fn.__module__}.{fn.__qualname__}"
    raise TypeError(f"{where}: a metric takes Predictions, (Predictions, Predictions), Timings, Speedups or ModelFiles")
