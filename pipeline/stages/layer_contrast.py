"""Run two models on two sets of instances, and compare what their layers give on the one with what they give on the other."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

import numpy as np

from ops.core.operation import Batch, Format, TorchModel
from pipeline.core.artifacts import ArtifactStore
from pipeline.datasets.splits import SplitDataset
from pipeline.layers.compare.contrast import FEWEST, InstanceSets, LayerContrast, LayerSums, contrasts, sums_of
from pipeline.layers.stats.activation_sampling import SiteSample
from pipeline.layers.stats.onnx_activations import onnx_activations
from pipeline.layers.tensors.bn_folds import folds_of
from pipeline.layers.tensors.tensor import LayerError
from pipeline.models import storage
from pipeline.stages.layer_sources import Sources, activation_scene
from pipeline.store.records.columns import Int32
from pipeline.store.write.own_table import own_table

if TYPE_CHECKING:
    from pipeline.datasets.api import Dataset

__all__ = ["LayerContrastRecord", "contrast_layers"]

_BATCH = 8


@own_table("layer_contrast", model_key="model", reference_key="model")
@dataclass(frozen=True, slots=True)
class LayerContrastRecord:
    """What a layer changed by on some instances and on others."""

    model_key: Annotated[str, "The model that is judged; both sets were run through it."]
    reference_key: Annotated[str, "The model whose outputs are the reference."]
    contrast: Annotated[str, "Digest of the two models and of the two sets of instances."]
    stage: Annotated[str, "`torch`: the network; `onnx`: its file."]
    site: Annotated[str, "The layer."]
    position: Annotated[Int32, "Place of the layer, in the order in which the model computes."]
    changed: Annotated[float, "Relative change of its outputs on the first set."]
    same: Annotated[float, "Relative change of its outputs on the second set."]
    ratio: Annotated[float, "The first over the second."]
    low: Annotated[float, "Lower end of the ratio's 95 % interval."]
    high: Annotated[float, "Upper end."]
    p: Annotated[float, "P value that the ratio is 1, corrected for the number of layers."]
    instances_changed: Annotated[Int32, "Instances of the first set that were run."]
    instances_same: Annotated[Int32, "Instances of the second set that were run."]


def contrast_layers(
    artifacts: ArtifactStore,
    pair: tuple[Sources, Sources],
    data: Dataset,
    sets: InstanceSets,
    progress: Callable[[int, int], None] | None = None,
) -> tuple[list[LayerContrast], tuple[int, int]]:
    """Return what every layer that both models have changed by on both sets, and how many instances of each were run.

    Args:
        artifacts: where the models are.
        pair: the model and its reference.
        data: the data set that the instances are of.
        sets: the instances; a sample of large sets is run.
        progress: called with how many batches of both models are done, and their number.

    Raises:
        LayerError: if a model's files are gone, or the data lack the instances.
        ModelError: if a model cannot be loaded.
    """
    for sources in pair:
        if sources.model not in artifacts:
            place = artifacts.path(sources.model)
            raise LayerError(f"The model's files are gone: there is no {place}. Run the recipe again to make them")
    sample = sets.sample()
    batches = list(_batches_of(data, [*sample.changed, *sample.same]))
    ids = [name for batch in batches for name in batch.ids]
    names = list(dict.fromkeys(ids))
    is_changed = np.isin(names, sample.changed)
    counts = int(is_changed.sum()), int((~is_changed).sum())
    if min(counts) < FEWEST:
        raise LayerError(
            f"Data set '{data.name}' has only {counts[0]} and {counts[1]} of the instances that are compared"
        )
    steps = _Steps(batches, progress)
    new, old = (_samples(artifacts, sources, steps, len(ids)) for sources in pair)
    number = {name: at for at, name in enumerate(names)}
    instance = np.array([number[name] for name in ids])
    layers = list(_paired(new, old, instance, len(names)))
    return contrasts(layers, is_changed), counts


class _Steps:
    """The same batches for one model after the other, told as they go."""

    def __init__(self, batches: Sequence[Batch], progress: Callable[[int, int], None] | None) -> None:
        self._batches, self._progress, self._done = batches, progress, 0

    def __iter__(self) -> Iterator[Batch]:
        for batch in self._batches:
            yield Batch(batch.ids, batch.inputs, {})
            self._done += 1
            if self._progress:
                self._progress(self._done, 2 * len(self._batches))


def _batches_of(data: Dataset, ids: Sequence[str]) -> Iterator[Batch]:
    if isinstance(data, SplitDataset):
        yield from data.batches_of(ids, batch_size=_BATCH)
        return
    id_set = set(ids)
    for batch in data.batches("evaluation", batch_size=_BATCH):
        rows = np.flatnonzero([name in id_set for name in batch.ids])
        if rows.size:
            names = tuple(batch.ids[row] for row in rows)
            yield Batch(names, {name: array[rows] for name, array in batch.inputs.items()}, {})


def _samples(artifacts: ArtifactStore, sources: Sources, batches: _Steps, rows: int) -> list[SiteSample]:
    """What every layer gave to each row: of the network, where the model is one, else of its file."""
    from pipeline.layers.stats.torch_activations import torch_activations

    folder = artifacts.folder(sources.model)
    scene = activation_scene(artifacts, sources, rows, apart=True)
    if storage.format_of(folder) is Format.TORCH:
        network = storage.load(folder)
        assert isinstance(network, TorchModel)
        return torch_activations(network, batches, scene)
    has_export = sources.export is not None and sources.export in artifacts
    folds = folds_of(artifacts.folder(sources.export) / storage.ONNX_FILE) if has_export and sources.export else {}
    return onnx_activations(folder / storage.ONNX_FILE, batches, scene, folds)


def _paired(
    new: Sequence[SiteSample], old: Sequence[SiteSample], instance: np.ndarray, count: int
) -> Iterator[LayerSums]:
    """Layers that both models have; one that did not see every row is left out."""
    there = {sample.site: sample for sample in old}
    for sample in new:
        other = there.get(sample.site)
        if other is None or not len(sample.values) == len(other.values) == len(instance):
            continue
        if not (sample.present & other.present).any():
            continue
        change, reference = sums_of((sample.values, sample.present), (other.values, other.present), instance, count)
        yield LayerSums(sample.site, sample.stage, sample.position, change, reference)
