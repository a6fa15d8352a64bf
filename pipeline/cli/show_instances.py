"""Instances of a data set by id, for the viewer: ids come in on standard input, JSON goes out, line by line."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from pipeline.datasets.api import DataError, Dataset
from pipeline.store.errors import StoreError
from pipeline.store.reader import open_results

__all__ = ["answer", "open_recorded"]


def open_recorded(results: Path, dataset_key: str) -> Dataset:
    """Open the data set that some results were evaluated on, as it is recorded there.

    Raises:
        StoreError: if the results cannot be read, or do not know the data set.
        DataError: if the data cannot be opened, or are not the same any more.
    """
    from pipeline.datasets.open import open_dataset

    with open_results(results) as db:
        found = db.execute("SELECT entry FROM datasets WHERE dataset_key = ?", [dataset_key]).fetchall()
        folders = db.execute("SELECT config->>'data_folder' FROM runs ORDER BY started_at DESC LIMIT 1").fetchall()
        plugins = db.execute("SELECT config->'plugins' FROM runs ORDER BY started_at DESC LIMIT 1").fetchall()
    if not found:
        raise StoreError(f"{results} knows no data set {dataset_key[:12]}")
    _load_plugins(plugins)
    folder = Path(folders[0][0] if folders and folders[0][0] else "~/.cache/bouillon/data")
    data = open_dataset(json.loads(found[0][0]), folder)
    if data.fingerprint != dataset_key:
        raise DataError(
            f"Data set '{data.name}' is not what it was when the models were evaluated: its files have changed"
        )
    return data


def _load_plugins(rows: list[Any]) -> None:
    import importlib

    for name in json.loads(rows[0][0] or "[]") if rows and rows[0][0] else ():
        importlib.import_module(name)


def answer(data: Dataset, lines: Iterable[str]) -> Iterator[str]:
    """Yield one line of JSON for each line that names an instance; what cannot be shown gives {"problem": ...}."""
    for line in lines:
        name = json.loads(line)
        try:
            yield json.dumps(_plain(data.show(str(name))))
        except (DataError, LookupError, OSError, ValueError) as error:
            yield json.dumps({"problem": str(error)})


def _plain(shown: Mapping[str, Any]) -> dict[str, Any]:
    return {
        name: base64.b64encode(value).decode() if isinstance(value, bytes) else value if name == "image" else str(value)
        for name, value in shown.items()
    }
