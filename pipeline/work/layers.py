"""Observe a model's tensors."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline.evidence import save_layers
from pipeline.layers import layers_of

if TYPE_CHECKING:
    from pipeline.jobs import Job
    from pipeline.worker import Worker


def make(worker: Worker, job: Job, folder: Path, scratch: Path) -> dict[str, Any]:
    """Write layers.json."""
    save_layers(layers_of(worker.artifacts.path(job.model), job.model), folder)
    return {}
