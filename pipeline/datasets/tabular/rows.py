"""Rows of a table as instances: ids, splits, labels, attributes."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ops.core.registry import nearest
from pipeline.datasets.api import SPLITS, DataError, Split
from pipeline.datasets.readers.settings import Columns, Shares
from pipeline.datasets.splits import hashed_split

_SPLIT_NAMES: Mapping[str, Split] = {
    "train": "train", "training": "train", "calibration": "calibration", "evaluation": "evaluation",
    "validation": "evaluation", "valid": "evaluation", "val": "evaluation", "dev": "evaluation", "test": "evaluation",
}  # fmt: skip
_WHOLE = re.compile(r"-?\d+")


@dataclass(frozen=True, slots=True)
class Records:
    """Rows in memory, columnar."""

    columns: Mapping[str, Sequence[Any]]
    ids: tuple[str, ...]
    places: tuple[str, ...]
    """Where each row comes from (`reviews.csv row 12`), for messages."""
    split: tuple[Split | None, ...]
    """The split that the files say, if they do."""

    def __len__(self) -> int:
        return len(self.ids)

    def texts(self, column: str) -> list[str]:
        """A column in which every row must have a value.

        Raises:
            DataError: naming the first row without one, or with several.
        """
        values = self.columns[column]
        for row, value in enumerate(values):
            if value is None or value == "":
                raise DataError(f"{self.places[row]}: '{column}' is empty")
            if isinstance(value, float) and math.isnan(value):
                raise DataError(f"{self.places[row]}: '{column}' is not a number (NaN), which stands for no value")
            if isinstance(value, list | tuple | Mapping):
                raise DataError(f"{self.places[row]}: '{column}' must be one value (got {value!r:.40})")
        return [str(value) for value in values]


def split_named(name: str, place: str) -> Split:
    """Which split a person means.

    Raises:
        DataError: with the known names.
    """
    known = _SPLIT_NAMES.get(name.strip().lower())
    if known is None:
        raise DataError(f"{place}: '{name}' is no split.{nearest(name, _SPLIT_NAMES)} Known: {', '.join(_SPLIT_NAMES)}")
    return known


def splits_of(records: Records, *, columns: Columns, shares: Shares, groups: Sequence[str]) -> dict[Split, np.ndarray]:
    """Rows of each split: as given; what is not given is held out by the hash of each row's group.

    Raises:
        DataError: if there would be no evaluation instances.
    """
    given = _given(records, columns)
    everything = np.arange(len(records))
    if given is None:
        splits = hashed_split(groups, evaluation=shares.evaluation, calibration=shares.calibration)
    else:
        splits = {split: everything[given == split] for split in SPLITS}
        if not len(splits["calibration"]):
            within = hashed_split(
                [groups[row] for row in splits["train"]], evaluation=0, calibration=shares.calibration
            )
            splits |= {split: splits["train"][within[split]] for split in ("calibration", "train")}
    if not len(splits["evaluation"]):
        raise DataError(
            f"{len(records)} rows, but none for evaluation; name a split column, or raise shares.evaluation"
        )
    return splits


def _given(records: Records, columns: Columns) -> np.ndarray | None:
    if columns.split is not None:
        names = records.texts(columns.split)
        return np.array([split_named(name, place) for name, place in zip(names, records.places, strict=True)], object)
    return None if None in records.split else np.array(records.split, object)


def groups_of(records: Records, columns: Columns) -> Sequence[str]:
    """What must stay together when rows are held out."""
    return records.texts(columns.group) if columns.group else records.ids


def attributes_of(records: Records, columns: Columns) -> dict[str, Sequence[str]]:
    """Attribute name -> one text per row; an empty cell is the group of that name."""
    return {
        name: ["" if value is None else str(value) for value in records.columns[name]] for name in columns.attributes
    }


def encoded(
    names: Sequence[str], classes: Sequence[str] | None, places: Sequence[str]
) -> tuple[np.ndarray, tuple[str, ...]]:
    """int64 class numbers, and the classes: as given, else sorted (numbers by value).

    Raises:
        DataError: for a label that is none of the given classes, or if there are fewer than two.
    """
    known = tuple(classes) if classes else _sorted(set(names))
    number = {name: index for index, name in enumerate(known)}
    for name, place in zip(names, places, strict=True):
        if name not in number:
            raise DataError(f"{place}: '{name}' is none of the classes.{nearest(name, known)} Known: {shown(known)}")
    if len(known) < 2:  # noqa: PLR2004 - nothing to tell apart
        raise DataError(f"only one class ({shown(known)}): classification needs two")
    return np.array([number[name] for name in names], np.int64), known


def _sorted(names: Iterable[str]) -> tuple[str, ...]:
    names = sorted(names)  # first by text: `1` and `01` are one number, and a set has no order
    return tuple(sorted(names, key=int) if all(_WHOLE.fullmatch(name) for name in names) else names)


def shown(names: Sequence[str]) -> str:
    """The first names, for messages."""
    return ", ".join(names[:10]) + (", ..." if len(names) > 10 else "")  # noqa: PLR2004 - a line's worth
