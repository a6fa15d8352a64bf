"""Observe a model's tensors."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline.engine.jobs import Job
from pipeline.engine.stage import NoParameters, Planning, Recording, Stage, register
from pipeline.layers.records_file import DISTRIBUTIONS, load_layers, load_records, save_layers, save_records
from pipeline.layers.stats.describe import statistics
from pipeline.store.records.run_records import Distribution, Layer

if TYPE_CHECKING:
    from pipeline.engine.worker import Worker


class LayersStage(Stage[NoParameters]):
    """Statistics and distributions of all tensors of every model."""

    name, version, params = "layers", 8, NoParameters

    def jobs(self, planning: Planning) -> Iterator[Job[NoParameters]]:
        """One job per model."""
        for step in planning.plan.steps:
            yield Job(self.key(step.key), self.name, step.path, step.key, (step.key,), NoParameters())

    def make(self, worker: Worker, job: Job[NoParameters], folder: Path, scratch: Path) -> dict[str, Any]:
        """Write layers.json and the distributions of all tensors."""
        layers, distributions = statistics(worker.artifacts.folder(job.model), job.model)
        save_layers(layers, folder)
        save_records(distributions, folder / DISTRIBUTIONS)
        return {}

    def records(self, job: Job[NoParameters], recording: Recording) -> Iterator[Layer | Distribution]:
        """All tensors, and how their values are distributed."""
        folder = recording.artifacts.folder(job.key)
        yield from load_layers(folder)
        yield from load_records(Distribution, folder / DISTRIBUTIONS)


LAYERS = register(LayersStage())
