"""Answers by their texts, for the viewer and others that know the pipeline alone: one definition for all."""

from __future__ import annotations

import math

from ops.core.tasks.answer_text import NO_LABEL, AnswerKind, normalized

__all__ = ["NO_LABEL", "AnswerKind", "answer_numbers", "normalized"]


def answer_numbers(text: str) -> list[float]:
    """Return the numbers of an answer that holds such, in the order of the data's targets; NaN where it holds none."""
    try:
        return [float(part) for part in text.split(",")]
    except ValueError:
        return [math.nan]
