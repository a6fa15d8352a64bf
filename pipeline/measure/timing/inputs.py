"""The inputs of timed runs: real instances of the evaluation split, the same for every model of a session."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from pipeline.core.errors import BouillonError

if TYPE_CHECKING:
    from pipeline.datasets.api import Dataset

FILE = "inputs.npz"


class InputsError(BouillonError, ValueError):
    """There is nothing to run a model on."""


def write_inputs(dataset: Dataset, folder: Path, *, samples: int) -> Path:
    """Write `samples` instances (or as many as there are), spread over the classes, and return the file.

    Raises:
        InputsError: if the evaluation split is empty.
    """
    batches = list(dataset.batches("evaluation", batch_size=samples, samples=samples))
    if not sum(len(batch) for batch in batches):
        raise InputsError(f"The evaluation split of '{dataset.name}' is empty: there is nothing to time a model on")
    names = batches[0].inputs
    arrays = {name: np.concatenate([batch.inputs[name] for batch in batches]) for name in names}
    np.savez(folder / FILE, allow_pickle=False, **arrays)
    return folder / FILE


def read_inputs(file: Path) -> dict[str, np.ndarray]:
    """Read what `write_inputs` wrote.

    Raises:
        InputsError: if the file holds no instances.
    """
    with np.load(file, allow_pickle=False) as stored:
        arrays = {name: stored[name] for name in stored.files}
    if not arrays or not all(len(array) for array in arrays.values()):
        raise InputsError(f"{file}: there are no samples to run a model on")
    return arrays


def cycle(arrays: Mapping[str, np.ndarray], names: tuple[str, ...], batch: int) -> Iterator[Mapping[str, np.ndarray]]:
    """Yield batches for ever: every instance in turn, each batch contiguous in memory and made beforehand.

    Raises:
        InputsError: if an input that the model takes is missing.
    """
    missing = [name for name in names if name not in arrays]
    if missing:
        raise InputsError(f"The model takes {', '.join(missing)}; the samples hold {', '.join(arrays)}")
    count = len(arrays[names[0]])
    rows = np.arange(max(count, batch) if count % batch == 0 else batch * -(-count // batch)) % count
    parts = [rows[start : start + batch] for start in range(0, len(rows), batch)]
    return itertools.cycle([{name: np.ascontiguousarray(arrays[name][part]) for name in names} for part in parts])
