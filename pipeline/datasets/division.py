"""Division of a data set's rows into splits: fixed shuffles, hashes, and samples spread over strata."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from pipeline.core.keys import unit_hash
from pipeline.datasets.api import SPLITS, Split


def scrambled(count: int) -> np.ndarray:
    """uint64 (count,): a fixed pseudo-random number for each row, the same in every version of NumPy.

    Not `numpy.random`: its streams may change between versions, and with them the splits under one fingerprint. This is
    the finaliser of SplitMix64 (Steele, Lea and Flood, "Fast splittable pseudorandom number generators", OOPSLA 2014).
    """
    state = np.arange(1, count + 1, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15)
    state = (state ^ (state >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    state = (state ^ (state >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return state ^ (state >> np.uint64(31))


def spread_order(strata: np.ndarray) -> np.ndarray:
    """A fixed shuffle of the rows in which every beginning holds the strata in proportion. int64 (N,)."""
    shuffled = np.argsort(scrambled(len(strata)), kind="stable")
    groups = strata[shuffled]
    counts = np.bincount(groups)
    by_group = np.argsort(groups, kind="stable")
    rank = np.empty(len(strata))
    rank[by_group] = np.arange(len(strata)) - np.repeat(np.cumsum(counts) - counts, counts)
    offset = scrambled(len(counts)) / 2.0**64  # else a sample of few instances would take those of the first groups
    place = (rank + offset[groups]) / counts[groups]
    order: np.ndarray = shuffled[np.argsort(place, kind="stable")]
    return order


def first_spread(rows: np.ndarray, strata: np.ndarray, count: int) -> np.ndarray:
    """The first `count` of a fixed shuffle of `rows`, spread over their strata, in stored order.

    Args:
        rows: int (N,), rows of the data set in stored order.
        strata: int, the stratum (class, attribute) of every row of the data set.
        count: the most rows.
    """
    if count >= len(rows):
        return rows
    selection: np.ndarray = rows[np.sort(spread_order(strata[rows])[:count])]
    return selection


def fixed_split(strata: np.ndarray, *, evaluation: int, calibration: int, train: int | None) -> dict[Split, np.ndarray]:
    """Divide rows by a fixed shuffle, each split with the strata in proportion; `train` None: all that is left.

    Evaluation comes first, so that the other sizes do not change what models are judged on.

    Args:
        strata: int (N,), the stratum (class, attribute) of every row.
        evaluation: rows of that split.
        calibration: rows of that split.
        train: rows of that split, or None.
    """
    order = spread_order(strata)
    holdout = evaluation + calibration
    return {
        "evaluation": np.sort(order[:evaluation]),
        "calibration": np.sort(order[evaluation:holdout]),
        "train": np.sort(order[holdout : None if train is None else holdout + train]),
    }


def hashed_split(groups: Sequence[str], *, evaluation: float, calibration: float) -> dict[Split, np.ndarray]:
    """Give each row to a split by the hash of its group alone: a row stays where it is when others come or go.

    Rows of one group (an id, a patient, a document) are never in two splits. Where there are so few groups that a wanted
    split would be empty, it gets the group that comes nearest.

    Args:
        groups: one per row.
        evaluation: the share of groups that goes into that split, 0 to 1.
        calibration: likewise.
    """
    place = np.fromiter((unit_hash(group) for group in groups), dtype=np.float64, count=len(groups))
    held_out = _lowest(place, evaluation, np.ones(len(place), bool))
    calibrating = _lowest(place, evaluation + calibration if calibration else 0, ~held_out)
    return {
        "train": np.flatnonzero(~held_out & ~calibrating),
        "calibration": np.flatnonzero(calibrating),
        "evaluation": np.flatnonzero(held_out),
    }


def completed_split(
    names: Sequence[Split | None], groups: Sequence[str], *, evaluation: float, calibration: float
) -> dict[Split, np.ndarray]:
    """Rows of each split as they are named; a split that has no rows is held out of the training rows, as `hashed_split` does.

    Args:
        names: The split of each row; if one has none, none counts.
        groups: Of each row.
        evaluation: The share that is held out if no row is named so.
        calibration: Likewise.
    """
    if None in names:
        return hashed_split(groups, evaluation=evaluation, calibration=calibration)
    values = np.array(names, object)
    splits: dict[Split, np.ndarray] = {split: np.flatnonzero(values == split) for split in SPLITS}
    within = splits["train"]
    holdout = hashed_split(
        [groups[row] for row in within],
        evaluation=0 if len(splits["evaluation"]) else evaluation,
        calibration=0 if len(splits["calibration"]) else calibration,
    )
    return {
        "train": within[holdout["train"]],
        **{split: np.concatenate([splits[split], within[holdout[split]]]) for split in SPLITS[1:]},
    }


def _lowest(place: np.ndarray, share: float, among: np.ndarray) -> np.ndarray:
    selection: np.ndarray = among & (place < share)
    if share and among.any() and not selection.any():
        selection = among & (place == place[among].min())
    return selection


def limited(
    splits: Mapping[Split, np.ndarray], strata: np.ndarray, limits: Mapping[Split, int | None]
) -> dict[Split, np.ndarray]:
    """Keep at most so many instances of each split, spread over the strata.

    Args:
        splits: split -> its rows, in stored order.
        strata: int, the stratum of every row of the data set.
        limits: split -> the most instances; None, or absent: all.
    """
    return {
        split: rows if (limit := limits.get(split)) is None else first_spread(rows, strata, limit)
        for split, rows in splits.items()
    }
