"""The one way to the instances that are set aside. Only `pipeline.delivery.confirmation` may import this module.

The data set that everything else opens gives no row of them (`pipeline.datasets.open`). Whoever opens them shows a
`WrittenLook`: the record, already published in the results, that says when and why they were looked at.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from pipeline.core.keys import digest
from pipeline.datasets.api import DataError, Dataset
from pipeline.datasets.open import open_dataset
from pipeline.datasets.reserve import ENOUGH, Reserve
from pipeline.datasets.splits import SplitDataset, SplitInstances

__all__ = ["WrittenLook", "confirmation_size", "open_confirmation"]


@dataclass(frozen=True, slots=True)
class WrittenLook:
    """Leave to look at the confirmation split of one data set, once it is written down that it is looked at."""

    dataset_key: str
    look_id: str
    """That of the record."""


def confirmation_size(data: Dataset) -> int:
    """Return how many instances of an open data set are set aside.

    Raises:
        DataError: if none are, with what would set some aside.
    """
    if not isinstance(data, SplitDataset) or data.reserve is None:
        raise DataError(
            f"Data set '{data.name}' has no confirmation split: its evaluation split has {data.size('evaluation'):,} instances, and "
            f"below {ENOUGH:,} none are set aside unless asked for. Run the recipe with dataset.confirmation=0.3, or more data"
        )
    return data.withheld


def open_confirmation(entry: Mapping[str, Any], folder: Path, look: WrittenLook) -> Dataset:
    """Open a data set whose evaluation split is the instances that were set aside. Its other splits are empty.

    Args:
        entry: the conf/dataset entry.
        folder: cache folder of data files.
        look: the record that says that they are looked at.

    Raises:
        DataError: if the data cannot be opened, are not those of the look, or have no confirmation split.
    """
    data = open_dataset(entry, folder)
    if data.fingerprint != look.dataset_key:
        raise DataError(
            f"Data set '{data.name}' is not what it was when the look was written down: its files have changed"
        )
    confirmation_size(data)
    assert isinstance(data, SplitDataset)
    reserve = data.reserve
    assert reserve is not None
    data.change_instances(lambda instances: _withheld(instances, reserve))
    data.fingerprint = digest({"what": "confirmation", "dataset": look.dataset_key})
    return data


def _withheld(instances: SplitInstances, reserve: Reserve) -> SplitInstances:
    rows = instances.splits["evaluation"]
    return replace(
        instances,
        splits={"train": rows[:0], "calibration": rows[:0], "evaluation": rows[reserve.rows(instances)]},
        withheld=rows[:0],
    )
