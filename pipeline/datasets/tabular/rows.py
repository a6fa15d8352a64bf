"""Rows of a table as instances: ids, splits, labels, attributes."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Self

import numpy as np

from ops.core.registry import nearest
from pipeline.datasets.api import DataError, Split, is_missing
from pipeline.datasets.class_order import name_list
from pipeline.datasets.division import completed_split
from pipeline.datasets.readers.settings import Columns, Shares

SPLIT_NAMES: Mapping[str, Split] = {
    "train": "train",
    "training": "train",
    "calibration": "calibration",
    "evaluation": "evaluation",
    "validation": "evaluation",
    "valid": "evaluation",
    "val": "evaluation",
    "dev": "evaluation",
    "test": "evaluation",
}


@dataclass(frozen=True, slots=True)
class Records:
    """Rows in memory, columnar."""

    columns: Mapping[str, Sequence[Any]]
    ids: tuple[str, ...]
    places: tuple[str, ...]
    """Where each row comes from (`reviews.csv row 12`), for messages."""
    split: tuple[Split | None, ...]
    """The split that the files say, if they do."""
    untyped: bool = False
    """Whether numbers may stand as text, as in CSV."""
    orders: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Column -> class names in the order that the files say, if they do."""

    def __len__(self) -> int:
        return len(self.ids)

    def with_ids(self, column: str | None) -> Self:
        """The same rows with the ids of a column, in which every row must have one; None: as they are."""
        return self if column is None else replace(self, ids=tuple(self.texts(column)))

    def texts(self, column: str) -> list[str]:
        """A column in which every row must have a value.

        Raises:
            DataError: naming the first row without one, or with several.
        """
        values = self.columns[column]
        for row, value in enumerate(values):
            if value is None or value in ("", b""):
                raise DataError(f"{self.places[row]}: '{column}' is empty")
            if isinstance(value, float) and math.isnan(value):
                raise DataError(f"{self.places[row]}: '{column}' is not a number (NaN), which stands for no value")
            if isinstance(value, list | tuple | Mapping):
                raise DataError(f"{self.places[row]}: '{column}' must be one value (got {value!r:.40})")
        return [_text(value, self.places[row], column) for row, value in enumerate(values)]

    def labels(self, column: str) -> list[str]:
        """Class names; as `texts`, and `nan`, which stands for no value, is none.

        Raises:
            DataError: as `texts`, and where some labels are true or false and others are not: which name the same class?
        """
        labels = self.texts(column)
        truths = [isinstance(value, bool) for value in self.columns[column]]
        if any(truths) and not all(truths):
            truth, other = truths.index(True), truths.index(False)
            raise DataError(
                f"{self.places[truth]}: '{column}' is {labels[truth].lower()}, and {labels[other]!r} in "
                f"{self.places[other]}; write all labels as true and false, or none"
            )
        for row, label in enumerate(labels):
            if is_missing(label):
                raise DataError(f"{self.places[row]}: '{column}' is {label}, which stands for no value; remove the row")
        return labels

    def are_numbers(self, column: str) -> bool:
        """Whether labels that look like whole numbers are meant as numbers: all, unless the file types them as text."""
        return self.untyped or not any(isinstance(value, str | bytes) for value in self.columns[column])


def _text(value: Any, place: str, column: str) -> str:
    try:
        # Parquet of Spark and of older writers types texts as binary
        text = value.decode() if isinstance(value, bytes) else str(value)
    except UnicodeDecodeError:
        raise DataError(f"{place}: '{column}' holds bytes that are not UTF-8; save the column as text") from None
    if not text.isascii() and any("\ud800" <= letter <= "\udfff" for letter in text):
        raise DataError(
            f"{place}: '{column}' holds half a character (a lone surrogate), which is no text; write it anew"
        )
    return text


def split_named(name: str, place: str) -> Split:
    """Return the split that a person's word means.

    Raises:
        DataError: with the known names.
    """
    present = SPLIT_NAMES.get(name.strip().lower())
    if present is None:
        raise DataError(f"{place}: '{name}' is no split.{nearest(name, SPLIT_NAMES)} Known: {', '.join(SPLIT_NAMES)}")
    return present


def splits_of(records: Records, *, columns: Columns, shares: Shares, groups: Sequence[str]) -> dict[Split, np.ndarray]:
    """Rows of each split: as named; a split that is not is held out of the training rows by the hash of each row's group.

    Raises:
        DataError: if there would be no evaluation instances.
    """
    splits = completed_split(
        _named_splits(records, columns), groups, evaluation=shares.evaluation, calibration=shares.calibration
    )
    if not len(splits["evaluation"]):
        raise DataError(
            f"{len(records)} rows, but none for evaluation; name a split column, or raise shares.evaluation"
        )
    return splits


def _named_splits(records: Records, columns: Columns) -> Sequence[Split | None]:
    if columns.split is None:
        return records.split
    names = records.texts(columns.split)
    return [split_named(name, place) for name, place in zip(names, records.places, strict=True)]


def groups_of(records: Records, columns: Columns) -> Sequence[str]:
    """Return the groups of rows that must stay together when rows are held out."""
    return records.texts(columns.group) if columns.group else records.ids


def attributes_of(records: Records, columns: Columns) -> dict[str, Sequence[str]]:
    """Attribute name -> one text per row; empty where a cell holds no value, and so makes no group."""
    return {name: attribute_texts(records.columns[name], records.places, name) for name in columns.attributes}


def attribute_texts(values: Sequence[Any], places: Sequence[str], name: str) -> list[str]:
    """One text per row of a column of attributes; empty where a cell holds no value, and so makes no group.

    Args:
        values: The column's cells.
        places: Where each row comes from, for messages.
        name: The column's.

    Raises:
        DataError: naming the row of a text that cannot be stored.
    """
    return ["" if is_missing(value) else _text(value, place, name) for value, place in zip(values, places, strict=True)]


def common_orders(parts: Sequence[Mapping[str, tuple[str, ...]]]) -> dict[str, tuple[str, ...]]:
    """Column -> class names, of files that number the classes alike.

    Raises:
        DataError: if two files number the classes of a column in different ways.
    """
    common: dict[str, tuple[str, ...]] = {}
    for column in dict.fromkeys(name for part in parts for name in part):
        orders = list(dict.fromkeys(part.get(column, ()) for part in parts))
        if len(orders) > 1:
            spellings = " and ".join(name_list(order) if order else "without names" for order in orders)
            raise DataError(
                f"'{column}': parts of the data number its classes differently ({spellings}); save them alike"
            )
        common[column] = orders[0]
    return common
