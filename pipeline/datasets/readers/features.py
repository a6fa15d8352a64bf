"""Rows of numbers as a model's input."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.datasets.reader import Arrays, targets_at


@dataclass(frozen=True, slots=True)
class FeatureReader:
    """Numbers of a table's columns, standardised."""

    values: np.ndarray
    """float64 (N, features), as they stand in the table."""
    names: Sequence[str]
    mean: np.ndarray
    std: np.ndarray
    """float64 (features,) each: what is taken off, and divided by."""
    targets: Arrays
    facts: Mapping[str, Any] = field(default_factory=dict)
    """What the task's program must know besides the inputs."""

    @classmethod
    def of(
        cls,
        values: np.ndarray,
        names: Sequence[str],
        train: np.ndarray,
        targets: Arrays,
        *,
        standardise: bool,
        facts: Mapping[str, Any] | None = None,
    ) -> FeatureReader:
        """Standardise by mean and deviation of the training rows; a column that never differs there becomes zero.

        Args:
            values: float64 (N, features).
            names: of the columns.
            train: rows of the training split.
            targets: of all rows.
            standardise: False: values are left as they are.
            facts: what the task's program must know besides the inputs.
        """
        training = values[train] if len(train) else values
        mean, std = training.mean(axis=0), training.std(axis=0)
        std[np.ptp(training, axis=0) == 0] = 0  # the mean of equal numbers need not equal them
        if not standardise:
            mean, std = np.zeros_like(mean), np.ones_like(std)
        return cls(values, names, mean, np.where(std > 0, std, 1.0), targets, facts or {})

    @property
    def inputs(self) -> dict[str, tuple[str, tuple[int, ...]]]:
        """As `Dataset.inputs`."""
        return {"features": ("float32", (len(self.names),))}

    def read(self, rows: np.ndarray, noise: np.random.Generator | None) -> tuple[Arrays, Arrays]:
        """As `Reader.read`; numbers are not augmented."""
        standardised = (self.values[rows] - self.mean) / self.std
        return {"features": standardised.astype(np.float32)}, targets_at(self.targets, rows)

    def show(self, row: int) -> Mapping[str, Any]:
        """As `Reader.show`: the numbers as they stand in the table."""
        pairs = zip(self.names, self.values[row], strict=True)
        return {"text": ", ".join(f"{name} {value:.6g}" for name, value in pairs)}

    def write_settings(self, folder: Path) -> dict[str, Any]:
        """As `RowReader.write_settings`."""
        return {"fields": list(self.names), "mean": self.mean.tolist(), "std": self.std.tolist(), **self.facts}

    def write_row(self, row: int, folder: Path) -> dict[str, str]:
        """As `RowReader.write_row`."""
        return {name: repr(float(value)) for name, value in zip(self.names, self.values[row], strict=True)}
