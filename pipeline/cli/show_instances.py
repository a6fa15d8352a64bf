"""Instances of a data set by id, for the viewer: ids come in on standard input, JSON goes out, line by line."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from pathlib import Path

from ops.core.tasks.task import TASKS
from pipeline.datasets.api import DataError, Dataset
from pipeline.store.errors import StoreError
from pipeline.store.reader import open_results
from pipeline.sweep.known_data import recall

__all__ = ["answer", "open_known"]


def open_known(results: Path, dataset_key: str) -> Dataset:
    """Open the data set that some results were evaluated on, as a run of this person's has opened it.

    What the results say of it is not used: they may be somebody else's.

    Raises:
        StoreError: if the results cannot be read, or do not know the data set.
        DataError: if no run of this person's has opened the data, or they cannot be opened, or are not the same any more.
        ConfigError: if a plug-in of that run cannot be imported.
    """
    from pipeline.core.plugins import load_plugins
    from pipeline.datasets.open import open_dataset

    with open_results(results) as db:
        names = db.execute("SELECT dataset FROM datasets WHERE dataset_key = ?", [dataset_key]).fetchall()
    if not names:
        raise StoreError(f"{results} knows no data set {dataset_key[:12]}")
    present = recall(dataset_key)
    if present is None:
        raise DataError(
            f"no run of yours has opened the data set '{names[0][0]}', and results alone never have data opened. If you have "
            "it, plan a recipe with it once: python -m pipeline recipe=NAME dataset=NAME plan_only=true"
        )
    load_plugins(present.plugins)
    data = open_dataset(present.entry, present.folder)
    if data.fingerprint != dataset_key:
        raise DataError(
            f"Data set '{data.name}' is not what it was when the models were evaluated: its files have changed"
        )
    return data


def answer(data: Dataset, lines: Iterable[str]) -> Iterator[str]:
    """Yield one line of JSON for each line that names an instance; what cannot be shown gives {"problem": ...}."""
    task = TASKS[data.task]
    for line in lines:
        name = json.loads(line)
        try:
            yield json.dumps(task.show(data.show(str(name))))
        except (DataError, LookupError, OSError, ValueError) as error:
            yield json.dumps({"problem": str(error)})
