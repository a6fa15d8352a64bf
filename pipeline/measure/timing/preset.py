"""Presets of timing: a conf/bench entry, checked.

The cost of a session on one target is about

    sum over models m and conditions c of
        start + load(m) + warm-up(m, c) + rounds * priming + min(max_seconds, max(seconds, runs * t(m, c)))

where t is the time of one run, start about 0.4 s, and priming at most 0.04 s. Added to the models asked for are, per group of
at most sixteen that are alive together, the base, its twins, and parents from outside the group. If the sum exceeds
`seconds_per_model` for each model, timed runs are cut in proportion, down to one per round, and then rounds, down to the six
that an interval needs; of a single stream at least the eleven runs are left that a median needs. What remains is
start + load + warm-up + 6 (priming + t), or + 6 (priming + 2 t). Rounds beyond `rounds` are added only while the budget
lasts.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from ops.core.params import explain_errors
from pipeline.core.errors import BouillonError
from pipeline.core.machine.cpu_quota import cores
from pipeline.measure.metrics.api import Scenario

_NEARLY_ONE_CORE = 0.75
"""A single neighbour that computes all the time is noticed, however large the machine."""


class PresetError(BouillonError, ValueError):
    """A conf/bench entry is wrong: the message names the key, the problem and the nearest fix."""


class _Checked(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Condition(_Checked):
    """What is held fixed while a model is timed; it belongs to the identity of the figure."""

    scenario: Scenario
    batch: int = Field(default=1, ge=1)
    threads: int | Literal["all"] = 1
    runs: int = Field(default=64, ge=1)
    """Fewest timed runs; with fewer than `rounds`, there are as few rounds, of one run."""

    @property
    def cores(self) -> int:
        """Threads as a number."""
        return cores() if self.threads == "all" else self.threads


class Warmup(_Checked):
    """Untimed runs, until the median of the last five is within 2 % of that of the five before."""

    runs: int = Field(default=10, ge=1)
    seconds: float = Field(default=0.5, ge=0)
    cap: float = Field(default=5, ge=0)
    """Seconds after which it ends, stable or not."""


class TimingLimits(_Checked):
    """From where on a figure is flagged."""

    wall_over_cpu: float = Field(default=1.15, gt=1)
    """On one thread: a burst that waits this much longer than it computes is contended."""
    foreign_cores: float = Field(default=0.25, gt=0)
    """Cores kept busy by others beside a burst. Ten times what an idle machine does, and far below one busy core."""
    foreign_share: float = Field(default=0.01, ge=0)
    """On large machines, which do more when idle: this share of all cores, if it is more (and less than a busy core)."""
    drift: float = Field(default=0.05, gt=0)
    """Change of the base's CPU time from the first third of the rounds to the last."""
    spread: float = Field(default=0.05, gt=0)
    """Interquartile range over median of the runs: above it, more rounds are added."""

    def foreign(self) -> float:
        """Cores that others may keep busy on this machine: the counters are those of all its cores, ours or not."""
        return max(self.foreign_cores, min(self.foreign_share * (os.cpu_count() or 1), _NEARLY_ONE_CORE))


class Preset(_Checked):
    """A conf/bench entry."""

    name: str = "custom"
    conditions: tuple[Condition, ...] = Field(min_length=1)
    rounds: int = Field(default=12, ge=1)
    max_rounds: int = Field(default=18, ge=1)
    """Rounds are added up to here while some were contended, the base drifts or the runs spread."""
    launches: int = Field(default=1, ge=1)
    """Fresh processes per model and condition; the rounds are done in each."""
    seconds: float = Field(default=1.0, gt=0)
    """Fewest seconds of timed runs."""
    max_seconds: float = Field(default=3.0, gt=0)
    max_runs: int = Field(default=1000, ge=1)
    warmup: Warmup = Warmup()
    compare: bool = True
    """Measure parents and bases beside the models, for speed-ups; otherwise the models alone."""
    twins: int = Field(default=3, ge=0)
    """Further processes of the base in each group: what they differ by is the noise floor."""
    alone: bool = True
    """Wait until no other work of this program runs on the machine, and let none start meanwhile."""
    samples: int = Field(default=32, ge=1)
    """Distinct inputs, cycled through."""
    seconds_per_model: float | None = Field(default=None, gt=0)
    """What a session on one target may take, all conditions together; large models take it, small ones less."""
    limits: TimingLimits = TimingLimits()

    @model_validator(mode="after")
    def _fit(self) -> Self:
        if self.max_rounds < self.rounds:
            raise ValueError(f"max_rounds ({self.max_rounds}) is below rounds ({self.rounds})")
        if self.max_seconds < self.seconds:
            raise ValueError(f"max_seconds ({self.max_seconds}) is below seconds ({self.seconds})")
        return self

    def distinct_conditions(self) -> tuple[Condition, ...]:
        """The conditions of this machine: with one core, all cores are one thread."""
        by_condition = {(c.scenario, c.batch, c.cores): c for c in reversed(self.conditions)}
        return tuple(reversed(by_condition.values()))


def parse_preset(entry: Mapping[str, Any]) -> Preset:
    """Check a conf/bench entry.

    Raises:
        PresetError: for each wrong key, with the nearest name or the allowed values.
    """
    try:
        return Preset.model_validate(dict(entry))
    except ValidationError as error:
        raise PresetError(f"bench '{entry.get('name', 'custom')}': {explain_errors(error, Preset)}") from None
