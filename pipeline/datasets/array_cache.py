"""Arrays made from data files, kept beside them as memory maps, so that the next process opens them in milliseconds."""

from __future__ import annotations

import contextlib
import json
import shutil
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np

_INDEX = "index.json"


def derived_arrays(folder: Path, key: str, make: Callable[[], Mapping[str, np.ndarray]]) -> dict[str, np.ndarray]:
    """Return the arrays that `make` gives for `key`, read-only; made once and kept below `folder`.

    A copy whose files are not as they were written is made again. Where nothing can be written (no permission, disk
    full), the arrays stay in memory.

    Args:
        folder: the data folder; arrays lie in `derived` in it.
        key: names everything that the arrays depend on, and is the folder's name.
        make: computes the arrays, by name; called if there is no sound copy.
    """
    place = folder.expanduser() / "derived" / key
    with contextlib.suppress(OSError, ValueError, KeyError):
        return _load(place)
    arrays = dict(make())
    try:
        _store(arrays, place)
        return _load(place)
    except OSError:
        for array in arrays.values():
            array.flags.writeable = False
        return arrays


def _load(place: Path) -> dict[str, np.ndarray]:
    index = json.loads((place / _INDEX).read_text())
    for name, state in index.items():
        if _state(place / f"{name}.npy") != state:
            raise ValueError(f"{place}: {name}.npy has changed")
    return {name: np.load(place / f"{name}.npy", mmap_mode="r", allow_pickle=False) for name in index}


def _store(arrays: Mapping[str, np.ndarray], place: Path) -> None:
    """Write beside, rename once; a copy that another process made meanwhile is as good."""
    place.parent.mkdir(parents=True, exist_ok=True)
    beside = Path(tempfile.mkdtemp(dir=place.parent, prefix=".tmp-"))
    try:
        for name, array in arrays.items():
            np.save(beside / f"{name}.npy", array, allow_pickle=False)
        index = {name: _state(beside / f"{name}.npy") for name in arrays}
        (beside / _INDEX).write_text(json.dumps(index))
        with contextlib.suppress(OSError, ValueError, KeyError):
            _load(place)
            return
        shutil.rmtree(place, ignore_errors=True)
        beside.rename(place)
    finally:
        shutil.rmtree(beside, ignore_errors=True)


def _state(file: Path) -> list[int]:
    status = file.stat()
    return [status.st_size, status.st_mtime_ns]
