"""Whether calibration instances also stand in the evaluation split: by content, since ids are disjoint anyway."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pipeline.datasets.api import Dataset, Split

_BATCH = 512


def calibration_overlap(dataset: Dataset) -> float | None:
    """Share of the calibration instances whose inputs equal those of an evaluation instance, byte for byte.

    None for a data set without calibration instances. Reads both splits once.
    """
    evaluation = set(_contents(dataset, "evaluation"))
    shared = [content in evaluation for content in _contents(dataset, "calibration")]
    return sum(shared) / len(shared) if shared else None


def _contents(dataset: Dataset, split: Split) -> Iterator[bytes]:
    for batch in dataset.batches(split, batch_size=_BATCH):
        for row in range(len(batch)):
            digest = hashlib.blake2b(digest_size=16)
            for name in sorted(batch.inputs):
                digest.update(batch.inputs[name][row].tobytes())
            yield digest.digest()
