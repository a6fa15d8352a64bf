"""Observe a model's tensors."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline.layers.records_file import DISTRIBUTIONS, save_layers, save_records
from pipeline.layers.stats.describe import statistics

if TYPE_CHECKING:
    from pipeline.engine.jobs import Job
    from pipeline.engine.worker import Worker


def make(worker: Worker, job: Job, folder: Path, scratch: Path) -> dict[str, Any]:
    """Write layers.json and the distributions of all tensors."""
    layers, distributions = statistics(worker.artifacts.folder(job.model), job.model)
    save_layers(layers, folder)
    save_records(distributions, folder / DISTRIBUTIONS)
    return {}
