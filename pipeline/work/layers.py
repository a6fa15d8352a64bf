"""Observe a model's tensors."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline.evidence import save_layers
from pipeline.layers.describing import statistics
from pipeline.layers.files import DISTRIBUTIONS, save_records

if TYPE_CHECKING:
    from pipeline.jobs import Job
    from pipeline.worker import Worker


def make(worker: Worker, job: Job, folder: Path, scratch: Path) -> dict[str, Any]:
    """Write layers.json and the distributions of all tensors."""
    layers, distributions = statistics(worker.artifacts.path(job.model), job.model)
    save_layers(layers, folder)
    save_records(distributions, folder / DISTRIBUTIONS)
    return {}
