"""Predictions on disk: how they are stored beside their manifest, and what of them goes to the store."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from ops.core.tasks.task import TASKS
from pipeline.core.keys import Key
from pipeline.measure.metrics.api import Predictions
from pipeline.store.records.run_records import PredictionSet

_ARRAYS, _TEXTS = "predictions.npz", "predictions.json"


def save_predictions(predictions: Predictions, folder: Path) -> None:
    """Write the raw outputs and the targets (NumPy arrays, no pickle) and everything textual (JSON)."""
    arrays = {f"output.{name}": array for name, array in predictions.outputs.items()}
    arrays |= {f"target.{name}": array for name, array in predictions.targets.items()}
    np.savez(folder / _ARRAYS, allow_pickle=False, **arrays)
    texts = {
        "task": predictions.task,
        "classes": predictions.classes,
        "ids": predictions.ids,
        "answers": predictions.answers,
        "references": predictions.references,
        "attributes": predictions.attributes,
    }
    (folder / _TEXTS).write_text(json.dumps(texts))


def load_predictions(folder: Path) -> Predictions:
    """Read what `save_predictions` wrote."""
    raw = json.loads((folder / _TEXTS).read_text())
    with np.load(folder / _ARRAYS, allow_pickle=False) as file:
        arrays = {name: file[name] for name in file.files}
    attributes = raw["attributes"]
    return Predictions(
        task=raw["task"],
        classes=tuple(raw["classes"]),
        ids=tuple(raw["ids"]),
        outputs={name.removeprefix("output."): array for name, array in arrays.items() if name.startswith("output.")},
        targets={name.removeprefix("target."): array for name, array in arrays.items() if name.startswith("target.")},
        answers=tuple(raw["answers"]),
        references=tuple(tuple(accepted) for accepted in raw["references"]),
        attributes=None if attributes is None else {name: tuple(values) for name, values in attributes.items()},
    )


def prediction_record(predictions: Predictions, *, model: Key, target: str, dataset: str) -> PredictionSet:
    """What the store keeps of a model's predictions, one row per instance.

    Args:
        predictions: outputs and labels of a split, in its order.
        model: key of the model.
        target: name of the target that ran it.
        dataset: key of the data set.
    """
    rows = TASKS[predictions.task].judge(predictions)
    return PredictionSet(
        model_key=model,
        target=target,
        dataset_key=dataset,
        predicted=rows.predicted,
        confidence=rows.confidence,
        label_probability=rows.label_probability,
        correct=rows.correct,
        score=rows.score,
        probabilities=rows.probabilities,
    )
