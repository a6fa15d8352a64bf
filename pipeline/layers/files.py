"""Records of layers on disk, one JSON line each, beside the manifest of the evidence that they belong to."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path
from typing import TypeVar

from pipeline.store.records import Change, Distribution, Finding, LayerTime

DISTRIBUTIONS, CHANGES, FINDINGS, SAMPLES = "distributions.jsonl", "changes.jsonl", "findings.jsonl", "samples.npz"
TIMES = "times.jsonl"
R = TypeVar("R", Distribution, Change, Finding, LayerTime)


def save_records(records: Iterable[R], file: Path) -> None:
    """Write records of one kind."""
    with file.open("w") as opened:
        for record in records:
            opened.write(json.dumps(asdict(record)) + "\n")


def load_records(kind: type[R], file: Path) -> list[R]:
    """Read what `save_records` wrote; nothing if it was never written."""
    if not file.exists():
        return []
    with file.open() as opened:
        return [kind(**json.loads(line)) for line in opened]
