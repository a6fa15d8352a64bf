"""From a conf/dataset entry to an open data set."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from ops.params import explain, params_model
from ops.registry import UnknownNameError
from pipeline.datasets.api import DATASETS, DataError, Dataset

RESERVED = ("name", "dataset")
"""Keys of a conf/dataset entry that are not parameters of its data set."""
_MISSING = "???"


def check_entry(entry: Mapping[str, Any]) -> dict[str, Any]:
    """Return the checked parameters of an entry. Nothing is opened.

    Raises:
        DataError: for an unknown data set or parameter (with the nearest name), or a value of the wrong type or range.
    """
    name = entry.get("name", "?")
    if "dataset" not in entry:
        raise DataError(f"Data set '{name}': no `dataset` is given. Known: {', '.join(DATASETS)}")
    try:
        factory = DATASETS[entry["dataset"]]
    except UnknownNameError as error:
        raise DataError(f"Data set '{name}': {error}") from None
    given = {key: value for key, value in entry.items() if key not in RESERVED}
    unset = [key for key, value in given.items() if value == _MISSING]
    if unset:
        raise DataError(f"Data set '{name}': '{unset[0]}' must be set, e.g. dataset.{unset[0]}=... on the command line")
    params = params_model(factory, skip=1)
    try:
        checked = params.model_validate(given)
    except ValidationError as error:
        raise DataError(f"Data set '{name}': {explain(error, params)}") from None
    return {key: getattr(checked, key) for key in params.model_fields}


def open_dataset(entry: Mapping[str, Any], folder: Path) -> Dataset:
    """Open a conf/dataset entry; `folder` is the cache folder of data files.

    Files are found, fetched and checked here, and the fingerprint is known afterwards; instances are read when asked for.

    Raises:
        DataError: naming the entry, and the parameter or the file, the problem and what to do.
    """
    parameters = check_entry(entry)
    name = entry.get("name", entry["dataset"])
    try:
        opened = DATASETS[entry["dataset"]](folder.expanduser(), **parameters)
    except DataError as error:
        raise DataError(f"Data set '{name}': {error}") from None
    opened.name = name
    return opened
