"""Observe where a model's time goes: the time of every layer on one target, from a profiled run of its own."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ops.onnx_graph.layers import fixed_length
from pipeline.core.environment import device_id
from pipeline.engine.jobs import Job
from pipeline.engine.stage import Planning, Recording, Stage, register
from pipeline.layers.records_file import TIMES, load_records, save_records
from pipeline.layers.stats.onnx_profile import layer_times
from pipeline.measure.timing.inputs import batches
from pipeline.models.storage import ONNX_FILE
from pipeline.stages.predict import PREDICT, RunParams
from pipeline.store.records.run_records import LayerTime
from pipeline.targets.api import Profiler
from pipeline.targets.open import open_target

if TYPE_CHECKING:
    from pipeline.engine.worker import Worker


class LayerTimesStage(Stage[RunParams]):
    """The time of every layer of every model, on the targets that can tell it."""

    name, version, params = "layer_times", 2, RunParams
    on_device = True
    needs = ("operation", "export", "predict")

    def jobs(self, planning: Planning) -> Iterator[Job[RunParams]]:
        """One job per model and target that profiles it: of what its predictions run."""
        for run in planning.jobs_of(PREDICT):
            if run.target in planning.plan.facts.profilers:
                key = self.key(
                    run.model,
                    source=run.params.source,
                    target=dict(planning.targets[run.target]),
                    data=planning.plan.facts.data_fingerprint,
                    **planning.place(run.target),
                )
                yield Job(key, self.name, run.path, run.model, run.needs, run.params, run.target)

    def make(self, worker: Worker, job: Job[RunParams], folder: Path, scratch: Path) -> dict[str, Any]:
        """Write the times of the layers for the first instance of the evaluation split, on one thread."""
        import onnx

        target = open_target(worker.workplace.targets[job.target])
        assert isinstance(target, Profiler)  # planned for no other
        batch = next(iter(worker.dataset.batches("evaluation", batch_size=1, samples=1)))
        first = {name: array[:1] for name, array in batch.inputs.items()}  # a question may come as several rows
        file = worker.artifacts.folder(job.params.source) / ONNX_FILE
        padded = fixed_length(onnx.load(file, load_external_data=False)) is not None
        inputs = batches(first, list(first), 1, padded=padded)[0]
        times = layer_times(file, target, inputs, scratch, model=job.model, threads=1, device=device_id())
        save_records(times, folder / TIMES)
        return {"target": target.describe()}

    def records(self, job: Job[RunParams], recording: Recording) -> Iterator[LayerTime]:
        """The time of every layer."""
        yield from load_records(LayerTime, recording.artifacts.folder(job.key) / TIMES)


LAYER_TIMES = register(LayerTimesStage())
