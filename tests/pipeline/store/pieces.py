"""Stored probabilities without a store: rows that come in several pieces."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from pipeline.store.probabilities import UNKNOWN
from pipeline.store.write.bulk_insert import milli_log


class Pieces:
    """1000 x ln p, as int16, in parts that end where `ends` say."""

    def __init__(self, table: np.ndarray, *ends: int) -> None:
        """`table` has the probabilities (instances, classes); rows with NaN are unknown."""
        self.rows = milli_log(np.asarray(table, np.float32))
        self.rows[np.isnan(table).any(axis=1)] = UNKNOWN
        self._ends = [*sorted(ends), len(self.rows)]

    @property
    def shape(self) -> tuple[int, int]:
        """(instances, classes)."""
        return self.rows.shape[0], self.rows.shape[1]

    def blocks(self, start: int, stop: int) -> Iterator[np.ndarray]:
        """As the protocol says."""
        for end in self._ends:
            if start < min(end, stop):
                yield self.rows[start : min(end, stop)]
                start = min(end, stop)
