"""The data sets behind some results, opened as a run of this person's has opened them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from pipeline.store.errors import StoreError
from pipeline.store.reader import open_results
from pipeline.sweep.known_data import allow, recall, refusal

if TYPE_CHECKING:
    from pipeline.datasets.api import Dataset

__all__ = ["allow_known", "open_known"]


def open_known(results: Path, dataset_key: str, *, runs: bool = False) -> Dataset:
    """Open the data set that some results were evaluated on, as a run of this person's has opened it.

    What the results say of it is not used: they may be somebody else's.

    Args:
        results: the results file.
        dataset_key: fingerprint of the data set.
        runs: whether models of these results are to be run on it: then they must be of the person's own.

    Raises:
        StoreError: if the results cannot be read, or do not know the data set.
        DataError: if no run of this person's has opened the data, if the results are not of a run of theirs and they have
            not allowed it, if the data cannot be opened, or are not the same any more.
        PluginError: if a plug-in that they need cannot be imported.
    """
    from pipeline.core.plugins import PluginError, load_plugins
    from pipeline.datasets.api import DataError
    from pipeline.datasets.open import open_dataset

    name, store = _looked_up(results, dataset_key)
    because = refusal(dataset_key, name=name, results=results, store=store, runs=runs)
    present = recall(dataset_key)
    if because is not None or present is None:
        raise DataError(because or f"what is noted of data set '{name}' has just gone")
    absent: PluginError | None = None
    try:
        load_plugins(present.plugins)
    except PluginError as error:  # the newest run that opened the data may have had plug-ins that they do not need
        absent = error
    try:
        data = open_dataset(present.entry, present.folder)
    except (DataError, LookupError):
        if absent is not None:
            raise absent from None
        raise
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
    from pipeline.datasets.api import DataError

    name, store = _looked_up(results, dataset_key)
    data = recall(dataset_key)
    if data is None:
        raise DataError(str(refusal(dataset_key, name=name, results=results, store=store)))
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
