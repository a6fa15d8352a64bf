"""Text classification."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ops.core.programs.answers import CLASS
from ops.core.programs.program import Program
from ops.core.programs.reading import TEXT, token_program
from ops.core.tasks.classification import TEXT_INPUTS, Classification
from ops.core.tasks.task import task


@task
class TextClassification(Classification):
    """One class for each text, or pair of texts."""

    name = "text-classification"
    inputs = TEXT_INPUTS
    transformers_class = "AutoModelForSequenceClassification"
    hub_tag = name

    def program(self, settings: Mapping[str, Any]) -> Program:
        """Read a text, or a pair of texts, and say the likeliest class."""
        return token_program(settings, TEXT, CLASS, "TEXT ..." if len(settings["fields"]) == 1 else "TEXT TEXT")
