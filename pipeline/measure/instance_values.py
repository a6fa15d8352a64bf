"""Values of metrics by instance on disk, beside the manifest of the measures that are their means."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

_VALUES = "instance_values.npz"
_METRIC = "metric."


def save_values(values: Mapping[str, np.ndarray], folder: Path) -> None:
    """Write metric -> float32 (N,), in the order of the predictions' instances (NumPy arrays, no pickle)."""
    arrays = {f"{_METRIC}{name}": rows for name, rows in values.items()}
    np.savez_compressed(folder / _VALUES, allow_pickle=False, **arrays)


def load_values(folder: Path) -> dict[str, np.ndarray]:
    """Read what `save_values` wrote."""
    with np.load(folder / _VALUES, allow_pickle=False) as file:
        return {name.removeprefix(_METRIC): file[name] for name in file.files}
