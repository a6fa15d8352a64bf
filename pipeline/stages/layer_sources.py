"""Sources of a comparison: keys of artifacts, as jobs and the command line name them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ops.core.operation import Format
from pipeline.core.artifacts import ArtifactStore
from pipeline.core.keys import Key
from pipeline.layers.compare.models import Side, summaries
from pipeline.layers.records_file import DISTRIBUTIONS, SAMPLES, load_records
from pipeline.layers.stats.activation_sampling import Scene, load_samples
from pipeline.layers.tensors.bn_folds import folds_of
from pipeline.layers.tensors.constant_gathers import Lookup, lookups_of
from pipeline.layers.tensors.edits import Edited, follow
from pipeline.layers.tensors.open import tensors_of
from pipeline.layers.tensors.tensor import LayerError
from pipeline.models import storage
from pipeline.store.records.run_records import Distribution

__all__ = ["Sources", "activation_scene", "open_side", "origin_folder"]


def open_side(artifacts: ArtifactStore, sources: Sources) -> Side:
    """Return what a comparison needs of a model.

    Raises:
        LayerError: if the model's files are gone; missing evidence only leaves its part out.
        DamagedArtifactError: if files are not what was written.
    """
    if sources.model not in artifacts:
        place = artifacts.path(sources.model)
        raise LayerError(f"The model's files are gone: there is no {place}. Run the recipe again to make them")
    folder = artifacts.folder(sources.model)
    origin = origin_folder(artifacts, sources)
    folds: dict[str, str] = {}
    lookups: dict[str, Lookup] = {}
    if storage.format_of(folder) is Format.ONNX and sources.export is not None and sources.export in artifacts:
        export = artifacts.folder(sources.export) / storage.ONNX_FILE
        folds, lookups = folds_of(export), lookups_of(export)
    layers, activations = (
        artifacts.folder(key) if key in artifacts else artifacts.path(key)
        for key in (sources.layers, sources.activations)
    )
    distributions = load_records(Distribution, layers / DISTRIBUTIONS)
    distributions += load_records(Distribution, activations / DISTRIBUTIONS)
    samples = activations / SAMPLES
    return Side(
        key=sources.model,
        folder=folder,
        edits=storage.load_edits(origin) if origin else (),
        original=original_shapes(artifacts, sources.root),
        eps=storage.load_structure(origin)["eps"] if origin else {},
        folds=folds,
        lookups=lookups,
        distributions=summaries(distributions),
        samples=load_samples(samples) if samples.exists() else {},
    )


def original_shapes(artifacts: ArtifactStore, root: Key) -> dict[str, tuple[int, ...]]:
    """Return the shapes of the root's tensors, which narrowed layers are numbered by; nothing if it is gone."""
    if root not in artifacts:
        return {}
    return {tensor.name: tensor.shape for tensor in tensors_of(artifacts.folder(root))}


def activation_scene(artifacts: ArtifactStore, sources: Sources, rows: int, *, apart: bool = False) -> Scene:
    """Return how a model's layers are observed, so that what is left of a narrowed layer is found in any other model's.

    Args:
        artifacts: where the models are.
        sources: the model's.
        rows: how many rows of input it will see.
        apart: keep the values of every row by itself.
    """
    origin = origin_folder(artifacts, sources)
    edited = follow(storage.load_edits(origin) if origin else ())
    modules = storage.load_structure(origin)["modules"] if origin else {}
    channels = _kept_channels(edited, original_shapes(artifacts, sources.root), modules)
    return Scene(rows, channels, edited.renamed, apart)


def _kept_channels(
    edited: Edited, original: Mapping[str, tuple[int, ...]], modules: Mapping[str, str]
) -> dict[str, tuple[np.ndarray, int]]:
    """Return, per narrowed layer, the output channels that are left and the original number of them.

    Args:
        edited: the sum of the model's edits.
        original: tensor -> shape in the network without edits.
        modules: path -> class of the network's modules.
    """
    channels = {}
    for (layer, side), places in edited.channels.items():
        name = edited.renamed.get(layer, layer)
        shape = original.get(f"{name}.weight")
        if side == "out" and shape is not None:
            second = "Embedding" in modules.get(layer, "") or layer in edited.turned
            channels[name] = places, shape[1] if second else shape[0]
    return channels


def origin_folder(artifacts: ArtifactStore, sources: Sources) -> Path | None:
    """Return the folder of the nearest torch model, if it is there."""
    if sources.origin not in artifacts:
        return None
    folder = artifacts.folder(sources.origin)
    return folder if storage.format_of(folder) is Format.TORCH else None


@dataclass(frozen=True, slots=True)
class Sources:
    """Keys of the artifacts that one model's layers are known from."""

    model: Key
    root: Key
    layers: Key
    activations: Key
    origin: Key
    """The nearest torch model: itself, or the ancestor that an ONNX file was exported from."""
    export: Key | None
    """The ONNX export of `origin`."""

    def files(self) -> tuple[Key, ...]:
        """Return the artifacts whose files are read: models and exports, each once."""
        files = (self.model, self.root, self.origin, *([self.export] if self.export else []))
        return tuple(dict.fromkeys(files))

    def evidence(self) -> tuple[Key, ...]:
        """Return the model and what was observed of its layers."""
        return (self.model, self.layers, self.activations)
