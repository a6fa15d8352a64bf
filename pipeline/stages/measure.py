"""Compute every registered metric that a model's evidence allows. Timings have their own session at the end of a run."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ops.core.errors import OperationError
from ops.core.operation import Format
from pipeline.core.environment import device, device_id
from pipeline.core.keys import Key
from pipeline.engine.jobs import Job
from pipeline.engine.stage import Planning, Recording, Stage, register
from pipeline.layers.records_file import load_layers
from pipeline.measure.instance_values import load_values, save_values
from pipeline.measure.metrics.api import Estimate, ModelFiles
from pipeline.measure.metrics.compute import compute, failure_message, identities
from pipeline.measure.predictions import load_predictions
from pipeline.models.storage import ONNX_FILE, input_sizes
from pipeline.stages.predict import PREDICT
from pipeline.stages.tensor_stats import LAYERS
from pipeline.store.records.run_records import InstanceValues, Measurement
from pipeline.targets.open import open_target

if TYPE_CHECKING:
    from pipeline.engine.worker import Worker


_PLACE = ("target", "device", "dataset_key", "evidence_key")
"""Columns that figures and their values by instance have in common."""


@dataclass(frozen=True, slots=True)
class MeasureParams:
    """Evidence that figures are computed from."""

    metrics: tuple[str, ...]
    """`pipeline.measure.metrics.compute.identities` when the run was planned, sorted."""
    predictions: Key
    layers: Key
    file: Key
    """The artifact whose ONNX file would be deployed."""
    base: Key | None = None
    """Predictions of the root; None for the root itself."""

    def evidence(self) -> dict[str, Key]:
        """Return the evidence by name."""
        evidence = {"predictions": self.predictions, "layers": self.layers, "file": self.file}
        return evidence if self.base is None else {**evidence, "base": self.base}


class MeasureStage(Stage[MeasureParams]):
    """The figures of every model on every target."""

    name, version, params = "measure", 4, MeasureParams
    on_device = True
    evidence = "measures"
    needs = ("operation", "export", "layers", "predict")

    def jobs(self, planning: Planning) -> Iterator[Job[MeasureParams]]:
        """One job per model and target: a new metric is computed from evidence that exists."""
        metrics = tuple(sorted(planning.metrics))
        layers = {job.model: job.key for job in planning.jobs_of(LAYERS)}
        answers = {(run.model, run.target): run.key for run in planning.jobs_of(PREDICT)}
        for (model, target), predictions in answers.items():
            step = planning.steps[model]
            base = answers.get((step.root, target))
            params = MeasureParams(
                metrics=metrics,
                predictions=predictions,
                layers=layers[model],
                file=planning.exports.get(model, model),
                base=None if base == predictions else base,
            )
            evidence = params.evidence()
            key = self.key(model, evidence=evidence, metrics=metrics)
            yield Job(key, self.name, step.path, model, tuple(dict.fromkeys(evidence.values())), params, target)

    def make(self, worker: Worker, job: Job[MeasureParams], folder: Path, scratch: Path) -> dict[str, Any]:
        """Write the values by instance, and return the measures: metric -> value with its interval, and what it depends on.

        And the metrics that failed: name -> why.
        """
        params = job.params
        if list(params.metrics) != sorted(identities()):
            raise OperationError("The code of a metric has changed since the run was planned; run again")
        observed = worker.artifacts.manifest(params.predictions)
        base = None if params.base is None else load_predictions(worker.artifacts.folder(params.base))
        predictions = load_predictions(worker.artifacts.folder(params.predictions))
        answered = {
            "target": job.target,
            "device": observed["device"],
            "dataset_key": observed["dataset"],
            "evidence_key": params.predictions,
        }
        failed: dict[str, str] = {}
        of_answers = compute(predictions, base=base, failed=failed)
        measures = {spec.name: {**_figures(estimate), **answered} for spec, estimate in of_answers}
        save_values({spec.name: estimate.rows for spec, estimate in of_answers if estimate.rows is not None}, folder)
        for spec, estimate in compute(_files(worker, job), failed=failed):
            place = {"target": job.target, "device": device_id()} if spec.runtime else {"target": "", "device": ""}
            measures[spec.name] = {**_figures(estimate), **place, "dataset_key": "", "evidence_key": params.file}
        machines = {**observed.get("machines", {}), device_id(): device()}
        return {"measures": measures, "machines": machines, **({"failed": failed} if failed else {})}

    def records(self, job: Job[MeasureParams], recording: Recording) -> Iterator[Measurement | InstanceValues]:
        """All figures, and their values by instance."""
        measures = recording.artifacts.manifest(job.key)["measures"]
        now = datetime.now(UTC)
        for name, measure in measures.items():
            yield Measurement(model_key=job.model, run_id=recording.run_id, measured_at=now, metric=name, **measure)
        for name, values in load_values(recording.artifacts.folder(job.key)).items():
            place = {field: measures[name][field] for field in _PLACE}
            yield InstanceValues(model_key=job.model, metric=name, values=values, **place)

    def failure(self, job: Job[MeasureParams], recording: Recording) -> str | None:
        """Metrics that failed, and why: the job is tried again next time."""
        failed = recording.artifacts.manifest(job.key).get("failed")
        return failure_message(failed) if failed else None


MEASURE = register(MeasureStage())


def _figures(estimate: Estimate) -> dict[str, float | None]:
    return {"value": estimate.value, "low": estimate.low, "high": estimate.high, "count": estimate.count}


def _files(worker: Worker, job: Job[MeasureParams]) -> ModelFiles:
    from ops.onnx_graph.macs import count_macs, total_macs

    deployed = worker.artifacts.folder(job.params.file) / ONNX_FILE
    target = open_target(worker.workplace.targets[job.target])
    model_file = deployed if target.accepts is Format.ONNX else worker.artifacts.folder(job.model)
    layers = load_layers(worker.artifacts.folder(job.params.layers))
    return ModelFiles(
        file=deployed,
        layers=tuple(asdict(layer) for layer in layers),
        macs=total_macs(count_macs(deployed, input_sizes(deployed))),
        kernels=target.kernels(model_file),
    )
