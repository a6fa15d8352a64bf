"""Results that hold the right and wrong answers of pairs of models, made through the real writer."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from pathlib import Path

import numpy as np

from pipeline.store.records import run_records as records
from pipeline.store.writer import Store

CLASSES = [f"c{number}" for number in range(10)]
START = datetime(2026, 1, 1)
Pair = tuple[np.ndarray, np.ndarray, np.ndarray]
"""Right answers of candidate and reference, bool (N,) each, and the labels, int (N,)."""


def publish(path: Path, pairs: Sequence[Pair], more: Sequence[records.Record] = ()) -> Path:
    """Write pairs, each to instances of its own: models `candidate 0` and `reference 0`, data set `0`, and so on."""
    store = Store(path)
    store.write(
        [
            records.Run("run", "gate", {}, {}, {}, None, START),
            records.RunEnd("run", START, 0),
            records.Device("machine", {}),
            records.Metric("accuracy", "", ".1%", "higher", True, "Share of right answers.", "quality", "instances"),
        ]
    )
    found: list[records.Record] = []
    for number, (candidate, reference, labels) in enumerate(pairs):
        found += _records(f"{number}", labels, {"reference": reference, "candidate": candidate})
    store.write([*found, *more])
    store.publish()
    store.close()
    return path


def measured(model: str, metric: str, value: float, low: float | None = None, high: float | None = None,
             **where: str) -> records.Measurement:  # fmt: skip
    """Return a figure of a model, of its file unless `where` names target, device and dataset_key."""
    target, device, data = (where.get(name, "") for name in ("target", "device", "dataset_key"))
    return records.Measurement(
        model, target, device, data, metric, value, low, high, None, "run", START, f"{model} {metric}"
    )


def _records(data: str, labels: np.ndarray, models: Mapping[str, np.ndarray]) -> Iterator[records.Record]:
    yield records.DatasetInfo(data, data, "image-classification", CLASSES, {"evaluation": len(labels)}, {})
    ids, halves = [f"i{at}" for at in range(len(labels))], [("first", "second")[at % 2] for at in range(len(labels))]
    yield records.Instances(data, "evaluation", ids, [CLASSES[label] for label in labels], {"half": halves})
    root = f"reference {data}"
    for role, correct in models.items():
        name, score = f"{role} {data}", correct.astype(np.float32)
        answers = [CLASSES[at] for at in (labels + ~correct) % len(CLASSES)]
        yield records.Model(name, None if name == root else root, name, "", "gate", "train", 1, "base", "torch", {})
        yield records.Measurement(
            name, "ort", "machine", data, "accuracy", float(score.mean()), None, None, len(score), "run", START, name
        )
        yield records.InstanceValues(name, "ort", "machine", data, "accuracy", score, name)
        yield records.PredictionSet(name, "ort", data, answers, score, score, correct, score, None)
