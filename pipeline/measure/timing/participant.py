"""One process in a group, with what it has measured so far."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from pipeline.core.statistics import samples_for_percentile
from pipeline.measure.timing.energy import EnergyMeter
from pipeline.measure.timing.loop import Samples, WarmedUp
from pipeline.measure.timing.results import Candidate, Case, ProcessSamples, Role
from pipeline.measure.timing.speedup import log_time

if TYPE_CHECKING:
    from pipeline.measure.timing.preset import Condition, Preset, TimingLimits
    from pipeline.measure.timing.worker_client import MeasuringProcess, Opened

_PRIMING = 0.04
"""Seconds of untimed runs before a burst. While the group's other models run, a model's weights and buffers leave the
caches; a ResNet-50 in int8 comes back to its speed (from 3.1 ms to 1.6 ms) within 13 runs."""
_MOST_PRIMING = 64
FEWEST_FOR_A_MEDIAN = samples_for_percentile(50)
_PATIENCE = 60.0
_ENOUGH = 0.75
"""Share of the wanted rounds that must be left when contended ones are set aside. Some service wakes up on every machine,
and the budget may be spent before a round could be repeated; a neighbour that goes on computing leaves none."""


@dataclass(frozen=True, slots=True)
class Burst:
    """Runs of one process in one round."""

    round: int
    samples: Samples
    joules: float | None


@dataclass(slots=True)
class BurstPlan:
    """The lengths of a member's bursts."""

    runs: int
    seconds: float
    max_seconds: float
    prime: int
    fewest: int = 1
    """Runs of a burst that is cut, however long they take."""

    @classmethod
    def of(cls, run_seconds: float, condition: Condition, preset: Preset, rounds: int) -> BurstPlan:
        """Divide a measurement into rounds.

        Args:
            run_seconds: length of one run when warm.
            condition: how many runs are wanted.
            preset: the limits of time and of runs.
            rounds: parts to divide into.
        """
        most = run_seconds * preset.max_runs
        return cls(
            runs=math.ceil(min(condition.runs, preset.max_runs) / rounds),
            seconds=min(preset.seconds, most) / rounds,
            max_seconds=preset.max_seconds / rounds,
            prime=min(_MOST_PRIMING, math.floor(_PRIMING / max(run_seconds, 1e-9))),
        )

    def expected(self, run_seconds: float) -> float:
        """Seconds that a burst takes."""
        timed = max(self.seconds, self.runs * run_seconds)
        return max(self.fewest * run_seconds, min(timed, self.max_seconds)) + self.priming(run_seconds)

    def priming(self, run_seconds: float) -> float:
        """Seconds of a burst before it is timed."""
        return self.prime * run_seconds

    def cut(self, share: float) -> None:
        """Shorten the bursts, to one run at the least."""
        self.runs = max(1, math.floor(self.runs * share))
        self.seconds *= share
        self.max_seconds *= share

    def keep_median(self, rounds: int) -> None:
        """Let so many runs be left of a burst that all rounds together have a median."""
        self.fewest = math.ceil(FEWEST_FOR_A_MEDIAN / rounds)
        self.runs = max(self.runs, self.fewest)


@dataclass(slots=True)
class Member:
    """A measuring process and its bursts."""

    candidate: Candidate
    role: Role
    number: int
    process: MeasuringProcess
    opening: Opened
    warmed: WarmedUp
    plan: BurstPlan
    bursts: list[Burst] = field(default_factory=list)
    peak_bytes: int | None = None

    def run(self, number: int, energy: EnergyMeter) -> None:
        """Time one burst."""
        plan = self.plan
        energy.start()
        samples = self.process.run(
            runs=plan.runs,
            seconds=plan.seconds,
            max_seconds=plan.max_seconds,
            prime=plan.prime,
            fewest=plan.fewest,
            timeout=_PATIENCE + 20 * (plan.max_seconds + self.warmed.run_seconds),
        )
        self.bursts.append(Burst(number, samples, energy.joules()))

    def expected(self) -> float:
        """Seconds that a burst takes."""
        return self.plan.expected(self.warmed.run_seconds)

    def priming(self) -> float:
        """Seconds of a burst before it is timed."""
        return self.plan.priming(self.warmed.run_seconds)

    def clean(self, foreign: list[float], limits: TimingLimits, *, waits: bool) -> list[bool]:
        """Of every burst, whether it had the machine to itself.

        Args:
            foreign: cores that others kept busy on average, by round.
            limits: the most that counts as undisturbed.
            waits: whether time beyond the CPU time tells of contention too: on one thread of the CPU it does.
        """
        return [
            foreign[burst.round] <= limits.foreign() and (not waits or _waited(burst) <= limits.wall_over_cpu)
            for burst in self.bursts
        ]

    def logs(self) -> dict[int, float]:
        """Round -> logarithm of the CPU time of a run (wall-clock time where no CPU time was counted)."""
        return {burst.round: log_time(_times(burst)) for burst in self.bursts}

    def spread(self) -> float:
        """Interquartile range over median of all runs."""
        low, middle, high = np.percentile(np.concatenate([_times(burst) for burst in self.bursts]), [25, 50, 75])
        return float((high - low) / max(middle, 1))


def samples_of(
    member: Member,
    condition: Condition,
    *,
    group: int,
    launch: int,
    foreign: list[float],
    drift: float,
    rounds: int,
    limits: TimingLimits,
    waits: bool,
) -> ProcessSamples:
    """Gather what a member measured. Contended bursts are set aside if enough of `rounds` are left, else all is flagged.

    Args:
        member: a process with its bursts.
        condition: what was measured.
        group: its number.
        launch: number of the repetition.
        foreign: cores that others kept busy on average, by round.
        drift: relative change of the base's CPU time over the rounds.
        rounds: those planned.
        limits: what counts as contended and as drift.
        waits: as `Member.clean`.
    """
    clean = member.clean(foreign, limits, waits=waits)
    contended = sum(clean) < _ENOUGH * rounds
    per_run = [len(burst.samples.wall_ns) for burst in member.bursts]
    joules = [burst.joules for burst in member.bursts if burst.joules is not None]
    candidate = member.candidate
    return ProcessSamples(
        case=Case(candidate.model_key, candidate.target, condition.scenario, condition.batch, condition.cores),
        role=member.role,
        group=group,
        launch=launch,
        process=member.number,
        wall_ns=np.concatenate([burst.samples.wall_ns for burst in member.bursts]),
        cpu_ns=np.concatenate([burst.samples.cpu_ns for burst in member.bursts]),
        round=np.repeat([burst.round for burst in member.bursts], per_run),
        kept=np.repeat([contended or is_clean for is_clean in clean], per_run),
        load_seconds=member.opening.load_seconds,
        first_run_seconds=member.opening.first_run_seconds,
        warmup_runs=member.warmed.runs,
        warmup_seconds=member.warmed.seconds,
        warmed_up=member.warmed.stable,
        valid=member.warmed.valid,
        contended=contended,
        foreign_cores=float(np.mean(foreign)),
        drift=drift,
        drifted=drift > limits.drift,
        peak_bytes=member.peak_bytes,
        joules=sum(joules) if joules else None,
        runtime=member.opening.description,
    )


def _times(burst: Burst) -> np.ndarray:
    return burst.samples.cpu_ns if burst.samples.cpu_ns.any() else burst.samples.wall_ns


def _waited(burst: Burst) -> float:
    return float(burst.samples.wall_ns.sum() / max(1, burst.samples.cpu_ns.sum()))
