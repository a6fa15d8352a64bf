"""Observe where a model's time goes: the time of every layer on one target, from a profiled run of its own."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from ops.onnx_graph.layers import fixed_length
from pipeline.core.environment import device_id
from pipeline.layers.records_file import TIMES, save_records
from pipeline.layers.stats.onnx_profile import layer_times
from pipeline.measure.timing.inputs import batches
from pipeline.models.storage import ONNX_FILE
from pipeline.targets.api import Profiler
from pipeline.targets.open import open_target

if TYPE_CHECKING:
    from pipeline.engine.jobs import Job
    from pipeline.engine.worker import Worker


def make(worker: Worker, job: Job, folder: Path, scratch: Path) -> dict[str, Any]:
    """Write the times of the layers for the first instance of the evaluation split, on one thread."""
    import onnx

    target = open_target(worker.workplace.targets[job.details["target"]])
    assert isinstance(target, Profiler)  # planned for no other
    batch = next(iter(worker.dataset.batches("evaluation", batch_size=1, samples=1)))
    first = {name: array[:1] for name, array in batch.inputs.items()}  # a question may come as several rows
    file = worker.artifacts.folder(job.details["source"]) / ONNX_FILE
    padded = fixed_length(onnx.load(file, load_external_data=False)) is not None
    inputs = batches(first, list(first), 1, padded=padded)[0]
    found = layer_times(file, target, inputs, scratch, model=job.model, threads=1, device=device_id())
    save_records(found, folder / TIMES)
    return {"target": target.describe()}
