"""Answers by their texts, for the viewer and others that know the pipeline alone: one definition for all."""

from __future__ import annotations

import math

from ops.core.tasks.answer_text import NO_LABEL, normalized
from ops.core.tasks.task import TASKS, AnswerKind

__all__ = ["NO_LABEL", "AnswerKind", "answer_kind", "answer_numbers", "normalized"]


def answer_kind(task: str, *, has_classes: bool) -> AnswerKind:
    """Return what the answers of a task hold; of a task that is not known here, classes if its data has any, else texts.

    Args:
        task: its name.
        has_classes: whether the data set has classes.
    """
    if task in TASKS:
        return TASKS[task].answer_kind
    return AnswerKind.CLASS if has_classes else AnswerKind.TEXT


def answer_numbers(text: str) -> list[float]:
    """Return the numbers of an answer that holds such, in the order of the data's targets; NaN where it holds none."""
    try:
        return [float(part) for part in text.split(",")]
    except ValueError:
        return [math.nan]
