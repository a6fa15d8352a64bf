"""What the models of a store came from and how good, fast and large they are: the guide to the operations shows it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from pipeline.store.reader import Connection, open_results

_MODELS = """
SELECT model_key, name, parent_key, root_key, op, params FROM models
QUALIFY row_number() OVER (PARTITION BY root_key, name ORDER BY created_at DESC) = 1 ORDER BY created_at"""
_SCORES = """
SELECT model_key, dataset, list(score ORDER BY position) FROM predictions
WHERE target = ? AND split = 'evaluation' GROUP BY ALL"""
_BYTES = "SELECT model_key, value FROM measurements WHERE metric = 'file_bytes' AND coalesce(target, ?) = ?"
# a single stream is timed on one thread and on several: that of the fewest is the scoreboard's `speedup`
_SPEEDS = """
SELECT model_key, ratio, low, high, contended FROM speedups
WHERE target = ? AND relation = 'base' AND scenario = 'single_stream' AND clock = 'cpu'
QUALIFY row_number() OVER (PARTITION BY model_key ORDER BY threads, measured_at DESC) = 1"""


class Speed(NamedTuple):
    """How many times faster than the base: ratio of CPU times with its 95 % interval."""

    ratio: float
    low: float | None
    high: float | None
    contended: bool


@dataclass(frozen=True, slots=True)
class Measured:
    """A model and what is known of it on one target."""

    key: str
    name: str
    parent: str | None
    root: str
    op: str
    params: Mapping[str, Any]
    dataset: str
    scores: np.ndarray
    """Per instance of the evaluation split, in its order: from 0 to 1."""
    file_bytes: float | None
    speed: Speed | None


def measured(results: Path, *, target: str = "onnxruntime") -> list[Measured]:
    """Return the models that were evaluated on a target, parents first; of several of one path the newest.

    Raises:
        StoreError: the file is missing, or no results.
    """
    db = open_results(results)
    try:
        return _read(db, target)
    finally:
        db.close()


def tasks(results: Path) -> dict[str, str]:
    """Return data set -> task."""
    db = open_results(results)
    try:
        return dict(db.execute("SELECT dataset, task FROM datasets").fetchall())
    finally:
        db.close()


def _read(db: Connection, target: str) -> list[Measured]:
    scores = {key: (dataset, np.array(each)) for key, dataset, each in db.execute(_SCORES, [target]).fetchall()}
    sizes = dict(db.execute(_BYTES, [target, target]).fetchall())
    speeds = {key: Speed(*speed) for key, *speed in db.execute(_SPEEDS, [target]).fetchall()}
    return [
        Measured(key, name, parent, root, op, json.loads(params), *scores[key], sizes.get(key), speeds.get(key))
        for key, name, parent, root, op, params in db.execute(_MODELS).fetchall()
        if key in scores
    ]
