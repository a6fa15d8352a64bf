"""Records of layers on disk, one JSON line each, beside the manifest of the evidence that they belong to."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TypeVar

from pipeline.store.records.run_records import (
    Allocation,
    Change,
    Distribution,
    Finding,
    Layer,
    LayerTime,
    Sensitivity,
    SensitivityTime,
)

DISTRIBUTIONS, CHANGES, FINDINGS, SAMPLES = "distributions.jsonl", "changes.jsonl", "findings.jsonl", "samples.npz"
TIMES = "times.jsonl"
_LAYERS = "layers.json"
R = TypeVar("R", Distribution, Change, Finding, LayerTime, Sensitivity, SensitivityTime, Allocation)


def save_records(records: Iterable[R], file: Path) -> None:
    """Write records of one kind."""
    with file.open("w") as stream:
        for record in records:
            stream.write(json.dumps(asdict(record)) + "\n")


def load_records(kind: type[R], file: Path) -> list[R]:
    """Read what `save_records` wrote; nothing if it was never written."""
    if not file.exists():
        return []
    with file.open() as stream:
        return [kind(**json.loads(line)) for line in stream]


def save_layers(layers: Sequence[Layer], folder: Path) -> None:
    """Write statistics per tensor."""
    (folder / _LAYERS).write_text(json.dumps([asdict(layer) for layer in layers]))


def load_layers(folder: Path) -> list[Layer]:
    """Read what `save_layers` wrote."""
    return [Layer(**raw) for raw in json.loads((folder / _LAYERS).read_text())]
