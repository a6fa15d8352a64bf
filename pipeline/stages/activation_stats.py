"""Observe what a model's layers give for a fixed sample of the evaluation split."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ops.core.operation import Format, TorchModel
from pipeline.layers.records_file import DISTRIBUTIONS, SAMPLES, save_records
from pipeline.layers.stats.activation_sampling import Scene, SiteSample, save_samples
from pipeline.layers.stats.describe import activation_records
from pipeline.layers.stats.onnx_activations import onnx_activations
from pipeline.layers.stats.torch_activations import torch_activations
from pipeline.layers.tensors.bn_folds import folds_of
from pipeline.layers.tensors.edits import follow
from pipeline.layers.tensors.open import tensors_of
from pipeline.models import storage
from pipeline.stages.layer_sources import Sources, kept_channels, origin_folder, original_shapes

if TYPE_CHECKING:
    from ops.core.operation import Batch
    from pipeline.engine.jobs import Job
    from pipeline.engine.worker import Worker

INSTANCES = 32
_BATCH = 8
"""Small: ONNX Runtime holds all layers' outputs of one batch."""


def make(worker: Worker, job: Job, folder: Path, scratch: Path) -> dict[str, Any]:
    """Write distributions and samples of the layers' outputs, of the network and of its file."""
    artifacts, sources = worker.artifacts, Sources(**job.details["sources"])
    model = artifacts.folder(sources.model)
    origin = origin_folder(artifacts, sources)
    edited = follow(storage.load_edits(origin) if origin else ())
    modules = storage.load_structure(origin)["modules"] if origin else {}
    kept = kept_channels(edited, original_shapes(artifacts, sources.root), modules)
    scene = Scene(INSTANCES, kept, edited.renamed)
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
    shapes = {tensor.name: tensor.shape for tensor in tensors_of(model)}
    save_records(activation_records(sources.model, samples, shapes, INSTANCES, folds), folder / DISTRIBUTIONS)
    save_samples({f"{sample.stage}|{sample.site}": sample for sample in samples}, folder / SAMPLES)
    return {"instances": INSTANCES}


def _batches(worker: Worker) -> Iterator[Batch]:
    """The first rows of a fixed shuffle of the evaluation split: the same for every model."""
    from ops.core.operation import Batch

    left = INSTANCES
    for batch in worker.dataset.batches("evaluation", batch_size=_BATCH, samples=INSTANCES):
        rows = slice(0, left)  # a question may come as several rows
        yield Batch(batch.ids[rows], {name: array[rows] for name, array in batch.inputs.items()}, {})
        left -= len(batch)
        if left <= 0:
            return
