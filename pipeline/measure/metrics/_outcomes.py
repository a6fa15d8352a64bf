"""Rows of correctness for the metrics of predictions."""

from __future__ import annotations

import numpy as np

from ops.core.tasks.task import TASKS, AnswerKind
from pipeline.measure.metrics.api import Predictions


def is_judged(predictions: Predictions) -> bool:
    """Return whether the task says what is right."""
    return TASKS[predictions.task].answer_kind is not AnswerKind.NOTHING


def correct_rows(predictions: Predictions) -> np.ndarray:
    """True where the model is right, as its task says: bool (N,)."""
    return TASKS[predictions.task].correct(predictions)
