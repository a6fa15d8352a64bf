"""Predictions on disk: how they are stored beside their manifest, and what of them goes to the store."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np

from pipeline.keys import Key
from pipeline.metrics.api import Predictions
from pipeline.store.records import Layer, PredictionSet

_ARRAYS, _TEXTS, _LAYERS = "predictions.npz", "predictions.json", "layers.json"


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


def softmax(logits: np.ndarray) -> np.ndarray:
    """Probabilities along the last axis, in float64 where it matters; rows with NaN stay NaN."""
    shifted = logits.astype(np.float64) - logits.max(axis=-1, keepdims=True)
    exponentials = np.exp(shifted)
    probabilities: np.ndarray = exponentials / exponentials.sum(axis=-1, keepdims=True)
    return probabilities


def classification_record(predictions: Predictions, *, model: Key, target: str, dataset: str) -> PredictionSet:
    """What the store keeps of a classifier's predictions. A row with NaN outputs predicts nothing and is wrong."""
    probabilities = softmax(predictions.outputs["logits"])
    labels = predictions.targets["labels"]
    valid = np.isfinite(probabilities).all(axis=1)
    best = np.where(valid, np.nan_to_num(probabilities).argmax(axis=1), -1)
    rows = np.arange(len(labels))
    correct = best == labels
    return PredictionSet(
        model_key=model,
        target=target,
        dataset_key=dataset,
        predicted=[predictions.classes[index] if index >= 0 else "(not a number)" for index in best],
        confidence=probabilities[rows, best].astype(np.float32),
        label_probability=probabilities[rows, labels].astype(np.float32),
        correct=correct,
        score=correct.astype(np.float32),
        probabilities=probabilities.astype(np.float32),
    )


def save_layers(layers: Sequence[Layer], folder: Path) -> None:
    """Write statistics per tensor."""
    (folder / _LAYERS).write_text(json.dumps([asdict(layer) for layer in layers]))


def load_layers(folder: Path) -> list[Layer]:
    """Read what `save_layers` wrote."""
    return [Layer(**raw) for raw in json.loads((folder / _LAYERS).read_text())]
