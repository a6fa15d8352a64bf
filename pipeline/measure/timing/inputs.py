"""The inputs of timed runs: real instances of the evaluation split, the same for every model of a session."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ops.core.forward import TOKENS
from pipeline.core.errors import BouillonError

if TYPE_CHECKING:
    from pipeline.datasets.api import Dataset

FILE = "inputs.npz"
MASK = "attention_mask"


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


def batches(
    arrays: Mapping[str, np.ndarray], names: Sequence[str], batch: int, *, padded: bool = False
) -> list[dict[str, np.ndarray]]:
    """Cut instances into batches that a model is run on: every instance in turn, each batch contiguous in memory.

    Texts are of their own length: of a batch, the columns go in which no instance has a token.

    Args:
        arrays: inputs of all instances, (N, ...) each.
        names: inputs that the model takes.
        batch: instances of each.
        padded: leave texts padded as the data set pads them: for a model that takes one length only.

    Raises:
        InputsError: if an input that the model takes is missing.
    """
    missing = [name for name in names if name not in arrays]
    if missing:
        raise InputsError(f"The model takes {', '.join(missing)}; the samples hold {', '.join(arrays)}")
    count = len(arrays[names[0]])
    rows = np.arange(max(count, batch) if count % batch == 0 else batch * -(-count // batch)) % count
    parts = [rows[start : start + batch] for start in range(0, len(rows), batch)]
    return [_feed(arrays, names, part, padded=padded) for part in parts]


def mean_tokens(feeds: Sequence[Mapping[str, np.ndarray]]) -> float | None:
    """Tokens of an instance, padding included, on average over the batches; None of data that is not made of tokens."""
    lengths = [feed["input_ids"].shape[1] for feed in feeds if "input_ids" in feed]
    return float(np.mean(lengths)) if lengths else None


def _feed(
    arrays: Mapping[str, np.ndarray], names: Sequence[str], rows: np.ndarray, *, padded: bool
) -> dict[str, np.ndarray]:
    columns = slice(None)
    if not padded and MASK in arrays:
        used = np.flatnonzero(arrays[MASK][rows].any(axis=0))
        columns = slice(int(used[0]), int(used[-1]) + 1) if len(used) else slice(0, 1)
    return {
        name: np.ascontiguousarray(arrays[name][rows][:, columns] if name in TOKENS else arrays[name][rows])
        for name in names
    }
