"""From a conf/dataset entry to an open data set."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pipeline.core.config_entry import EntryKind
from pipeline.datasets.api import DATASETS, DataError, Dataset
from pipeline.datasets.errors import told

_KIND = EntryKind("Data set", "dataset", "dataset", DATASETS, ("name", "dataset"), DataError)


def check_entry(entry: Mapping[str, Any]) -> dict[str, Any]:
    """Return the checked parameters of an entry. Nothing is opened.

    Raises:
        DataError: for an unknown data set or parameter (with the nearest name), or a value of the wrong type or range.
    """
    _, checked = _KIND.check(entry, lambda factory: factory)
    return {key: getattr(checked, key) for key in type(checked).model_fields}


def open_dataset(entry: Mapping[str, Any], folder: Path) -> Dataset:
    """Open a conf/dataset entry; `folder` is the cache folder of data files.

    Files are found, fetched and checked here, and the fingerprint is known afterwards; instances are read when asked for.

    Raises:
        DataError: naming the entry, and the parameter or the file, the problem and what to do.
    """
    parameters = check_entry(entry)
    name = entry.get("name", entry["dataset"])
    with told(name):
        opened = DATASETS[entry["dataset"]](folder.expanduser(), **parameters)
    opened.name = name
    return opened
