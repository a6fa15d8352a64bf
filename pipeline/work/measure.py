"""Compute every registered metric that a model's evidence allows. Timings have their own session at the end of a run."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ops.api import Format
from pipeline.evidence import load_layers, load_predictions
from pipeline.formats import ONNX_FILE
from pipeline.metrics.api import ModelFiles
from pipeline.metrics.compute import compute
from pipeline.targets.open import open_target

if TYPE_CHECKING:
    from pipeline.jobs import Job
    from pipeline.worker import Worker


def make(worker: Worker, job: Job, folder: Path, scratch: Path) -> dict[str, Any]:
    """Return the measures: metric name -> value, interval, count, and the key of the evidence it came from."""
    details = job.details
    base = load_predictions(worker.artifacts.path(details["base"])) if "base" in details else None
    predictions = load_predictions(worker.artifacts.path(details["predictions"]))
    found = {
        spec.name: {**asdict(estimate), "evidence": details["predictions"]}
        for spec, estimate in compute(predictions, base=base)
    }
    found |= {
        spec.name: {**asdict(estimate), "evidence": details["file"]} for spec, estimate in compute(_files(worker, job))
    }
    return {"target": details["target"], "measures": found}


def _files(worker: Worker, job: Job) -> ModelFiles:
    from ops.onnx_macs import count_macs

    details = job.details
    deployed = worker.artifacts.path(details["file"]) / ONNX_FILE
    target = open_target(worker.workplace.targets[details["target"]])
    opened = deployed if target.accepts is Format.ONNX else worker.artifacts.path(job.model)
    layers = load_layers(worker.artifacts.path(details["layers"]))
    return ModelFiles(
        file=deployed,
        layers=tuple(asdict(layer) for layer in layers),
        macs=sum(layer.macs for layer in count_macs(deployed)),
        kernels=target.kernels(opened),
    )
