"""Classification of the rows of a table."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ops.core.programs.answers import CLASS
from ops.core.programs.program import Program
from ops.core.programs.reading import row_program
from ops.core.tasks.classification import ROW_INPUTS, Classification
from ops.core.tasks.task import task


@task
class TableClassification(Classification):
    """One class for each row of numbers."""

    name = "table-classification"
    inputs = ROW_INPUTS
    hub_tag = "tabular-classification"

    def program(self, settings: Mapping[str, Any]) -> Program:
        """Read the numbers of a row, and say the likeliest class."""
        return row_program(settings, CLASS)
