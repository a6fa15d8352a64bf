"""Instances that are rows of arrays: a whole data set of a person's own from arrays in memory."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from pipeline.core.keys import digest
from pipeline.datasets.api import DataError
from pipeline.datasets.division import fixed_split
from pipeline.datasets.reader import Arrays, targets_at
from pipeline.datasets.splits import SplitDataset, SplitInstances, fingerprint

__all__ = ["ArrayRows", "array_dataset"]

_MOST = 8
"""Values of an array that a person is shown."""


class ArrayRows:
    """Rows of arrays, as they are."""

    def __init__(self, inputs: Arrays, targets: Arrays) -> None:
        self._inputs, self._targets = inputs, targets

    def read(self, rows: np.ndarray, noise: np.random.Generator | None) -> tuple[Arrays, Arrays]:
        """As `Reader.read`; arrays are not augmented."""
        return {name: np.array(array[rows]) for name, array in self._inputs.items()}, targets_at(self._targets, rows)

    def show(self, row: int) -> Mapping[str, Any]:
        """As `Reader.show`: the first values of each array."""
        texts = []
        for name, array in self._inputs.items():
            some = ", ".join(f"{value:.4g}" for value in array[row].reshape(-1)[:_MOST])
            texts.append(f"{name} {list(array.shape[1:])}: {some}{', ...' if array[row].size > _MOST else ''}")
        return {"text": "; ".join(texts)}


def array_dataset(
    name: str,
    task: str,
    inputs: Mapping[str, np.ndarray],
    targets: Mapping[str, np.ndarray],
    labels: Sequence[str],
    *,
    evaluation: float = 0.25,
    calibration: float = 0.125,
) -> SplitDataset:
    """Return a data set of arrays, for a function under `@dataset`; splits are a fixed shuffle.

    Args:
        name: of the data set.
        task: name of its task.
        inputs: argument of the network -> float32, int64 or bool (N, ...).
        targets: of the task: (N, ...) each.
        labels: N texts, what is right as people read it.
        evaluation: share of the rows that models are judged on.
        calibration: share of the rows for calibration; the others train.

    Raises:
        DataError: if the arrays differ in their rows.
    """
    count = len(labels)
    for each, array in {**inputs, **targets}.items():
        if len(array) != count:
            raise DataError(f"{name}: '{each}' has {len(array)} rows, and there are {count} labels")
    content = [
        [role, each, str(array.dtype), list(array.shape), hashlib.sha256(np.ascontiguousarray(array).data).hexdigest()]
        for role, arrays in (("input", inputs), ("target", targets))
        for each, array in arrays.items()
    ]
    strata = np.zeros(count, np.int64)
    splits = fixed_split(strata, evaluation=int(count * evaluation), calibration=int(count * calibration), train=None)
    return SplitDataset(
        name=name,
        task=task,
        fingerprint=fingerprint(
            name,
            version=1,
            content=digest({"what": "arrays", "task": task, "arrays": content}),
            evaluation=evaluation,
            calibration=calibration,
            labels=list(labels),
        ),
        load=lambda: SplitInstances(
            ids=np.array([f"row-{row + 1:06d}" for row in range(count)], object),
            labels=list(labels),
            strata=strata,
            splits=splits,
            classes=(),
            inputs={each: (str(array.dtype), array.shape[1:]) for each, array in inputs.items()},
            reader=ArrayRows(inputs, targets),
        ),
    )
