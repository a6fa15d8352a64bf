"""Predictions on disk: how they are stored beside their manifest, and what of them goes to the store."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from pipeline.core.keys import Key
from pipeline.layers.records_file import _ARRAYS, _TEXTS
from pipeline.measure.metrics._outcomes import correct_rows, log_softmax, predicted_classes, token_f1_rows, valid_rows
from pipeline.measure.metrics.api import Predictions
from pipeline.store.records.run_records import PredictionSet

INVALID = "(not a number)"
"""What a model predicts for an instance whose outputs are not numbers."""


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
    """What the store keeps of a model's predictions, one row per instance."""
    if "labels" in predictions.targets:
        return _classes(predictions, model, target, dataset)
    return _answers(predictions, model, target, dataset)


def _classes(predictions: Predictions, model: Key, target: str, dataset: str) -> PredictionSet:
    """A row whose outputs are not valid predicts nothing, is wrong, and has NaN for probabilities."""
    probabilities = np.exp(log_softmax(predictions.outputs["logits"])).astype(np.float32)
    probabilities[~valid_rows(predictions)] = np.nan
    best, rows = predicted_classes(predictions), np.arange(len(predictions.ids))
    correct = correct_rows(predictions)
    return PredictionSet(
        model_key=model,
        target=target,
        dataset_key=dataset,
        predicted=[predictions.classes[index] if index >= 0 else INVALID for index in best],
        confidence=probabilities[rows, best],
        label_probability=probabilities[rows, predictions.targets["labels"]],
        correct=correct,
        score=correct.astype(np.float32),
        probabilities=probabilities,
    )


def _answers(predictions: Predictions, model: Key, target: str, dataset: str) -> PredictionSet:
    """`score` is the token F1 to the nearest accepted answer. No probability is attached to a span of text."""
    unknown = np.full(len(predictions.ids), np.nan, np.float32)
    return PredictionSet(
        model_key=model,
        target=target,
        dataset_key=dataset,
        predicted=predictions.answers,
        confidence=unknown,
        label_probability=unknown,
        correct=correct_rows(predictions),
        score=token_f1_rows(predictions).astype(np.float32),
        probabilities=None,
    )
