"""Slices of an evaluation split: by attributes that the data have, or by those that need nobody to label them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from ops.core.registry import nearest
from pipeline.core.keys import digest
from pipeline.datasets.api import DataError, Dataset, group_names
from pipeline.datasets.array_cache import derived_arrays

__all__ = ["THIRDS", "natural_attributes", "slice_key", "slice_rows"]

THIRDS = ("low", "middle", "high")
"""Names of the groups of a natural attribute: thirds of the evaluation split."""
_VERSION = 1
_BATCH, _DIGITS = 256, 6


def slice_key(fingerprint: str, conditions: Mapping[str, str]) -> str:
    """Return the identity of a slice of an evaluation split."""
    return digest({"what": "slice", "version": _VERSION, "dataset": fingerprint, "conditions": dict(conditions)})


def natural_attributes(data: Dataset, folder: Path) -> dict[str, tuple[str, ...]]:
    """Return attributes that need no labelling: name -> the third that each evaluation instance is in.

    Of pictures `brightness` and `contrast`, the mean and the standard deviation of what the network is given; of texts
    `length`, the tokens that are no padding. Equal values are in one third, so that thirds may be of unequal size.

    Args:
        data: the data set.
        folder: the data folder, which keeps what is measured.
    """

    def measure() -> dict[str, np.ndarray]:
        values: dict[str, list[np.ndarray]] = {}
        for batch in data.batches("evaluation", batch_size=_BATCH):
            for name, own in _measured(batch.inputs).items():
                values.setdefault(name, []).append(own)
        return {name: np.concatenate(parts) for name, parts in values.items()}

    values = derived_arrays(folder, f"natural-{data.fingerprint[:32]}-{_VERSION}", measure)
    size = data.size("evaluation")
    return {name: _thirds(own) for name, own in values.items() if len(own) == size}


def _measured(inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Attribute -> a number for each instance, float64 (N,)."""
    if "pixel_values" in inputs:
        pictures = inputs["pixel_values"].reshape(len(inputs["pixel_values"]), -1).astype(np.float64)
        # rounded, so that pictures which are equally bright are in one third whatever order a processor adds in
        return {"brightness": pictures.mean(axis=1).round(_DIGITS), "contrast": pictures.std(axis=1).round(_DIGITS)}
    if "attention_mask" in inputs:
        return {"length": inputs["attention_mask"].sum(axis=1).astype(np.float64)}
    return {}


def _thirds(values: np.ndarray) -> tuple[str, ...]:
    low, high = np.quantile(values, [1 / 3, 2 / 3])
    return tuple(np.asarray(THIRDS, object)[(values > low).astype(int) + (values > high)])


def slice_rows(data: Dataset, conditions: Mapping[str, str], folder: Path) -> np.ndarray:
    """Return which evaluation instances a slice has: bool, in their order.

    Args:
        data: the data set.
        conditions: attribute -> the value that its instances have; an attribute of the data goes before a natural one.
        folder: the data folder.

    Raises:
        DataError: for an unknown attribute or value, with the nearest, or if no instance fits.
    """
    attributes: dict[str, tuple[str, ...]] = {**natural_attributes(data, folder), **group_names(data, "evaluation")}
    selection = np.ones(data.size("evaluation"), bool)
    for name, value in conditions.items():
        if name not in attributes:
            known = ", ".join(attributes) or "none"
            raise DataError(f"no attribute is called '{name}'.{nearest(name, attributes)} Known: {known}")
        own = np.array(attributes[name], object)
        values = sorted(set(attributes[name]) - {""})
        if value not in values:
            raise DataError(
                f"no instance has {name} '{value}'.{nearest(value, values)} Known: {', '.join(values[:20])}"
            )
        selection &= own == value
    if not selection.any():
        raise DataError("no instance fits all conditions of the slice")
    return selection
