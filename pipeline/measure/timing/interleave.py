"""Measure a group of models: all processes alive, one running at a time, in rounds of random order."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.measure.metrics.api import Scenario
from pipeline.measure.timing.contention import LoadMeter
from pipeline.measure.timing.energy import EnergyMeter
from pipeline.measure.timing.participant import FEWEST_FOR_A_MEDIAN, BurstPlan, Member, samples_of
from pipeline.measure.timing.preset import Condition, Preset
from pipeline.measure.timing.results import Candidate, Case, Failure, ProcessSamples, Role
from pipeline.measure.timing.speedup import FEWEST_ROUNDS
from pipeline.measure.timing.worker_client import MeasureError, MeasuringProcess


@dataclass(frozen=True, slots=True)
class Place:
    """What all processes of a session share."""

    entry: Mapping[str, Any]
    """The conf/target entry."""
    clock: str
    """`cpu` or `wall`: what the target is judged by."""
    inputs: Path
    logs: Path
    plugins: tuple[str, ...] = ()


@dataclass(slots=True)
class Group:
    """Models that are measured together."""

    number: int
    condition: Condition
    members: Sequence[tuple[Candidate, Role]]
    samples: list[ProcessSamples] = field(default_factory=list)
    failures: list[Failure] = field(default_factory=list)


def measure_group(
    group: Group, place: Place, preset: Preset, *, launch: int, generator: np.random.Generator, seconds: float | None
) -> None:
    """Measure every member in a fresh process and add the samples, or the failure, to the group.

    Args:
        group: models that take turns; it gets the samples and the failures.
        place: target, inputs and clock.
        preset: how long and how often to measure.
        launch: number of the repetition, from 0.
        generator: draws the order of the members in every round.
        seconds: what the launch may take, None for no limit; timed runs are cut to fit.
    """
    deadline = None if seconds is None else time.monotonic() + seconds
    waits = place.clock == "cpu" and group.condition.cores == 1
    with ExitStack() as stack:
        members = list(_open(group, place, preset, launch, stack))
        rounds = min(preset.rounds, group.condition.runs)
        for member in members:
            member.plan = BurstPlan.of(member.warmed.run_seconds, group.condition, preset, rounds)
        median = group.condition.scenario == Scenario.SINGLE_STREAM and group.condition.runs >= FEWEST_FOR_A_MEDIAN
        rounds = _fit(members, rounds, deadline, median=median)
        foreign = _Rounds(group, members, preset, rounds=rounds, waits=waits).run(generator, deadline)
        for member in members:
            member.peak_bytes = member.process.peak_bytes()
    drift = drift_of(members)
    group.samples.extend(
        samples_of(
            member,
            group.condition,
            group=group.number,
            launch=launch,
            foreign=foreign,
            drift=drift,
            rounds=rounds,
            limits=preset.limits,
            waits=waits,
        )
        for member in members
    )


def drift_of(members: Sequence[Member]) -> float:
    """Relative change from the first third of the rounds to the last, of the base and its twins together.

    Where a session measures models alone, of all of them.
    """
    steady = [member for member in members if member.role is not Role.MODEL or member.candidate.parent_key is None]
    logs = [member.logs() for member in steady or members]
    if not logs:
        return 0.0
    rounds = [float(np.mean([log[number] for log in logs])) for number in sorted(set.intersection(*map(set, logs)))]
    if len(rounds) < FEWEST_ROUNDS:
        return 0.0  # two or three rounds differ by chance
    third = len(rounds) // 3
    return float(abs(np.expm1(np.median(rounds[-third:]) - np.median(rounds[:third]))))


def _open(group: Group, place: Place, preset: Preset, launch: int, stack: ExitStack) -> Iterator[Member]:
    for number, (candidate, role) in enumerate(group.members):
        process = MeasuringProcess(
            target=place.entry,
            model=candidate.path,
            inputs=place.inputs,
            threads=group.condition.cores,
            batch=group.condition.batch,
            plugins=place.plugins,
            log=place.logs / f"{group.number}-{launch}-{number}.log",
        )
        stack.callback(process.close)
        try:
            opening = process.open()
            warmed = process.warm_up(preset.warmup)
        except MeasureError as error:
            group.failures.append(Failure(_case(candidate, group.condition), str(error)))
            continue
        yield Member(candidate, role, number, process, opening, warmed, BurstPlan(1, 0, 0, 0))


def _case(candidate: Candidate, condition: Condition) -> Case:
    return Case(candidate.model_key, candidate.target, condition.scenario, condition.batch, condition.cores)


def _fit(members: Sequence[Member], rounds: int, deadline: float | None, *, median: bool) -> int:
    """Shorten all bursts in proportion, down to one run, and then the rounds, to those that an interval needs.

    With `median` so many runs are left as a median needs. Returns the number of rounds.
    """
    if deadline is None or not members:
        return rounds
    remaining = max(0.0, deadline - time.monotonic())
    expected = rounds * sum(member.expected() for member in members)
    if remaining >= expected:
        return rounds
    priming = rounds * sum(member.priming() for member in members)
    for member in members:
        member.plan.cut(max(0.0, remaining - priming) / (expected - priming))
    possible = int(remaining / sum(member.expected() for member in members))
    rounds = max(min(rounds, FEWEST_ROUNDS), min(rounds, possible))
    if median:
        for member in members:
            member.plan.keep_median(rounds)
    return rounds


class _Rounds:
    """The rounds of one launch."""

    def __init__(self, group: Group, members: list[Member], preset: Preset, *, rounds: int, waits: bool) -> None:
        self._group, self._members, self._limits, self._waits = group, members, preset.limits, waits
        self._rounds, self._most = rounds, rounds + preset.max_rounds - preset.rounds
        self._processes = [member.process for member in members]
        self._load, self._energy = LoadMeter(), EnergyMeter()
        self._foreign: list[float] = []

    def run(self, generator: np.random.Generator, deadline: float | None) -> list[float]:
        """Run rounds until the figures are settled; return the cores that others used in each."""
        started = time.monotonic()
        self._mark()
        while self._members and not self._settled(started, deadline):
            number = len(self._foreign)
            for index in generator.permutation(len(self._members)):
                self._burst(self._members[index], number)
            self._members[:] = [member for member in self._members if len(member.bursts) > number]
            self._mark()
            self._foreign.append(self._load.foreign_cores())
        return self._foreign

    def _burst(self, member: Member, number: int) -> None:
        try:
            member.run(number, self._energy)
        except MeasureError as error:  # it drops out of the group; the others go on
            self._group.failures.append(Failure(_case(member.candidate, self._group.condition), str(error)))

    def _mark(self) -> None:
        self._load.mark(time.process_time() + sum(process.cpu_seconds for process in self._processes))

    def _settled(self, started: float, deadline: float | None) -> bool:
        done, limits = len(self._foreign), self._limits
        if done < self._rounds:
            return False
        if done >= self._most:
            return True
        now = time.monotonic()
        if deadline is not None and now + (now - started) / done > deadline:
            return True
        clean = (sum(member.clean(self._foreign, limits, waits=self._waits)) for member in self._members)
        return (
            min(clean) >= self._rounds
            and drift_of(self._members) <= limits.drift
            and max(member.spread() for member in self._members) <= limits.spread
        )
