"""The contract of a lint: a pure function from what is known of a model to a finding, or None.

    @lint
    def contended(subject: Subject) -> Finding | None:
        '''Others used the machine while the model was timed.'''

A newcomer adds one function under `@lint` to a file of `pipeline/measure/lints/`. It reads measurements; it measures nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias, TypeVar

from ops.core.registry import Registry

__all__ = ["LINTS", "Finding", "Measured", "Rule", "Subject", "SubjectSpeedup", "SubjectTiming", "lint"]


MetricFunction: TypeAlias = Callable[..., Any]
"""A metric, as `@metric` gives it back."""


@dataclass(frozen=True, slots=True)
class Measured:
    """A value with its 95 % interval, where one is known."""

    value: float
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True, slots=True)
class SubjectTiming:
    """A row of the `timings` view."""

    scenario: str
    batch_size: int
    threads: int
    p50_ms: float | None
    p90_ms: float | None
    contended: bool
    drifted: bool
    foreign_cores: float
    evidence_key: str
    base_evidence_key: str | None
    """The session of the base's own figure."""
    base_p50_ms: float | None
    """The base's own figure."""
    base_beside_ms: float | None
    """What the base took in this session."""


@dataclass(frozen=True, slots=True)
class SubjectSpeedup:
    """A row of the `speedups` view."""

    ratio: float
    low: float | None
    high: float | None
    verdict: str
    evidence_key: str


@dataclass(slots=True)
class Subject:
    """A model on one target, with its relatives on the same target."""

    model_key: str
    name: str
    op: str
    kind: str
    params: Mapping[str, Any]
    target: str
    metrics: Mapping[str, Measured]
    """Those of the target and those that depend on none."""
    notes: Mapping[str, Any] = field(default_factory=dict)
    """What the operation noted about its result."""
    timings: tuple[SubjectTiming, ...] = ()
    speedups: Mapping[str, SubjectSpeedup] = field(default_factory=dict)
    """`base` and `parent`: single stream on the fewest threads, by the clock that suits the target."""
    elsewhere: Mapping[str, Mapping[str, Measured]] = field(default_factory=dict)
    """Metrics of the same model on other targets."""
    differences: Mapping[tuple[str, str], Measured] = field(default_factory=dict)
    """(metric, other target) -> mean difference to the values of the same instances on that target; shares have none."""
    most_frequent: float | None = None
    """Share of the instances that get the most frequent prediction."""
    most_frequent_label: float | None = None
    """Share of the instances that have the most frequent label."""
    overlap: float | None = None
    """Share of the calibration instances whose content also stands in the evaluation split."""
    parent: Subject | None = None
    """The model that it was made from; None of a root. It may have no figures on this target."""
    siblings: tuple[Subject, ...] = ()
    """Other models that the same operation made of the same parent."""

    @property
    def of_file(self) -> bool:
        """Whether the tree began with an ONNX file, so that nothing can train, prune or recalibrate it."""
        model: Subject = self
        while model.parent is not None:
            model = model.parent
        return model.op == "load_onnx"

    def value(self, metric: MetricFunction | str) -> float | None:
        """The metric's value, if it was measured; the metric by its function (or its name, where it has no other)."""
        measured = self.metrics.get(metric if isinstance(metric, str) else metric.__name__)
        return None if measured is None else measured.value


@dataclass(frozen=True, slots=True)
class Finding:
    """What a lint found."""

    message: str
    """The figures that fired it."""
    advice: str
    """What to try."""
    evidence: Mapping[str, Any]
    """The measurements, by name."""


Rule = Callable[[Subject], Finding | None]
LINTS: Registry[Rule] = Registry("lint", "pipeline.measure.lints")
F = TypeVar("F", bound=Rule)


def lint(fn: F) -> F:
    """Register a rule under its function's name, and return it unchanged."""
    LINTS.add(fn.__name__, fn)
    return fn
