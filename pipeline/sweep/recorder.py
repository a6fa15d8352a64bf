"""From outcomes to facts in the store. Facts are collected and written together, so that steps stay cheap."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from pipeline.core.artifacts import ArtifactStore
from pipeline.core.environment import device_id, id_of
from pipeline.core.errors import reason
from pipeline.datasets.api import SPLITS, Dataset, Split
from pipeline.engine.jobs import Done, Failed, Job, Outcome, Skipped, What, state_of
from pipeline.engine.runner import unsound
from pipeline.measure.metrics.api import METRICS
from pipeline.plan.steps import Plan
from pipeline.store.errors import InvalidRecordError
from pipeline.store.records.run_records import (
    Change,
    DatasetInfo,
    Device,
    Distribution,
    Finding,
    Ingested,
    Instances,
    InstanceValues,
    LayerTime,
    Measurement,
    Metric,
    Model,
    Record,
    Step,
)

if TYPE_CHECKING:
    from pathlib import Path

    from pipeline.store.writer import Store

_FLUSH_SECONDS = 2.0
_PLACE = ("target", "device", "dataset_key", "evidence_key")
_PUBLISH_SHARE = 0.05
"""Publishing copies the store; it may take this share of a run's time."""


class Recorder:
    """Writes what happens in one run."""

    def __init__(self, store: Store, plan: Plan, artifacts: ArtifactStore, *, run_id: str) -> None:
        self._store, self._plan, self._artifacts = store, plan, artifacts
        self._run_id = run_id
        self._steps = plan.by_key()
        self._ingested = store.ingested()
        self.news = False
        """Whether this run has added anything to what was known of its models."""
        self._groups: list[list[Record]] = []
        """Records that make sense together only: those of one outcome."""
        self._flushed = time.monotonic()
        self._published, self._publishing_took = time.monotonic(), 0.0

    def record(self, job: Job, outcome: Outcome) -> None:
        """Take note of an outcome; it reaches the store within seconds, and readers soon after."""
        self._groups.append([self._step(job, outcome)])
        if isinstance(outcome, Done):
            self._groups.append(self._evidence(job))
        if time.monotonic() - self._flushed > _FLUSH_SECONDS:
            self.flush()

    def damaged(self, jobs: Sequence[Job]) -> list[tuple[Job, str]]:
        """Jobs whose results are there but damaged, and why. Only what the store or a job still lacks is read."""
        found = []
        for job in jobs:
            if self._artifacts.is_damaged(job.key):
                found.append((job, self._artifacts.fault(job.key) or "it was changed in the meantime"))
            elif job.key in self._artifacts and self._is_news(job):
                try:
                    self._read(job)
                except Exception as error:  # noqa: BLE001 - boundary: a damaged file can make its reader raise anything
                    found.append((job, f"{type(error).__name__}: {reason(error)}"))
        return found + unsound(jobs, self._artifacts, {job.key for job, _ in found})

    def add(self, records: Iterable[Record]) -> None:
        """Write facts that do not come from a job."""
        self._groups.append(list(records))

    def flush(self, *, publish: bool = False) -> None:
        """Write what was collected, and publish it if that is due or asked for.

        Raises:
            StoreError: if it cannot be written. What the store refuses is dropped, and all else is written before; what the
                disk refuses is kept for the next time.
        """
        try:
            self._store.write(record for group in self._groups for record in group)
        except InvalidRecordError:
            for group in self._groups:
                with contextlib.suppress(InvalidRecordError):
                    self._store.write(group)
            self._groups = []
            raise
        self._groups = []
        now = time.monotonic()
        if publish or (now - self._published) * _PUBLISH_SHARE > self._publishing_took:
            self._store.publish()
            self._published = time.monotonic()
            self._publishing_took = self._published - now
        self._flushed = time.monotonic()

    def _step(self, job: Job, outcome: Outcome) -> Step:
        step = self._steps[job.model]
        common: dict[str, Any] = {
            "run_id": self._run_id, "path": job.path, "job": job.what.value, "model_key": job.model,
            "parent_key": step.parent, "op": step.op, "kind": step.kind, "params": step.written,
            "outcome": state_of(outcome), "finished_at": datetime.now(UTC),
        }  # fmt: skip
        if isinstance(outcome, Done):
            common |= {"seconds": outcome.seconds, "cpu_seconds": outcome.cpu_seconds, "peak_bytes": outcome.peak_bytes}
        elif isinstance(outcome, Failed):
            common |= {"seconds": outcome.seconds, "error": outcome.error, "traceback": outcome.traceback}
        elif isinstance(outcome, Skipped):
            common |= {"error": outcome.because}
        if job.details.get("target"):
            common["target"] = job.details["target"]
        return Step(**common)

    def _evidence(self, job: Job) -> list[Record]:
        """What the artifact adds to the store; nothing if it is there already."""
        if not self._is_news(job):
            return []
        self._ingested.add(job.key)
        self.news = True
        return [*self.with_devices(job, self._read(job)), Ingested(job.key)]

    def with_devices(self, job: Job, records: Iterable[Record]) -> list[Record]:
        """Put the machines that an artifact's records name before them: it may have been made on another than this one."""
        records = list(records)
        names = {getattr(record, "device", "") or "" for record in records}
        machines = self._artifacts.manifest(job.key).get("machines", {})
        known = {name: machine for name, machine in machines.items() if id_of(machine) == name}
        return [*(Device(name, known.get(name, {})) for name in sorted(names - {"", device_id()})), *records]

    def _is_news(self, job: Job) -> bool:
        return job.key not in self._ingested and job.what is not What.EXPORT

    def _read(self, job: Job) -> list[Record]:
        read = {What.OPERATION: self._model, What.PREDICT: self._predictions, What.LAYERS: self._layers,
                What.ACTIVATIONS: self._activations, What.COMPARE: self._changes,
                What.MEASURE: self._measurements, What.LAYER_TIMES: self._times, What.LATENCY: self._latency}[job.what]  # fmt: skip
        return read(job)

    def _model(self, job: Job) -> list[Record]:
        step = self._steps[job.model]
        manifest = self._artifacts.manifest(job.key)
        return [
            Model(
                model_key=step.key, parent_key=step.parent, name=step.path, title="", recipe=self._plan.recipe.name,
                op=step.op, op_version=step.version, kind=step.kind, format=step.format.value, params=step.written,
                references=dict(step.references), notes=manifest["notes"],
            )
        ]  # fmt: skip

    def _predictions(self, job: Job) -> list[Record]:
        from pipeline.measure.predictions import load_predictions, prediction_record

        predictions = load_predictions(self._artifacts.folder(job.key))
        data = self._plan.facts.data_fingerprint
        return [prediction_record(predictions, model=job.model, target=job.details["target"], dataset=data)]

    def _layers(self, job: Job) -> list[Record]:
        from pipeline.layers.records_file import load_layers

        return [*load_layers(self._artifacts.folder(job.key)), *self._activations(job)]

    def _activations(self, job: Job) -> list[Record]:
        from pipeline.layers.records_file import DISTRIBUTIONS, load_records

        return list(load_records(Distribution, self._artifacts.folder(job.key) / DISTRIBUTIONS))

    def _changes(self, job: Job) -> list[Record]:
        from pipeline.layers.records_file import CHANGES, FINDINGS, load_records

        folder = self._artifacts.folder(job.key)
        return [*load_records(Change, folder / CHANGES), *load_records(Finding, folder / FINDINGS)]

    def _times(self, job: Job) -> list[Record]:
        from pipeline.layers.records_file import TIMES, load_records

        return list(load_records(LayerTime, self._artifacts.folder(job.key) / TIMES))

    def _measurements(self, job: Job) -> list[Record]:
        manifest, folder = self._artifacts.manifest(job.key), self._artifacts.path(job.key)
        return measurement_records(manifest, folder, run_id=self._run_id)

    def _latency(self, job: Job) -> list[Record]:
        from pipeline.measure.timing.records import records_of
        from pipeline.measure.timing.results import load_session

        device = self._artifacts.manifest(job.key)["device"]
        return records_of(load_session(self._artifacts.folder(job.key)), device=device, run_id=self._run_id)


