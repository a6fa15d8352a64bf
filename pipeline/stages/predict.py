"""Observe what a model answers on a target: the evaluation split, with the options that timing uses too."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from ops.core.operation import Format
from pipeline.core.environment import device_id
from pipeline.measure.evaluate import SERVED_BATCH, depends_on_batch, predict
from pipeline.measure.predictions import save_predictions
from pipeline.models.storage import ONNX_FILE, load_architecture
from pipeline.targets.open import open_target

if TYPE_CHECKING:
    from pipeline.engine.jobs import Job
    from pipeline.engine.worker import Worker


def make(worker: Worker, job: Job, folder: Path, scratch: Path) -> dict[str, Any]:
    """Write the predictions of one model on one target."""
    workplace = worker.workplace
    target = open_target(workplace.targets[job.details["target"]])
    source = worker.artifacts.folder(job.details["source"])
    file = source / ONNX_FILE if target.accepts is Format.ONNX else source
    kinds = load_architecture(source).output_kinds
    with target.open(file, threads=workplace.threads) as session:
        size = SERVED_BATCH if depends_on_batch(file) else workplace.batch_size
        predictions = predict(session, worker.dataset, batch_size=size, output_kinds=kinds)
    save_predictions(predictions, folder)
    return {
        "output_kinds": dict(kinds),
        "target": target.describe(),
        "dataset": worker.dataset.fingerprint,
        "device": device_id(),
        "batch_size": size,
    }
