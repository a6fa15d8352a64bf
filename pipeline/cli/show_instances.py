"""Instances of a data set by id, for the viewer: ids come in on standard input, JSON goes out, line by line."""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterable, Iterator
from pathlib import Path

from ops.core.tasks.task import TASKS
from pipeline.datasets.api import DataError, Dataset
from pipeline.store.errors import StoreError
from pipeline.store.reader import open_results
from pipeline.sweep.known_data import KnownData, allow, recall

__all__ = ["allow_known", "answer", "open_known"]


def open_known(results: Path, dataset_key: str) -> Dataset:
    """Open the data set that some results were evaluated on, as a run of this person's has opened it.

    What the results say of it is not used: they may be somebody else's.

    Raises:
        StoreError: if the results cannot be read, or do not know the data set.
        DataError: if no run of this person's has opened the data, if the results are not of a run of theirs and they have
            not allowed it, if the data cannot be opened, or are not the same any more.
        ConfigError: if a plug-in of that run cannot be imported.
    """
    from pipeline.core.plugins import load_plugins
    from pipeline.datasets.open import open_dataset

    name, store = _looked_up(results, dataset_key)
    present = _recalled(name, dataset_key)
    if store not in present.stores:
        raise DataError(
            f"these results come from no run of yours. To have instances of your own data set '{present.entry.get('name', name)}' "
            f"shown beside them, allow it once: python -m pipeline show {dataset_key} --results {shlex.quote(str(results))} "
            "--allow"
        )
    load_plugins(present.plugins)
    data = open_dataset(present.entry, present.folder)
    if data.fingerprint != dataset_key:
        raise DataError(
            f"Data set '{data.name}' is not what it was when the models were evaluated: its files have changed"
        )
    return data


def allow_known(results: Path, dataset_key: str) -> str:
    """Let instances of a data set of the person's own be shown beside some results; return a sentence that says so.

    Raises:
        StoreError: if the results cannot be read, or do not know the data set.
        DataError: if no run of this person's has opened the data.
    """
    name, store = _looked_up(results, dataset_key)
    data = _recalled(name, dataset_key)
    allow(dataset_key, store)
    return f"Instances of your data set '{data.entry.get('name', name)}' are shown beside {results} from now on"


def _looked_up(results: Path, dataset_key: str) -> tuple[str, str]:
    """What the results call a data set, and the identity of their store."""
    with open_results(results) as db:
        names = db.execute("SELECT dataset FROM datasets WHERE dataset_key = ?", [dataset_key]).fetchall()
        ((store,),) = db.execute("SELECT value FROM meta WHERE key = 'store_id'").fetchall()
    if not names:
        raise StoreError(f"{results} knows no data set {dataset_key[:12]}")
    return names[0][0], store


def _recalled(name: str, dataset_key: str) -> KnownData:
    data = recall(dataset_key)
    if data is None:
        raise DataError(
            f"no run of yours has opened the data set '{name}', and results alone never have data opened. If you have "
            "it, plan a recipe with it once: python -m pipeline recipe=NAME dataset=NAME plan_only=true"
        )
    return data


def answer(data: Dataset, lines: Iterable[str]) -> Iterator[str]:
    """Yield one line of JSON for each line that names an instance; what cannot be shown gives {"problem": ...}."""
    task = TASKS[data.task]
    for line in lines:
        try:
            yield json.dumps(task.show(data.show(str(json.loads(line)))))
        except (DataError, LookupError, OSError, ValueError) as error:
            yield json.dumps({"problem": str(error)})
