"""Where what is to be compared lies: keys of artifacts, as jobs and the command line name them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from ops.api import Format
from pipeline import formats
from pipeline.artifacts import ArtifactStore
from pipeline.keys import Key
from pipeline.layers.api import Sources
from pipeline.layers.comparing import Side, summaries
from pipeline.layers.edits import Edited
from pipeline.layers.files import DISTRIBUTIONS, SAMPLES, load_records
from pipeline.layers.folds import folds_of
from pipeline.layers.lookups import Lookup, lookups_of
from pipeline.layers.sampling import load_samples
from pipeline.layers.stored import LayerError
from pipeline.layers.tensors import tensors_of
from pipeline.store.records import Distribution

__all__ = ["kept_channels", "open_side", "origin_folder", "original_shapes"]


def open_side(artifacts: ArtifactStore, sources: Sources) -> Side:
    """Return what a comparison needs of a model.

    Raises:
        LayerError: if the model's files are gone; missing evidence only leaves its part out.
    """
    folder = artifacts.path(sources.model)
    if sources.model not in artifacts:
        raise LayerError(f"The model's files are gone: there is no {folder}. Run the recipe again to make them")
    origin = origin_folder(artifacts, sources)
    folds: dict[str, str] = {}
    lookups: dict[str, Lookup] = {}
    if formats.format_of(folder) is Format.ONNX and sources.export is not None and sources.export in artifacts:
        export = artifacts.path(sources.export) / formats.ONNX_FILE
        folds, lookups = folds_of(export), lookups_of(export)
    known = load_records(Distribution, artifacts.path(sources.layers) / DISTRIBUTIONS)
    known += load_records(Distribution, artifacts.path(sources.activations) / DISTRIBUTIONS)
    samples = artifacts.path(sources.activations) / SAMPLES
    return Side(
        key=sources.model,
        folder=folder,
        edits=formats.load_edits(origin) if origin else (),
        original=original_shapes(artifacts, sources.root),
        eps=formats.load_structure(origin)["eps"] if origin else {},
        folds=folds,
        lookups=lookups,
        known=summaries(known),
        samples=load_samples(samples) if samples.exists() else {},
    )


def original_shapes(artifacts: ArtifactStore, root: Key) -> dict[str, tuple[int, ...]]:
    """Return the shapes of the root's tensors, which narrowed layers are numbered by; nothing if it is gone."""
    if root not in artifacts:
        return {}
    return {tensor.name: tensor.shape for tensor in tensors_of(artifacts.path(root))}


def kept_channels(
    edited: Edited, original: Mapping[str, tuple[int, ...]], modules: Mapping[str, str]
) -> dict[str, tuple[np.ndarray, int]]:
    """Return, per narrowed layer, the output channels that are left and the original number of them.

    `modules` are the classes of the network's modules by path.
    """
    found = {}
    for (layer, side), places in edited.kept.items():
        name = edited.renamed.get(layer, layer)
        shape = original.get(f"{name}.weight")
        if side == "out" and shape is not None:
            found[name] = places, shape[1] if "Embedding" in modules.get(layer, "") else shape[0]
    return found


def origin_folder(artifacts: ArtifactStore, sources: Sources) -> Path | None:
    """Return the folder of the nearest torch model, if it is there."""
    folder = artifacts.path(sources.origin)
    return folder if sources.origin in artifacts and formats.format_of(folder) is Format.TORCH else None
