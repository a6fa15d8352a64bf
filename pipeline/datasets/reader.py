"""What reads the instances of a data set, whatever its splits are."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np

__all__ = ["Arrays", "Reader", "RowReader", "targets_at"]

Arrays = Mapping[str, np.ndarray]


def targets_at(targets: np.ndarray | Arrays, rows: np.ndarray) -> Arrays:
    """Return the targets of some rows by name; an array alone holds the numbers of classes, `labels`."""
    if isinstance(targets, Mapping):
        return {name: np.array(values[rows]) for name, values in targets.items()}
    return {"labels": targets[rows].astype(np.int64)}


class Reader(Protocol):
    """Makes a model's inputs of instances; rows count over all splits."""

    def read(self, rows: np.ndarray, noise: np.random.Generator | None) -> tuple[Arrays, Arrays]:
        """Return inputs and targets, one row per instance; `noise` draws the augmentation, None means none."""
        ...

    def show(self, row: int) -> Mapping[str, Any]:
        """Return an instance for a person to see."""
        ...


@runtime_checkable
class RowReader(Reader, Protocol):
    """A reader that says how others can read as it does: programs of packages (`ops.core.programs.reading`)."""

    def write_settings(self, folder: Path) -> dict[str, Any]:
        """Return what such a program must know of the inputs, JSON-ready, with the `fields` of a row; write its files."""
        ...

    def write_row(self, row: int, folder: Path) -> dict[str, str]:
        """Return an instance as such a program takes it, by field; what is a file is written into the folder."""
        ...
