"""Observe what a model's layers give for a fixed sample of the evaluation split."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ops.core.operation import Format, TorchModel
from pipeline.core.keys import Key
from pipeline.core.machine.libraries import releases
from pipeline.engine.jobs import Job
from pipeline.engine.stage import Planning, Recording, Stage, register
from pipeline.layers.records_file import DISTRIBUTIONS, SAMPLES, load_records, save_records
from pipeline.layers.stats.activation_sampling import SiteSample, save_samples
from pipeline.layers.stats.describe import activation_records
from pipeline.layers.stats.onnx_activations import onnx_activations
from pipeline.layers.tensors.bn_folds import folds_of
from pipeline.layers.tensors.open import tensors_of
from pipeline.models import storage
from pipeline.stages.layer_sources import Sources, activation_scene
from pipeline.stages.tensor_stats import LAYERS
from pipeline.store.records.run_records import Distribution

if TYPE_CHECKING:
    from ops.core.operation import Batch
    from pipeline.engine.worker import Worker
    from pipeline.plan.steps import Plan, Step

INSTANCES = 32
_BATCH = 8
"""Small: ONNX Runtime holds all layers' outputs of one batch."""


@dataclass(frozen=True, slots=True)
class ActivationParams:
    """Artifacts that a model's activations are known from."""

    sources: Sources


class ActivationsStage(Stage[ActivationParams]):
    """Distributions and samples of the outputs of every model's layers."""

    name, version, params = "activations", 5, ActivationParams
    on_device = True
    needs = ("operation", "export")

    def key_on(
        self, model: Key, *, data: str | None, export: Key | None, arithmetic: Mapping[str, Any] | None = None
    ) -> Key:
        """Return the key of a model's activations.

        Args:
            model: the model.
            data: fingerprint of the data set whose instances are run.
            export: the ONNX export of a torch model; of an ONNX model that of the torch model that it was made from.
            arithmetic: of ONNX models, what integer kernels give here.
        """
        return self.key(model, data=data, export=export, **(arithmetic or {}))

    def _sources(self, step: Step, layers: Key, planning: Planning) -> Sources:
        """Return the keys of the artifacts that a model's layers are known from; `layers` is that of its tensors."""
        plan, origin = planning.plan, step
        while origin.format is not Format.TORCH and origin.parent is not None:
            origin = planning.steps[origin.parent]
        export = planning.exports.get(origin.key)
        arithmetic = _integer_arithmetic(plan) if step.format is Format.ONNX else None
        return Sources(
            model=step.key,
            root=step.root,
            layers=layers,
            activations=self.key_on(step.key, data=plan.facts.data_fingerprint, export=export, arithmetic=arithmetic),
            origin=origin.key,
            export=export,
        )

    def jobs(self, planning: Planning) -> Iterator[Job[ActivationParams]]:
        """One job per model."""
        for layers in planning.jobs_of(LAYERS):
            step = planning.steps[layers.model]
            sources = self._sources(step, layers.key, planning)
            yield Job(sources.activations, self.name, step.path, step.key, sources.files(), ActivationParams(sources))

    def make(self, worker: Worker, job: Job[ActivationParams], folder: Path, scratch: Path) -> dict[str, Any]:
        """Write distributions and samples of the layers' outputs, of the network and of its file."""
        from pipeline.layers.stats.torch_activations import torch_activations

        artifacts, sources = worker.artifacts, job.params.sources
        model = artifacts.folder(sources.model)
        scene = activation_scene(artifacts, sources, INSTANCES)
        samples: list[SiteSample] = []
        file = model / storage.ONNX_FILE
        if storage.format_of(model) is Format.TORCH:
            network = storage.load(model)
            assert isinstance(network, TorchModel)
            samples += torch_activations(network, _batches(worker), scene)
            del network  # one model at a time
            assert sources.export is not None
            file = artifacts.folder(sources.export) / storage.ONNX_FILE
        folds = folds_of(artifacts.folder(sources.export) / storage.ONNX_FILE) if sources.export else {}
        samples += onnx_activations(file, _batches(worker), scene, folds)
        tensors = {tensor.name: tensor for tensor in tensors_of(model)}
        save_records(activation_records(sources.model, samples, tensors, INSTANCES, folds), folder / DISTRIBUTIONS)
        save_samples({f"{sample.stage}|{sample.site}": sample for sample in samples}, folder / SAMPLES)
        return {"instances": INSTANCES}

    def records(self, job: Job[ActivationParams], recording: Recording) -> Iterator[Distribution]:
        """The distributions of all layers' outputs."""
        yield from load_records(Distribution, recording.artifacts.folder(job.key) / DISTRIBUTIONS)


ACTIVATIONS = register(ActivationsStage())


def _integer_arithmetic(plan: Plan) -> dict[str, Any]:
    """The runtime and the processor as far as they decide what integer kernels give, which may saturate."""
    processor = plan.facts.processor
    return {
        "libraries": releases(("onnxruntime",), plan.facts.libraries),
        "device": f"{processor.activations} {'without' if processor.reduce_range else 'with'} VNNI",
    }


def _batches(worker: Worker) -> Iterator[Batch]:
    """The first rows of a fixed shuffle of the evaluation split: the same for every model."""
    from ops.core.operation import Batch

    remaining = INSTANCES
    for batch in worker.dataset.batches("evaluation", batch_size=_BATCH, samples=INSTANCES):
        rows = slice(0, remaining)  # a question may come as several rows
        yield Batch(batch.ids[rows], {name: array[rows] for name, array in batch.inputs.items()}, {})
        remaining -= len(batch)
        if remaining <= 0:
            return
