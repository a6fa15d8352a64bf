"""Text classification."""

from __future__ import annotations

from ops.core.tasks.classification import TEXT_INPUTS, Classification
from ops.core.tasks.task import task


@task
class TextClassification(Classification):
    """One class for each text, or pair of texts."""

    name = "text-classification"
    inputs = TEXT_INPUTS
    transformers_class = "AutoModelForSequenceClassification"
