"""Metrics of how fast a model runs and what it takes. Raw samples are stored; these are what people look at first."""

from __future__ import annotations

import numpy as np

from pipeline.core.statistics import percentile, quantile_interval
from pipeline.measure.metrics.api import Better, Estimate, Pairing, Scenario, Speedups, Timings, metric


@metric(unit="ms", format=".3g", better=Better.LOWER, primary=True, pairing=Pairing.WALL_TIME)
def latency_p50(timings: Timings) -> Estimate | None:
    """Median wall-clock time of one instance on one thread."""
    return _milliseconds(timings.wall_seconds, 50)


@metric(unit="ms", format=".3g", better=Better.LOWER)
def latency_p90(timings: Timings) -> Estimate | None:
    """90th percentile of the wall-clock time of one instance on one thread; needs 64 runs."""
    return _milliseconds(timings.wall_seconds, 90)


@metric(unit="ms", format=".3g", better=Better.LOWER)
def latency_p99(timings: Timings) -> Estimate | None:
    """99th percentile of the wall-clock time of one instance on one thread; needs 662 runs."""
    return _milliseconds(timings.wall_seconds, 99)


@metric(unit="ms", format=".3g", better=Better.LOWER, pairing=Pairing.CPU_TIME)
def cpu_time_p50(timings: Timings) -> Estimate | None:
    """Median CPU time of one instance on one thread: what the work costs, whatever else the machine does."""
    return _milliseconds(timings.cpu_seconds, 50) if timings.cpu_seconds.any() else None


@metric(unit="1/s", format=".4g", better=Better.HIGHER, scenario=Scenario.OFFLINE)
def throughput(timings: Timings) -> Estimate | None:
    """Instances per second in batches on all cores."""
    total = float(timings.wall_seconds.sum())
    runs = len(timings.wall_seconds)
    return Estimate(runs * timings.batch_size / total, count=runs) if total > 0 else None


@metric(unit="x", format=".2f", better=Better.HIGHER, primary=True, pairing=Pairing.CPU_TIME)
def speedup(speedups: Speedups) -> Estimate | None:
    """How many times faster than the base: CPU time of one instance on one thread."""
    return speedups.base


@metric(unit="x", format=".2f", better=Better.HIGHER)
def speedup_to_parent(speedups: Speedups) -> Estimate | None:
    """How many times faster than the parent: CPU time of one instance on one thread."""
    return speedups.parent


@metric(unit="ms", format=".3g", better=Better.LOWER)
def load_time(timings: Timings) -> float | None:
    """Time to open the model in a fresh process, with the runtime imported."""
    return None if timings.load_seconds is None else 1000 * timings.load_seconds


@metric(unit="ms", format=".3g", better=Better.LOWER)
def first_run_time(timings: Timings) -> float | None:
    """Time of the first run after opening: what a cold start adds."""
    return None if timings.first_run_seconds is None else 1000 * timings.first_run_seconds


@metric(unit="B", format=",.0f", better=Better.LOWER)
def peak_memory(timings: Timings) -> float | None:
    """Peak memory of opening and running the model, above a process that has only imported the runtime."""
    return timings.peak_bytes


@metric(unit="J", format=".3g", better=Better.LOWER)
def energy(timings: Timings) -> Estimate | None:
    """Energy of one instance by the processor's own counter (everything on the chip); none without one."""
    runs = len(timings.wall_seconds)
    return Estimate(timings.joules / (runs * timings.batch_size), count=runs) if timings.joules and runs else None


def _milliseconds(seconds: np.ndarray, percent: float) -> Estimate | None:
    value = percentile(seconds, percent).value
    if value is None:
        return None
    low, high = quantile_interval(seconds, percent) or (None, None)
    return Estimate(1000 * value, 1000 * low if low else None, 1000 * high if high else None, len(seconds))
