"""Outcomes that the metrics of predictions share: right answers, valid rows, probabilities."""

from __future__ import annotations

from collections import Counter

import numpy as np

from pipeline.core.answer_text import normalized
from pipeline.measure.metrics.api import Predictions


def log_softmax(logits: np.ndarray) -> np.ndarray:
    """Log probabilities along the last axis in float64. Rows that are not valid (see `valid_rows`) become NaN."""
    wide = logits.astype(np.float64)
    with np.errstate(invalid="ignore"):
        shifted = wide - wide.max(axis=-1, keepdims=True)
        result: np.ndarray = shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True))
    return result


def valid_rows(predictions: Predictions) -> np.ndarray:
    """True for instances whose outputs give probabilities: bool (N,).

    NaN or +inf in a row makes it invalid, -inf (a masked entry) does not, unless all are.
    """
    valid = np.ones(len(predictions.ids), dtype=bool)
    for output in predictions.outputs.values():
        valid &= np.isfinite(output.reshape(len(output), -1).max(axis=1)) if output.size else True
    return valid


def predicted_classes(predictions: Predictions) -> np.ndarray:
    """Index of the most likely class, the first of equals; -1 where the outputs are not valid: int64 (N,)."""
    best = predictions.outputs["logits"].argmax(axis=1)
    return np.where(valid_rows(predictions), best, -1)


def correct_rows(predictions: Predictions) -> np.ndarray:
    """True where the model is right: its class is the label, or its answer is one of the accepted ones: bool (N,)."""
    if "labels" in predictions.targets:
        right: np.ndarray = predicted_classes(predictions) == predictions.targets["labels"]
        return right
    return np.array([
        max(normalized(answer) == normalized(reference) for reference in references or ("",))
        for answer, references in zip(predictions.answers, predictions.references, strict=True)
    ], dtype=bool)  # fmt: skip


def token_f1_rows(predictions: Predictions) -> np.ndarray:
    """Best F1 of the answer's words against each accepted answer: float64 (N,)."""
    return np.array([
        max(_token_f1(answer, reference) for reference in references or ("",))
        for answer, references in zip(predictions.answers, predictions.references, strict=True)
    ], dtype=np.float64)  # fmt: skip


def _token_f1(answer: str, reference: str) -> float:
    words, expected = normalized(answer).split(), normalized(reference).split()
    if not words or not expected:  # no answer is right only where none is wanted
        return float(words == expected)
    common = (Counter(words) & Counter(expected)).total()
    return 2 * common / (len(words) + len(expected))