def metric_records() -> list[Metric]:
    """What every registered metric means."""
    return [
        Metric(
            metric=spec.name,
            unit=spec.unit,
            format=spec.format,
            better=spec.better.value,
            primary=spec.primary,
            description=spec.description,
            role=spec.role.value,
            pairing=spec.pairing.value,
        )
        for spec in (METRICS[name] for name in METRICS)
    ]


def dataset_records(data: Dataset, entry: Mapping[str, Any]) -> list[Record]:
    """The data set and the instances of its evaluation split, which predictions refer to."""
    info = DatasetInfo(
        dataset_key=data.fingerprint, name=data.name, task=data.task, classes=list(data.classes),
        splits={split: data.size(split) for split in SPLITS}, entry=dict(entry),
    )  # fmt: skip
    split: Split = "evaluation"
    instances = Instances(data.fingerprint, split, data.ids(split), data.labels(split), data.attributes(split))
    return [info, instances, Ingested(data.fingerprint)]


def measurement_records(manifest: Mapping[str, Any], folder: Path, *, run_id: str) -> list[Record]:
    """The figures of a measuring job, and their values by instance, from the folder of its artifact."""
    from pipeline.measure.instance_values import load_values

    now = datetime.now(UTC)
    measures, model = manifest["measures"], manifest["model"]
    records: list[Record] = [
        Measurement(model_key=model, run_id=run_id, measured_at=now, metric=name, **measure)
        for name, measure in measures.items()
    ]
    places = {name: {field: measures[name][field] for field in _PLACE} for name in measures}
    records += [
        InstanceValues(model_key=model, metric=name, values=values, **places[name])
        for name, values in load_values(folder).items()
    ]
    return records


def failed_metrics(manifest: Mapping[str, Any]) -> str:
    """Which metrics of a job failed, and why."""
    told = [f"metric '{name}': {problem}" for name, problem in manifest["failed"].items()]
    return f"{'; '.join(told)}. The other metrics are kept"
