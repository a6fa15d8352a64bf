"""How fast models are, and what is odd about them: facts of measuring sessions. Part of `records`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Any

import numpy as np

from pipeline.store.records.columns import Int32, Sql, record_table


@record_table("timing_process", model_key="model", device="device")
@dataclass(frozen=True, slots=True)
class TimingSamples:
    """Every single run of one measuring process: what latency figures and speed-ups were computed from."""

    evidence_key: Annotated[str, "The session, as in measurements, timings and speedups."]
    preset: Annotated[str, "Entry of conf/bench."]
    model_key: Annotated[str, "The model."]
    target: Annotated[str, "The runtime."]
    device: Annotated[str, "The machine. Figures of two machines do not compare."]
    scenario: Annotated[str, "single_stream (one instance after the other) or offline (batches)."]
    batch_size: Annotated[Int32, "Instances per run."]
    threads: Annotated[Int32, "Threads that the runtime was given."]
    role: Annotated[
        str,
        Sql(values=("model", "reference", "twin")),
        "model; reference (a parent or base measured again beside others); twin (the base against itself).",
    ]
    group_number: Annotated[Int32, "Processes of one group were alive together and ran in turn."]
    launch: Annotated[Int32, "Which of the fresh processes of the same model, where a preset asks for several."]
    process: Annotated[Int32, "Number of the process in its group and launch."]
    wall_seconds: Annotated[np.ndarray, Sql("DOUBLE[]"), "Wall-clock time of each run after warm-up."]
    """float64 (N,)."""
    cpu_seconds: Annotated[np.ndarray, Sql("DOUBLE[]"), "CPU time of each run, all threads."]
    """float64 (N,)."""
    rounds: Annotated[np.ndarray, Sql("INTEGER[]"), "The group's round that each run belongs to."]
    """int64 (N,)."""
    kept: Annotated[np.ndarray, Sql("BOOLEAN[]"), "Of each run: false in contended rounds, which were set aside."]
    """bool (N,)."""
    load_seconds: Annotated[float, "Seconds to open the model in a fresh process."]
    first_run_seconds: Annotated[float, "Seconds of the first run."]
    peak_bytes: Annotated[
        int | None, "Peak memory of opening and running the model, above a process that has only imported the runtime."
    ]
    joules: Annotated[float | None, "Energy of the runs, where the machine tells it."]
    valid: Annotated[bool, "Whether all outputs were finite."]
    warmed_up: Annotated[bool, "Whether times had become stable before the runs that count."]
    contended: Annotated[bool, "Whether others used the machine in too many rounds to set them aside."]
    foreign_cores: Annotated[float, "Cores that others kept busy meanwhile."]
    drifted: Annotated[bool, "Whether the base became faster or slower in the course of the session."]
    drift: Annotated[float, "Relative change of the base's CPU time over the rounds of the group."]
    conditions: Annotated[Mapping[str, Any], "JSON: the whole preset, and versions and options of the runtime."]
    measured_at: Annotated[datetime, "Start of the session, UTC."]


@record_table("timing_failure", model_key="model", device="device")
@dataclass(frozen=True, slots=True)
class TimingFailure:
    """A model that could not be timed."""

    evidence_key: Annotated[str, "The session."]
    preset: Annotated[str, "Entry of conf/bench."]
    model_key: Annotated[str, "The model."]
    target: Annotated[str, "The runtime."]
    device: Annotated[str, "The machine."]
    scenario: Annotated[str, "single_stream or offline."]
    batch_size: Annotated[Int32, "Instances per run."]
    threads: Annotated[Int32, "Threads that the runtime was given."]
    error: Annotated[str, "Why the model could not be timed; such a row holds no figures."]
    measured_at: Annotated[datetime, "Start of the session, UTC."]


@record_table("speedup", model_key="model", against_key="model", device="device")
@dataclass(frozen=True, slots=True)
class Speedup:
    """How many times faster a model is than another under one condition, with its 95 % interval."""

    evidence_key: Annotated[str, "The session, as in timing_runs."]
    model_key: Annotated[str, "The model."]
    against_key: Annotated[str, "The model that it is compared with."]
    relation: Annotated[
        str,
        Sql(values=("base", "parent", "itself")),
        "base, parent, or itself: the base against a second process of its own, which shows the noise.",
    ]
    target: Annotated[str, "The runtime of both."]
    device: Annotated[str, "The machine."]
    scenario: Annotated[str, "single_stream or offline."]
    batch_size: Annotated[Int32, "Instances per run."]
    threads: Annotated[Int32, "Threads that the runtime was given."]
    clock: Annotated[
        str,
        Sql(values=("cpu", "wall")),
        "cpu or wall: the time that was compared. CPU time hardly feels the neighbours; users feel wall-clock time.",
    ]
    ratio: Annotated[
        float,
        "Time of the other divided by time of the model, above 1: faster. Per round the lower quartiles of the runs are compared.",
    ]
    low: Annotated[float | None, "Lower end of the 95 % interval; NULL with fewer than 6 rounds."]
    high: Annotated[float | None, "Upper end of the 95 % interval."]
    verdict: Annotated[
        str,
        Sql(values=("faster", "slower", "no difference", "unknown")),
        "faster, slower, no difference (the interval holds 1) or unknown (no interval).",
    ]
    rounds: Annotated[Int32, "Rounds in which both were measured, one after the other."]
    noise: Annotated[
        float,
        "What processes of one and the same model differ by (relative standard deviation); it widens the interval.",
    ]
    contended: Annotated[
        bool,
        "True if one of the two was contended. A drift of the whole machine cancels: both were timed in each round.",
    ]
    process: Annotated[Int32, "Number of the model's process in its group: tells twins apart."]
    measured_at: Annotated[datetime, "Start of the session, UTC."]


@record_table("lint", model_key="model", run_id="run")
@dataclass(frozen=True, slots=True)
class Lint:
    """Something odd about a model. One without a rule says that the model was checked: it takes back older findings."""

    model_key: Annotated[str, "The model."]
    lint: Annotated[str, "Name of the rule."]
    target: Annotated[str, "The runtime; empty if the rule is not about one."]
    message: Annotated[str, "What was found, with the figures."]
    advice: Annotated[str, "What to try."]
    evidence: Annotated[Mapping[str, Any], "JSON: the measurements that the rule looked at."]
    run_id: Annotated[str, "The run that checked."]
    found_at: Annotated[datetime, "When, UTC."]
