"""Other data of the same task as an evaluation set."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pipeline.datasets.api import DataError, Dataset
from pipeline.datasets.interface import Interface
from pipeline.datasets.open import open_dataset
from pipeline.datasets.splits import SplitDataset

__all__ = ["open_other"]


def open_other(data: Dataset, entry: Mapping[str, Any], folder: Path) -> Dataset:
    """Open a data set whose evaluation split the models of another can answer.

    Args:
        data: that of the recipe.
        entry: the conf/dataset entry of the other.
        folder: the data folder.

    Raises:
        DataError: if it cannot be opened, or its task, classes or inputs are not those of the recipe's, or it holds
            instances that are set aside for confirmation.
    """
    other = open_dataset(entry, folder)
    mine, theirs = Interface.of(data), Interface.of(other)
    for what, one, two in (
        ("the task", mine.task, theirs.task),
        ("the classes", mine.classes, theirs.classes),
        ("the inputs", dict(mine.inputs), dict(theirs.inputs)),
    ):
        if one != two:
            raise DataError(
                f"Data set '{other.name}': {what} must be {_short(one)}, as of '{data.name}', which its models are made for; they are "
                f"{_short(two)}"
            )
    _refuse_withheld(data, other)
    return other


def _refuse_withheld(data: Dataset, other: Dataset) -> None:
    """Refuse what would show, by another entry, the instances that nothing but a confirmation may look at."""
    count = data.withheld_in(other) if isinstance(data, SplitDataset) and data.withheld else 0
    if count:
        raise DataError(
            f"Data set '{other.name}' holds instances that are set aside for confirmation (of the first that were compared, {count}). Give "
            "its entry the `confirmation` of the recipe's data set, or take a slice of that"
        )


def _short(value: object) -> str:
    text = ", ".join(map(str, value)) if isinstance(value, tuple) else str(value)
    return f"{text[:80]} ..." if len(text) > 80 else text  # noqa: PLR2004 - what a message can hold
