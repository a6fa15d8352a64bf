"""From what a session measured to facts for the store."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np

from pipeline.measure.metrics.api import Estimate, MetricSpec, Scenario, Speedups, Timings
from pipeline.measure.metrics.compute import compute
from pipeline.measure.timing.results import Case, ProcessSamples, Role, SessionResult, SpeedupEstimate
from pipeline.store.records.run_records import Measurement, Record, Speedup, TimingFailure, TimingSamples

_NANO = 1e-9


def records_of(result: SessionResult, *, device: str, run_id: str) -> list[Record]:
    """All that a session adds to the store; every number names the session as its evidence.

    A model whose outputs are not numbers gets its raw samples, flagged, but no latency. Figures that were taken beside
    other work get no interval: it would promise more than they are worth.
    """
    rough = not result.preset.get("alone", True)
    common: dict[str, Any] = {"evidence_key": result.session, "device": device, "measured_at": result.started_at}
    records: list[Record] = [_samples(entry, result, common) for entry in result.samples]
    records += [
        TimingFailure(preset=str(result.preset["name"]), error=entry.error, **_case(entry.case), **common)
        for entry in result.failures
    ]
    records += [_speedup(entry, common) for entry in result.comparisons]
    records += [
        Measurement(
            model_key=model,
            target=target,
            dataset_key="",
            metric=spec.name,
            run_id=run_id,
            value=estimate.value,
            low=None if rough else estimate.low,
            high=None if rough else estimate.high,
            count=estimate.count,
            **common,
        )
        for (model, target), measures in measures_of(result).items()
        for spec, estimate in measures
    ]
    return records


def measures_of(result: SessionResult) -> dict[tuple[str, str], list[tuple[MetricSpec, Estimate]]]:
    """(model key, target) -> the registered metrics of its timings and speed-ups."""
    cases: dict[tuple[str, str], dict[Case, list[ProcessSamples]]] = defaultdict(lambda: defaultdict(list))
    for entry in result.samples:
        if entry.role is Role.MODEL and entry.valid:
            cases[entry.case.model_key, entry.case.target][entry.case].append(entry)
    measures = {}
    for place, own in cases.items():
        pairs = [pair for case in _stated(own) for pair in compute(timings_of(own[case]))]
        measures[place] = pairs + compute(_speedups(place, result.comparisons))
    return measures


def timings_of(processes: Sequence[ProcessSamples]) -> Timings:
    """The kept runs of all processes of one case."""
    case = processes[0].case
    peaks = [entry.peak_bytes for entry in processes if entry.peak_bytes is not None]
    joules = [entry.joules for entry in processes if entry.joules is not None]
    return Timings(
        wall_seconds=np.concatenate([entry.wall_ns[entry.kept] for entry in processes]) * _NANO,
        cpu_seconds=np.concatenate([entry.cpu_ns[entry.kept] for entry in processes]) * _NANO,
        batch_size=case.batch,
        threads=case.threads,
        scenario=case.scenario,
        load_seconds=float(np.median([entry.load_seconds for entry in processes])),
        first_run_seconds=float(np.median([entry.first_run_seconds for entry in processes])),
        peak_bytes=max(peaks, default=None),
        joules=sum(joules) if joules else None,
    )


def _stated(cases: Mapping[Case, Any]) -> Iterator[Case]:
    """The conditions that metrics are stated for: single stream on the fewest threads, offline on the most."""
    single = [case for case in cases if case.scenario is Scenario.SINGLE_STREAM]
    offline = [case for case in cases if case.scenario is Scenario.OFFLINE]
    if single:
        yield min(single, key=lambda case: (case.threads, case.batch))
    if offline:
        yield max(offline, key=lambda case: (case.threads, case.batch))


def _speedups(place: tuple[str, str], comparisons: Sequence[SpeedupEstimate]) -> Speedups:
    own = [
        entry
        for entry in comparisons
        if (entry.case.model_key, entry.case.target) == place and entry.case.scenario is Scenario.SINGLE_STREAM
    ]
    fewest = min((entry.case.threads for entry in own), default=0)
    clock = "cpu" if any(entry.clock == "cpu" for entry in own) else "wall"
    records = {
        entry.relation: Estimate(entry.ratio, entry.low, entry.high, entry.rounds)
        for entry in own
        if entry.case.threads == fewest and entry.clock == clock
    }
    return Speedups(base=records.get("base"), parent=records.get("parent"))


def _samples(entry: ProcessSamples, result: SessionResult, common: Mapping[str, Any]) -> TimingSamples:
    return TimingSamples(
        preset=str(result.preset["name"]),
        role=entry.role.value,
        group_number=entry.group,
        launch=entry.launch,
        process=entry.process,
        wall_seconds=entry.wall_ns * _NANO,
        cpu_seconds=entry.cpu_ns * _NANO,
        rounds=entry.round,
        kept=entry.kept,
        load_seconds=entry.load_seconds,
        first_run_seconds=entry.first_run_seconds,
        peak_bytes=entry.peak_bytes,
        joules=entry.joules,
        valid=entry.valid,
        warmed_up=entry.warmed_up,
        contended=entry.contended,
        foreign_cores=entry.foreign_cores,
        drifted=entry.drifted,
        drift=entry.drift,
        conditions={"preset": dict(result.preset), "runtime": dict(entry.runtime)},
        **_case(entry.case),
        **common,
    )


def _speedup(entry: SpeedupEstimate, common: Mapping[str, Any]) -> Speedup:
    facts = asdict(entry) | _case(entry.case) | {"verdict": entry.verdict.value}
    del facts["case"]
    return Speedup(**facts, **common)


def _case(case: Case) -> dict[str, Any]:
    return {
        "model_key": case.model_key,
        "target": case.target,
        "scenario": case.scenario.value,
        "batch_size": case.batch,
        "threads": case.threads,
    }
