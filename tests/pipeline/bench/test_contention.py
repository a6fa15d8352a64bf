"""Sessions beside a neighbour are flagged, quiet ones are not: on simulated counters of the kernel."""

import math
import os
import random
import time

import numpy as np
import pytest

from pipeline.measure.timing import contention
from pipeline.measure.timing.contention import LoadMeter
from pipeline.measure.timing.loop import Samples, WarmedUp
from pipeline.measure.timing.participant import Burst, BurstPlan, Member, samples_of
from pipeline.measure.timing.preset import Condition, TimingLimits, parse_preset
from pipeline.measure.timing.results import Candidate, Role
from pipeline.measure.timing.session import run_session
from pipeline.measure.timing.worker_client import Opened
from tests.pipeline.bench import odd_targets

TICK = 0.01
"""The kernel counts in hundredths of a second, every kind of work for itself."""
CONDITION = Condition(scenario="single_stream")


class Machine:
    """Counters of a machine on which one process of ours is always at work, and others do what they do."""

    def __init__(self, seed, *, others):
        self._chance, self._others = random.Random(seed), others
        self._now, self._own, self._kinds = 0.0, 0.0, [self._uniform(0, TICK) for _ in range(4)]
        self.meter = LoadMeter(clock=lambda: self._now, busy=self._busy)

    def _uniform(self, low, high):
        return self._chance.uniform(low, high)

    def _busy(self):
        return sum(math.floor(seconds / TICK) * TICK for seconds in self._kinds)

    def pass_by(self, seconds):
        """Let time pass; a few percent of it goes by between bursts."""
        self._now += seconds
        own = seconds * self._uniform(0.93, 0.99)
        theirs = self._others(self._chance) * seconds
        self._own += own
        for kind, share in enumerate((0.9, 0.05, 0.04, 0.01)):  # user, system, interrupts, stolen
            self._kinds[kind] += share * (own + theirs)

    def mark(self):
        self.meter.mark(self._own)

    def rounds(self, count, seconds):
        """Cores that others used in each round, as a session sees them."""
        self.mark()
        found = []
        for _ in range(count):
            self.pass_by(seconds)
            self.mark()
            found.append(self.meter.foreign_cores())
        return found


def services(chance):
    """An idle machine: a few percent of a core, and now and then something wakes up for a moment."""
    return chance.uniform(0.0, 0.06) if chance.random() < 0.98 else chance.uniform(0.2, 1.0)


def busy_loop(chance):
    """On the other core: nothing of ours waits for it."""
    return chance.uniform(0.97, 1.03)


def member(rounds, *, waits=1.02):
    """A member that has run `rounds` bursts of 5 ms runs; each takes `waits` times its CPU time."""
    made = Member(
        Candidate("m", "m", None, "t", None), Role.MODEL, 0, None, Opened({}, 0.1, 0.1),
        WarmedUp(5, 0.1, True, 0.005, True), BurstPlan(10, 0, 0, 0),
    )  # fmt: skip
    cpu = np.full(10, 5_000_000)
    made.bursts = [Burst(number, Samples((cpu * waits).astype(np.int64), cpu), None) for number in range(rounds)]
    return made


def measured(foreign, *, rounds=8, limits=None, **options):
    return samples_of(
        member(len(foreign), **options), CONDITION, group=0, launch=0, foreign=foreign, drift=0.0, rounds=rounds,
        limits=limits or TimingLimits(), waits=True,
    )  # fmt: skip


@pytest.mark.parametrize("seconds", [0.1, 0.25, 1.0])
def test_quiet_sessions_are_not_flagged_and_busy_ones_are(seconds):
    """A hundred sessions of each, with rounds shorter and longer than what a look at the counters needs."""
    quiet = [measured(Machine(seed, others=services).rounds(10, seconds)) for seed in range(100)]
    busy = [measured(Machine(seed, others=busy_loop).rounds(10, seconds)) for seed in range(100)]
    assert sum(samples.contended for samples in quiet) <= 1
    assert all(samples.contended for samples in busy)
    assert all(samples.foreign_cores == pytest.approx(1, abs=0.15) for samples in busy)


def test_a_few_disturbed_rounds_are_set_aside():
    found = measured([0.02, 0.9, 0.03, 0.02, 0.5, 0.0, 0.01, 0.02])
    assert not found.contended
    assert sorted(set(found.round[~found.kept])) == [1, 4]


def test_many_are_flagged_and_nothing_is_set_aside():
    found = measured([0.9, 0.02, 0.9, 0.0, 0.9, 0.0, 0.01, 0.02])
    assert found.contended
    assert found.kept.all()


def test_a_neighbour_on_our_own_core_is_seen_by_the_waiting():
    """The counters may be those of a sandbox, and say nothing."""
    assert measured([0.0] * 8, waits=1.3).contended
    assert not measured([0.0] * 8, waits=1.1).contended


@pytest.mark.parametrize("machine", [1, 2, 16, 64, 256])
def test_one_busy_core_is_noticed_on_machines_of_any_size(monkeypatch, machine):
    monkeypatch.setattr(os, "cpu_count", lambda: machine)
    assert 0.25 <= TimingLimits().foreign() <= 0.75
    assert measured([0.97] * 8).contended
    assert not measured([0.2] * 8).contended


def test_a_limit_of_ones_own_stands():
    assert not measured([5.0] * 8, limits=TimingLimits(foreign_cores=1000)).contended


@pytest.mark.parametrize(("cores", "seen"), [(0, False), (9, True)])
def test_a_session_looks_at_the_counters_of_its_machine(monkeypatch, tmp_path, cores, seen):
    """Of which the session's own processes keep one busy, or none where they have to wait for it."""
    monkeypatch.setattr(contention, "busy_seconds", lambda: cores * time.monotonic())
    preset = parse_preset({
        "name": "test", "conditions": [{"scenario": "single_stream", "runs": 12}], "rounds": 6, "max_rounds": 6,
        "seconds": 0.1, "max_seconds": 2, "warmup": {"runs": 2, "seconds": 0, "cap": 0.2}, "twins": 0,
        "limits": {"wall_over_cpu": 1000},
    })  # fmt: skip
    inputs = tmp_path / "inputs.npz"
    np.savez(inputs, pixel_values=np.zeros((4, 3), np.float32))
    result = run_session(
        [Candidate("m", "m", None, "t", tmp_path)], targets={"t": {"target": "steady_test_target"}}, inputs=inputs,
        preset=preset, folder=tmp_path, plugins=(odd_targets.PLUGIN,), lock=tmp_path / "lock",
    )  # fmt: skip
    (samples,) = result.samples
    assert samples.contended is seen
    assert 7 <= samples.foreign_cores <= 9 if seen else samples.foreign_cores == 0
