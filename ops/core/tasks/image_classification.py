"""Image classification."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ops.core.programs.answers import CLASS
from ops.core.programs.program import Program
from ops.core.programs.reading import picture_program
from ops.core.tasks.classification import Classification
from ops.core.tasks.task import PICTURES, Input, task


@task
class ImageClassification(Classification):
    """One class for each picture."""

    name = "image-classification"
    inputs = (Input(PICTURES, "float32", ("channels", "height", "width")),)
    transformers_class = "AutoModelForImageClassification"
    hub_tag = name

    def program(self, settings: Mapping[str, Any]) -> Program:
        """Read picture files, and say the likeliest class."""
        return picture_program(settings, CLASS)
