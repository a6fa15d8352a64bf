"""Compute every registered metric that a model's evidence allows. Timings have their own session at the end of a run."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ops.core.errors import OperationError
from ops.core.operation import Format
from pipeline.core.environment import device, device_id
from pipeline.layers.records_file import load_layers
from pipeline.measure.instance_values import save_values
from pipeline.measure.metrics.api import Estimate, ModelFiles
from pipeline.measure.metrics.compute import compute, identities
from pipeline.measure.predictions import load_predictions
from pipeline.models.storage import ONNX_FILE
from pipeline.targets.open import open_target

if TYPE_CHECKING:
    from pipeline.engine.jobs import Job
    from pipeline.engine.worker import Worker


def make(worker: Worker, job: Job, folder: Path, scratch: Path) -> dict[str, Any]:
    """Write the values by instance, and return the measures: metric -> value with its interval, and what it depends on.

    And the metrics that failed: name -> why.
    """
    details = job.details
    if list(details["metrics"]) != sorted(identities()):
        raise OperationError("The code of a metric has changed since the run was planned; run again")
    observed = worker.artifacts.manifest(details["predictions"])
    base = load_predictions(worker.artifacts.folder(details["base"])) if "base" in details else None
    predictions = load_predictions(worker.artifacts.folder(details["predictions"]))
    answered = {
        "target": details["target"],
        "device": observed["device"],
        "dataset_key": observed["dataset"],
        "evidence_key": details["predictions"],
    }
    failed: dict[str, str] = {}
    judged = compute(predictions, base=base, failed=failed)
    measures = {spec.name: {**_figures(estimate), **answered} for spec, estimate in judged}
    save_values({spec.name: estimate.rows for spec, estimate in judged if estimate.rows is not None}, folder)
    for spec, estimate in compute(_files(worker, job), failed=failed):
        place = {"target": details["target"], "device": device_id()} if spec.runtime else {"target": "", "device": ""}
        measures[spec.name] = {
            **_figures(estimate),
            **place,
            "dataset_key": "",
            "evidence_key": details["file"],
        }
    machines = {**observed.get("machines", {}), device_id(): device()}
    return {"measures": measures, "machines": machines, **({"failed": failed} if failed else {})}


def _figures(estimate: Estimate) -> dict[str, float | None]:
    return {"value": estimate.value, "low": estimate.low, "high": estimate.high, "count": estimate.count}


def _files(worker: Worker, job: Job) -> ModelFiles:
    from ops.onnx_graph.macs import count_macs

    details = job.details
    deployed = worker.artifacts.folder(details["file"]) / ONNX_FILE
    target = open_target(worker.workplace.targets[details["target"]])
    opened = deployed if target.accepts is Format.ONNX else worker.artifacts.folder(job.model)
    layers = load_layers(worker.artifacts.folder(details["layers"]))
    return ModelFiles(
        file=deployed,
        layers=tuple(asdict(layer) for layer in layers),
        macs=sum(layer.macs for layer in count_macs(deployed)),
        kernels=target.kernels(opened),
    )
