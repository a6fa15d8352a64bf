"""The timing loop and its stopping rules, on a clock that the test turns."""

import itertools
import time

import numpy as np
import pytest

from pipeline.measure.timing.loop import cpu_clock, time_runs, warm_up
from pipeline.measure.timing.preset import Warmup

MILLI = 1_000_000


class Clock:
    """Nanoseconds that pass only while the session runs or inputs are fetched."""

    def __init__(self):
        self.now = 0

    def __call__(self):
        return self.now


class Session:
    inputs = ("x",)
    outputs = ("y",)

    def __init__(self, clock, durations, output=0.0):
        self._clock, self._durations, self._output = clock, iter(durations), output
        self.fed = []

    def run(self, inputs):
        self.fed.append(inputs["x"])
        self._clock.now += int(next(self._durations) * MILLI)
        return (np.array([self._output]), np.array([1]))


def feeds(clock=None, cost=0):
    for number in itertools.count():
        if clock:
            clock.now += int(cost * MILLI)
        yield {"x": number}


def timed(durations, **rules):
    clock = Clock()
    session = Session(clock, durations)
    samples = time_runs(session, feeds(clock, cost=100), threads=1, wall=clock, cpu=lambda: clock.now // 2, **rules)
    return samples, session


def test_every_run_is_kept_with_both_clocks():
    samples, session = timed([1, 2, 3], runs=3)
    assert samples.wall_ns.tolist() == [1 * MILLI, 2 * MILLI, 3 * MILLI]
    assert samples.cpu_ns.tolist() == [MILLI // 2, MILLI, 3 * MILLI // 2]
    assert session.fed == [0, 1, 2]


def test_fetching_inputs_is_not_timed():
    samples, _ = timed(itertools.repeat(1), runs=5)  # each fetch costs 100 ms
    assert samples.wall_ns.max() == MILLI


def test_it_goes_on_until_both_runs_and_seconds_are_reached():
    assert len(timed(itertools.repeat(1), runs=5, seconds=1)[0].wall_ns) == 10  # 101 ms a run with its fetch
    assert len(timed(itertools.repeat(1), runs=20, seconds=1)[0].wall_ns) == 20


def test_it_stops_at_the_longest_time_but_not_before_one_run():
    assert len(timed(itertools.repeat(1), runs=1000, max_seconds=0.5)[0].wall_ns) == 5
    assert len(timed([60_000], runs=1000, max_seconds=0)[0].wall_ns) == 1
    assert len(timed(itertools.repeat(60_000), runs=1000, max_seconds=0, fewest=2)[0].wall_ns) == 2


def test_garbage_is_collected_again_afterwards():
    import gc

    timed([1], runs=1)
    assert gc.isenabled()
    gc.disable()
    try:
        timed([1], runs=1)
        assert not gc.isenabled()
    finally:
        gc.enable()


def test_one_thread_is_timed_by_its_own_clock():
    assert cpu_clock(1) is time.thread_time_ns
    assert cpu_clock(2) is time.process_time_ns


def warmed(durations, output=0.0, **rule):
    clock = Clock()
    session = Session(clock, durations, output)
    return warm_up(session, feeds(), Warmup(**{"runs": 10, "seconds": 0, "cap": 5, **rule}), wall=clock)


def test_warm_up_ends_when_the_speed_no_longer_changes():
    found = warmed([*[9, 8, 7, 6, 5, 4, 3, 2.5, 2.2, 2.1], *itertools.repeat(2, 50)])
    assert found.stable
    assert found.runs == 18  # the medians of runs 9-13 and 14-18 are equal for the first time
    assert found.run_seconds == pytest.approx(0.002)


def test_warm_up_has_its_fewest_runs_and_seconds():
    assert warmed(itertools.repeat(2)).runs == 10
    assert warmed(itertools.repeat(2), runs=25).runs == 25
    assert warmed(itertools.repeat(2), seconds=0.1).runs == 50


def test_warm_up_ends_at_its_cap_and_says_so():
    found = warmed((2 + (number % 10) * 0.5 for number in itertools.count()), cap=1)
    assert not found.stable
    assert found.seconds == pytest.approx(1, abs=0.01)
    assert warmed(itertools.repeat(9000), cap=1).runs == 1  # one run of nine seconds is enough


@pytest.mark.parametrize(("output", "valid"), [(0.0, True), (np.nan, False), (np.inf, False)])
def test_outputs_that_are_not_numbers_are_noticed(output, valid):
    assert warmed(itertools.repeat(1), output=output).valid is valid
