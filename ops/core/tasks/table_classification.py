"""Classification of the rows of a table."""

from __future__ import annotations

from ops.core.tasks.classification import Classification
from ops.core.tasks.task import Input, task


@task
class TableClassification(Classification):
    """One class for each row of numbers."""

    name = "table-classification"
    inputs = (Input("features", "float32", ("features",)),)
