"""The one timing loop. Every figure of every target comes from here, so that they can be compared."""

from __future__ import annotations

import gc
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from statistics import median
from typing import TYPE_CHECKING

import numpy as np

from pipeline.targets.api import Session

if TYPE_CHECKING:
    from pipeline.measure.timing.preset import Warmup

Clock = Callable[[], int]
"""Nanoseconds."""
Feeds = Iterator[Mapping[str, np.ndarray]]

_WINDOW = 5
_STABLE = 0.02
_NANO = 1_000_000_000


@dataclass(frozen=True, slots=True)
class Samples:
    """Every single run, in order: int64 (runs,), nanoseconds."""

    wall_ns: np.ndarray
    cpu_ns: np.ndarray


@dataclass(frozen=True, slots=True)
class WarmedUp:
    """The course of the warm-up."""

    runs: int
    seconds: float
    stable: bool
    """False: it ended at the cap."""
    run_seconds: float
    """Median of the last runs: what one run takes."""
    valid: bool
    """False: some output was NaN or infinite."""


def cpu_clock(threads: int) -> Clock:
    """The clock of the CPU time that a run takes: of this thread where it does all the work, else of the process."""
    return time.thread_time_ns if threads == 1 else time.process_time_ns


def time_runs(
    session: Session,
    feeds: Feeds,
    *,
    threads: int,
    runs: int,
    seconds: float = 0,
    max_seconds: float = float("inf"),
    fewest: int = 1,
    wall: Clock = time.perf_counter_ns,
    cpu: Clock | None = None,
) -> Samples:
    """Time runs until there are `runs` of them and `seconds` have passed, or `max_seconds` have; at least `fewest`.

    The next inputs are fetched outside the timed part, and garbage is not collected meanwhile.

    Args:
        session: the opened model.
        feeds: gives the inputs of each run.
        threads: those of the session, which decide how CPU time is taken.
        runs: the fewest runs, unless `max_seconds` pass before.
        seconds: the shortest time.
        max_seconds: the longest.
        fewest: runs that are made however long they take.
        wall: gives nanoseconds.
        cpu: gives nanoseconds of CPU time; None: the clock that fits the number of threads.
    """
    cpu = cpu or cpu_clock(threads)
    walls: list[int] = []
    cpus: list[int] = []
    start = wall()
    with _no_collection():
        while True:
            inputs = next(feeds)
            cpu_start = cpu()
            wall_start = wall()
            session.run(inputs)
            wall_end = wall()
            cpu_end = cpu()
            walls.append(wall_end - wall_start)
            cpus.append(cpu_end - cpu_start)
            passed = (wall_end - start) / _NANO
            enough = passed >= max_seconds or (len(walls) >= runs and passed >= seconds)
            if enough and len(walls) >= fewest:
                break
    return Samples(np.array(walls, dtype=np.int64), np.array(cpus, dtype=np.int64))


def warm_up(session: Session, feeds: Feeds, rule: Warmup, *, wall: Clock = time.perf_counter_ns) -> WarmedUp:
    """Run untimed until the speed no longer changes: at least `rule.runs` and `rule.seconds`, at most `rule.cap`.

    Stable is: the median of the last five runs is within 2 % of the median of the five before.

    Args:
        session: the opened model.
        feeds: gives the inputs of each run.
        rule: the fewest runs and seconds, and the most seconds.
        wall: gives nanoseconds.
    """
    times: list[int] = []
    valid = True
    start = wall()
    while True:
        inputs = next(feeds)
        before = wall()
        outputs = session.run(inputs)
        after = wall()
        times.append(after - before)
        valid = valid and _finite(outputs)
        passed = (wall() - start) / _NANO
        enough = len(times) >= rule.runs and passed >= rule.seconds
        if (enough and _stable(times)) or passed >= rule.cap:
            return WarmedUp(len(times), passed, _stable(times), median(times[-_WINDOW:]) / _NANO, valid)


def _stable(times: Sequence[int]) -> bool:
    if len(times) < 2 * _WINDOW:
        return False
    last, before = median(times[-_WINDOW:]), median(times[-2 * _WINDOW : -_WINDOW])
    return abs(last - before) <= _STABLE * before


def _finite(outputs: tuple[np.ndarray, ...]) -> bool:
    return all(bool(np.isfinite(output).all()) for output in outputs if output.dtype.kind == "f")


@contextmanager
def _no_collection() -> Iterator[None]:
    collecting = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if collecting:
            gc.enable()
