"""The part of the evaluation data that is set aside for confirmation: its size, and its instances.

The best of many models is partly the luckiest of them: its figure on the data that it was chosen by is too good. Only
instances that no choice has seen say how good it is. `dataset.confirmation` sets how many are set aside: a number of
instances, a share below 1, 0 for none; null, the default, takes a third where there are `ENOUGH` evaluation instances.

Enough is 3,000: a third of them tells a model of 95 % accuracy to within 1.4 points either way, and one of 90 % to within
1.9, and the two thirds that are left still compare models. With fewer, both figures would be too wide to act on, and the
evaluation split stays whole. Beyond 5,000 instances (0.6 points of 95 %) more would only be missing from the evaluation.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Annotated

import numpy as np
from pydantic import BeforeValidator
from pydantic_core import PydanticCustomError

from pipeline.core.keys import digest, unit_hash
from pipeline.datasets.api import DataError

if TYPE_CHECKING:
    from pipeline.datasets.splits import SplitInstances

__all__ = ["ENOUGH", "Reserve", "Reserved", "default_reserve"]

ENOUGH = 3000
"""Evaluation instances from which on some are set aside without being asked for."""
_SHARE, _MOST = 1 / 3, 5000
_VERSION = 1
"""Raise it when other instances are set aside than before."""


def _checked(value: object) -> object:
    is_number = isinstance(value, int) and not isinstance(value, bool) and value >= 0
    if value is None or is_number or (isinstance(value, float) and 0 < value < 1):
        return value
    raise PydanticCustomError(
        "reserved", "expected a number of instances (500), a share of them (0.3), 0 for none, or null for the default"
    )


Reserved = Annotated[int | float | None, BeforeValidator(_checked)]
"""A number of instances, a share of the evaluation split, or None: as there is enough."""


@dataclass(frozen=True, slots=True)
class Reserve:
    """A number of instances, or a share of them, to set aside."""

    size: int | float

    def fingerprint(self, whole: str) -> str:
        """Return the identity of a data set without what is set aside, from that of the whole: it is evaluated otherwise."""
        return digest({"what": "dataset with confirmation", "version": _VERSION, "whole": whole, "size": self.size})

    def rows(self, instances: SplitInstances) -> np.ndarray:
        """Return which rows of the evaluation split are set aside: bool, in its order.

        By a hash of the instance's id alone, so that an instance stays where it is when others come or go; of its group, if it
        has one (a patient, a document), so that no group is both evaluated and confirmed. A number takes the groups with
        the lowest hashes.

        Args:
            instances: of the whole data set.

        Raises:
            DataError: if nothing would be left to evaluate, or nothing set aside.
        """
        rows = instances.splits["evaluation"]
        groups = instances.ids if instances.groups is None else instances.groups
        places = _places([str(groups[row]) for row in rows])
        selection = places < self.size if isinstance(self.size, float) else _lowest(places, self.size)
        if selection.all() or not selection.any():
            purpose = "evaluate" if selection.all() else "confirm with"
            raise DataError(
                f"confirmation: {self.size:g} of {len(rows)} evaluation instances in {len(np.unique(places))} groups leave none to "
                f"{purpose}. Give another number or share, or 0 for no confirmation"
            )
        return selection

    def remainder(self, instances: SplitInstances) -> SplitInstances:
        """Return the instances without those that are set aside."""
        selection = self.rows(instances)
        rows = instances.splits["evaluation"][~selection]
        withheld = instances.splits["evaluation"][selection]
        return replace(instances, splits={**instances.splits, "evaluation": rows}, withheld=withheld)


def default_reserve(count: int) -> Reserve | None:
    """Return what is set aside of so many evaluation instances unless a person says otherwise; None: too few."""
    return Reserve(min(_SHARE, _MOST / count)) if count >= ENOUGH else None


def _places(groups: Sequence[str]) -> np.ndarray:
    """Return a place between 0 and 1 for each row's group: another than the one that holds rows out of the training data."""
    by_group: dict[str, float] = {}
    for group in groups:
        if group not in by_group:
            by_group[group] = unit_hash(f"confirmation/{group}")
    return np.array([by_group[group] for group in groups], np.float64)


def _lowest(places: np.ndarray, count: int) -> np.ndarray:
    """The rows of the groups with the lowest places, as many groups as it takes for `count` rows."""
    order = np.sort(places)
    selection: np.ndarray = places <= order[min(count, len(order)) - 1]
    return selection
