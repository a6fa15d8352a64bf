"""From what a recipe says of an evaluation set to the set, and to the identity of its content."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pipeline.datasets.api import DataError, Dataset
from pipeline.datasets.evaluation_sets.corrupted import corrupted
from pipeline.datasets.evaluation_sets.other import open_other
from pipeline.datasets.evaluation_sets.slices import slice_key, slice_rows
from pipeline.datasets.splits import SplitDataset

__all__ = ["open_set", "set_identity"]


def open_set(data: Dataset, spec: Mapping[str, Any], folder: Path) -> Dataset:
    """Open a corruption of a data set's evaluation split, or other data.

    Args:
        data: the recipe's data set.
        spec: `pipeline.plan.evaluation_sets.EvaluationSpec.plain`, of no slice.
        folder: the data folder.

    Raises:
        DataError: for an unknown corruption or one that does not go with the data, or other data that do not fit.
    """
    if spec["dataset"]:
        return open_other(data, spec["dataset"], folder)
    if not isinstance(data, SplitDataset):
        raise DataError("only a data set that is a `SplitDataset` can be corrupted")
    return corrupted(data, spec["corruption"], spec["severity"], folder)


def set_identity(data: Dataset, spec: Mapping[str, Any], folder: Path) -> str:
    """Return the identity of a set's content; what has to be made for it is made.

    Args:
        data: the recipe's data set.
        spec: `pipeline.plan.evaluation_sets.EvaluationSpec.plain`.
        folder: the data folder.

    Raises:
        DataError: as `open_set`, and for an unknown attribute or value.
    """
    if spec["slice"]:
        slice_rows(data, spec["slice"], folder)
        return slice_key(data.fingerprint, spec["slice"])
    other = open_set(data, spec, folder)
    other.size("evaluation")
    return other.fingerprint
