"""Image classification."""

from __future__ import annotations

from ops.core.tasks.classification import Classification
from ops.core.tasks.task import PICTURES, Input, task


@task
class ImageClassification(Classification):
    """One class for each picture."""

    name = "image-classification"
    inputs = (Input(PICTURES, "float32", ("channels", "height", "width")),)
    transformers_class = "AutoModelForImageClassification"
