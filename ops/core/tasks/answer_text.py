"""Answers as texts, and their equality: one definition for metrics and for the viewer."""

from __future__ import annotations

import re
import string
from enum import StrEnum
from functools import lru_cache

__all__ = ["NO_LABEL", "SEPARATOR", "AnswerKind", "normalized"]

SEPARATOR, NO_LABEL = "|", "(none)"
"""Between the labels of a set, as people read it, and what stands for the empty set."""
_ARTICLES = re.compile(r"\b(a|an|the)\b")
_NO_PUNCTUATION = str.maketrans("", "", string.punctuation)


class AnswerKind(StrEnum):
    """Content of the text of an answer, so that readers of results know what two of them have in common."""

    CLASS = "class"
    LABELS = "labels"
    """Names of classes, joined by `|`."""
    NUMBERS = "numbers"
    """Joined by commas; equal within the data set's tolerance."""
    TEXT = "text"
    NOTHING = "nothing"
    """Outputs without a meaning that is known."""


@lru_cache(maxsize=1 << 16)
def normalized(answer: str) -> str:
    """An answer as SQuAD compares it: lower case, without punctuation, articles and surplus spaces."""
    return " ".join(_ARTICLES.sub(" ", answer.lower().translate(_NO_PUNCTUATION)).split())
