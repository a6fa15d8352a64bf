"""From a conf/dataset entry to an open data set."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from pydantic_core import to_jsonable_python

from ops.core.registry import nearest
from ops.core.tasks.task import TASKS
from pipeline.core.config_entry import EntryKind
from pipeline.core.keys import digest
from pipeline.core.user_code import code_of_definition, edited
from pipeline.datasets.api import DATASETS, DataError, Dataset, DatasetFactory
from pipeline.datasets.array_cache import derived_arrays
from pipeline.datasets.errors import errors_named
from pipeline.datasets.interface import Interface
from pipeline.datasets.reserve import ENOUGH, Reserve, Reserved, default_reserve
from pipeline.datasets.splits import SplitDataset

_KIND = EntryKind("Data set", "dataset", "dataset", DATASETS, ("name", "dataset"), DataError)
_CONFIRMATION = "confirmation"
"""Key of every entry: `pipeline.datasets.reserve.Reserved`."""


def check_dataset_entry(entry: Mapping[str, Any]) -> dict[str, Any]:
    """Return the checked parameters of an entry. Nothing is opened.

    Raises:
        DataError: for an unknown data set or parameter (with the nearest name), or a value of the wrong type or range.
    """
    _, checked = _KIND.check(entry, _signature)
    return {key: getattr(checked, key) for key in type(checked).model_fields}


def open_dataset(entry: Mapping[str, Any], folder: Path) -> Dataset:
    """Open a conf/dataset entry; `folder` is the cache folder of data files.

    Files are found, fetched and checked here, and the fingerprint is known afterwards; instances are read when asked for.
    The fingerprint of a person's own data set, or of data for a person's own task, covers its code, its parameters and its
    interface, whatever it says itself.

    Raises:
        DataError: naming the entry, and the parameter or the file, the problem and what to do.
    """
    parameters = check_dataset_entry(entry)
    size = parameters.pop(_CONFIRMATION)
    name = entry.get("name", entry["dataset"])
    factory = DATASETS[entry["dataset"]]
    with errors_named(name):
        data = factory(folder.expanduser(), **parameters)
        data.name = name
        code = code_of_definition(factory)
        if code is not None and edited(factory.__module__):
            raise DataError("its code was edited after this process had imported it; run again")
        task_code = _code_of_task(data.task)
        if code is not None or task_code is not None:
            data.fingerprint = _whole_fingerprint(data, code, parameters)
        _set_aside(data, size, parameters, folder.expanduser())
    return data


def _signature(factory: DatasetFactory) -> DatasetFactory:
    """Return the signature of an entry: the parameters of its data set, and the size of the confirmation split."""
    own = inspect.signature(factory)
    size = inspect.Parameter(_CONFIRMATION, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=Reserved)
    others = [each for each in own.parameters.values() if each.name != _CONFIRMATION]

    @functools.wraps(factory)  # names in its annotations are those of its module
    def declared(*arguments: Any, **words: Any) -> Dataset:
        return factory(*arguments, **words)

    declared.__signature__ = own.replace(parameters=[*others, size])  # type: ignore[attr-defined]
    return declared


def _set_aside(data: Dataset, size: Reserved, parameters: Mapping[str, Any], folder: Path) -> None:
    """Take what is kept for confirmation out of the evaluation split; where nothing is, the data set stays what it was.

    Raises:
        DataError: if a person asks for some of a data set that has no splits of ours.
    """
    if size == 0:
        return
    if not isinstance(data, SplitDataset):
        if size is not None:
            raise DataError(
                "confirmation: only a data set that is a `SplitDataset` can set instances aside; leave it out"
            )
        return
    reserve = _default(data, parameters, folder) if size is None else Reserve(size)
    if reserve is not None:
        data.reserve, data.fingerprint = reserve, reserve.fingerprint(data.fingerprint)
        data.change_instances(reserve.remainder)


def _default(data: SplitDataset, parameters: Mapping[str, Any], folder: Path) -> Reserve | None:
    """Return the reserve of a data set of this size, which is counted once and noted beside its files."""
    most = parameters.get("evaluation")
    if isinstance(most, int) and most < ENOUGH:
        return None
    size = derived_arrays(
        folder,
        f"evaluated-{data.fingerprint[:32]}",
        lambda: {"count": np.array([data.size("evaluation")], np.int64)},
    )
    return default_reserve(int(size["count"][0]))


def _code_of_task(name: str) -> str | None:
    """Digest of the code of a person's own task; None for ours.

    Raises:
        DataError: if there is no such task, or it was edited after this process had imported it.
    """
    if name not in TASKS:
        raise DataError(f"no task is called '{name}'.{nearest(name, TASKS)} Known: {', '.join(TASKS)}")
    code = code_of_definition(TASKS[name])
    if code is not None and edited(type(TASKS[name]).__module__):
        raise DataError(f"the code of its task '{name}' was edited after this process had imported it; run again")
    return code


def _whole_fingerprint(data: Dataset, code: str | None, parameters: Mapping[str, Any]) -> str:
    return digest(
        {
            "what": "dataset of a plug-in",
            "fingerprint": data.fingerprint,
            "code": code,
            "parameters": to_jsonable_python(parameters),
            "interface": Interface.of(data).plain(),
        }
    )
