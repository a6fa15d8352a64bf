"""What the viewer knows of one publication of the results, as plain data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

import numpy as np

from viewer.format.metrics import MeasuredValue, MetricInfo
from viewer.results.lineage import Node

__all__ = [
    "BROKEN",
    "Confirmed",
    "MetricColumn",
    "ModelLint",
    "RunStart",
    "Setting",
    "Snapshot",
    "StudiedData",
    "identity_of",
]

BROKEN = frozenset({"constant_predictor", "not_a_number"})
"""Lints of models that are of no use, whatever their figures."""


@dataclass(frozen=True, slots=True)
class Setting:
    """The conditions that device-bound numbers depend on. Numbers of two contexts never stand side by side."""

    target: str
    device: str
    dataset_key: str
    dataset: str
    device_text: str
    recipe: str = ""
    """Of models that were measured on no known data set: the recipe, or the imported file, that they are of."""

    @property
    def id(self) -> str:
        """Stable short name, for addresses."""
        return "|".join((self.target, self.device, self.dataset_key[:12], *filter(None, [self.recipe])))

    @property
    def text(self) -> str:
        """For people."""
        parts = [self.recipe, self.target, self.device_text, self.dataset]
        return " · ".join(part for part in parts if part) or "all measurements"


@dataclass(frozen=True, slots=True)
class MetricColumn:
    """One metric in one context: per model, in the order of the snapshot's models; NaN where not measured."""

    value: np.ndarray
    low: np.ndarray
    high: np.ndarray
    exact: np.ndarray
    """bool: the value has no noise, as it depends on no runtime, machine or data and counts what is in a file."""

    @classmethod
    def empty(cls, rows: int) -> MetricColumn:
        """Return a column without values."""
        return cls(np.full(rows, np.nan), np.full(rows, np.nan), np.full(rows, np.nan), np.zeros(rows, dtype=bool))

    @property
    def ends(self) -> tuple[np.ndarray, np.ndarray]:
        """What is known of the noise: ends of intervals, the value itself where it has none; NaN where nothing is."""
        alone = self.exact & ~(np.isfinite(self.low) & np.isfinite(self.high))
        return np.where(alone, self.value, self.low), np.where(alone, self.value, self.high)

    def measured(self, row: int) -> MeasuredValue:
        """Return one model's value with what is known of its noise."""
        return MeasuredValue(*self.row(row), bool(self.exact[row]))

    def row(self, row: int) -> tuple[float, float, float]:
        """Return value, low and high of one model."""
        return float(self.value[row]), float(self.low[row]), float(self.high[row])


@dataclass(frozen=True, slots=True)
class ModelLint:
    """Something odd about a model, as the run that made it found."""

    rule: str
    target: str
    message: str
    advice: str


@dataclass(frozen=True, slots=True)
class RunStart:
    """A run of the pipeline, or an import."""

    id: str
    recipe: str
    started_at: datetime


@dataclass(frozen=True, slots=True)
class StudiedData:
    """A data set that models were measured on."""

    name: str
    task: str
    has_answers: bool = True
    """False: nothing is known that would be right, so models give outputs and no answers."""


@dataclass(frozen=True, slots=True)
class Confirmed:
    """A figure of a chosen model on instances that nothing else reads."""

    value: float
    low: float | None
    high: float | None
    choice: float | None
    """The figure that it was chosen by, when it was looked at."""
    within_noise: bool | None
    """Whether the two differ by no more than chance; None where that is not known."""
    among: int
    """Models that were chosen among."""
    look: int
    """Number of the look at these instances."""


@dataclass(frozen=True)
class Snapshot:
    """Everything the overview shows, as it was published."""

    path: Path
    id: tuple[int, int]
    nodes: list[Node]
    """Models, then steps whose model never came to be."""
    keys: list[str]
    """Of the models: the rows of every column."""
    metrics: list[MetricInfo]
    contexts: list[Setting]
    columns: Mapping[Setting, Mapping[str, MetricColumn]]
    recipes: list[str]
    unfinished: tuple[str, ...] = ()
    """Ids of the runs without an end, the latest first: they run, or were killed."""
    trouble: Mapping[str, list[str]] = field(default_factory=dict)
    """Model key -> what failed when the model was measured."""
    lints: Mapping[str, list[ModelLint]] = field(default_factory=dict)
    """Model key -> what is odd about it."""
    unsure: Mapping[tuple[str, str, str], frozenset[str]] = field(default_factory=dict)
    """(target, device, clock) -> models whose time by that clock was taken roughly, or while others used the machine."""
    datasets: Mapping[str, frozenset[str]] = field(default_factory=dict)
    """Model key -> data sets that it was measured on; models without such a measurement are not listed."""
    data: Mapping[str, StudiedData] = field(default_factory=dict)
    """Data set's key -> the data set."""
    runs: Mapping[str, RunStart] = field(default_factory=dict)
    """Run's id -> the run; in the order in which they started."""
    runs_of: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Model key -> ids of the runs that made or found it."""
    recipes_of: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Model key -> recipes that contain it."""
    confirmed: Mapping[tuple[str, str, str, str], Confirmed] = field(default_factory=dict)
    """(model key, target, data set, metric) -> the figure on instances that no choice had seen, of the first look at the model."""
    workspace: str | None = None
    """The folder that the latest run kept its models in, as it was named; None where no run made these results."""

    @property
    def is_imported(self) -> bool:
        """Whether there are models, and no run has made any of them."""
        return bool(self.keys) and self.workspace is None and not self.runs_of


def identity_of(context: Setting) -> tuple[str, str, str]:
    """Return target, device and data set: what tells contexts apart."""
    return context.target, context.device, context.dataset_key
