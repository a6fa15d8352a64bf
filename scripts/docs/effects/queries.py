"""What the models of a store came from and how good, fast and large they are: the guide to the operations shows it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from pipeline.core.metric_kinds import MetricRole
from pipeline.measure.metrics.size import file_bytes
from pipeline.store.documents import json_mapping
from pipeline.store.reader import Connection, open_results

_MODELS = """
SELECT model_key, name, parent_key, root_key, op, params FROM models
QUALIFY row_number() OVER (PARTITION BY root_key, name ORDER BY created_at DESC) = 1 ORDER BY created_at"""
_SCORES = """
SELECT model_key, dataset, metric, list(value ORDER BY position) FROM instance_values JOIN metrics USING (metric)
WHERE target = ? AND is_primary AND role = ? AND value IS NOT NULL GROUP BY ALL ORDER BY metric DESC"""
_BYTES = "SELECT model_key, value FROM measurements WHERE metric = ? AND coalesce(target, ?) = ?"
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
    quality: str
    """The first primary metric of quality."""
    scores: np.ndarray
    """Its values per instance of the evaluation split, in its order."""
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


def _read(db: Connection, target: str) -> list[Measured]:
    rows = db.execute(_SCORES, [target, MetricRole.QUALITY.value]).fetchall()
    scores = {
        key: (dataset, metric, np.array(values)) for key, dataset, metric, values in rows
    }  # the first metric last
    sizes = dict(db.execute(_BYTES, [file_bytes.__name__, target, target]).fetchall())
    speeds = {key: Speed(*speed) for key, *speed in db.execute(_SPEEDS, [target]).fetchall()}
    return [
        Measured(
            key,
            name,
            parent,
            root,
            op,
            json_mapping(params),
            *scores[key],
            sizes.get(key),
            speeds.get(key),
        )
        for key, name, parent, root, op, params in db.execute(_MODELS).fetchall()
        if key in scores
    ]
