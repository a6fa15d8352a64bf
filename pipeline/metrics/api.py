"""What a metric is: a function from one kind of evidence to a number.

    @metric(unit="", format=".1%", better=Better.HIGHER)
    def accuracy(predictions: Predictions) -> Estimate:
        '''Share of instances whose most likely class is the label.'''

The type of the argument says which evidence the metric needs. Return a float, an `Estimate` with its interval, or None
where the metric does not apply. A person's own metric is such a function in a module listed under `plugins:`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, get_type_hints

from ops.registry import Registry

if TYPE_CHECKING:
    import numpy as np

__all__ = ["METRICS", "Better", "Estimate", "MetricSpec", "ModelFiles", "Predictions", "Timings", "metric"]


@dataclass(frozen=True, slots=True)
class Estimate:
    """A value with its 95 % interval, where one is known, and the number of observations behind it."""

    value: float
    low: float | None = None
    high: float | None = None
    count: int | None = None


@dataclass(frozen=True, slots=True)
class Predictions:
    """What a model answered on the evaluation split, on one target."""

    task: str
    classes: tuple[str, ...]
    ids: tuple[str, ...]
    outputs: Mapping[str, np.ndarray]
    """`logits` (N, classes) float32; or `start_logits` and `end_logits` (N, length)."""
    targets: Mapping[str, np.ndarray]
    """`labels` (N,) int64; or `start_positions` and `end_positions`."""
    answers: tuple[str, ...] = ()
    """Question answering: the text extracted for each instance."""
    references: tuple[tuple[str, ...], ...] = ()
    """Question answering: the accepted answers of each instance."""
    attributes: Mapping[str, tuple[str, ...]] | None = None


@dataclass(frozen=True, slots=True)
class Timings:
    """Raw samples of one model on one target, after warm-up; one row per run."""

    wall_seconds: np.ndarray
    cpu_seconds: np.ndarray
    batch_size: int
    threads: int


@dataclass(frozen=True, slots=True)
class ModelFiles:
    """A model on disk."""

    file: Path
    """The file that would be deployed (ONNX)."""
    layers: tuple[Mapping[str, Any], ...]
    """Statistics per tensor: rows of the `layers` view."""
    macs: int | None


class Better(StrEnum):
    HIGHER = "higher"
    LOWER = "lower"
    NEITHER = "neither"


@dataclass(frozen=True, slots=True)
class MetricSpec:
    """A registered metric. `format` is a Python format specification; values are stored in `unit`."""

    name: str
    unit: str
    format: str
    better: Better
    primary: bool
    evidence: type
    compute: Callable[[Any], Estimate | float | None]
    description: str


METRICS: Registry[MetricSpec] = Registry("metric", "pipeline.metrics")
F = TypeVar("F", bound=Callable[[Any], Any])


def metric(
    *, unit: str, better: Better, format: str = ".3g", primary: bool = False  # noqa: A002 - the field's word
) -> Callable[[F], F]:
    """Register a function as a metric, and return it unchanged. `primary` metrics are shown first."""

    def register(fn: F) -> F:
        evidence = next(iter(get_type_hints(fn).values()))
        if evidence not in (Predictions, Timings, ModelFiles):
            raise TypeError(f"{fn.__module__}.{fn.__qualname__}: a metric takes Predictions, Timings or ModelFiles")
        description = (fn.__doc__ or "").strip().splitlines()[0] if fn.__doc__ else ""
        METRICS.add(fn.__name__, MetricSpec(fn.__name__, unit, format, better, primary, evidence, fn, description))
        return fn

    return register
