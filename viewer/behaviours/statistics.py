"""Statistics of answers, instance by instance, against any base: pure functions on arrays, one element per instance.

Rows of a table (classes, groups) are means over their instances; changes are means of the differences of the same
instances; relative changes are ratios of means. Whether something changed at all is for one test to say: that of `Cells.p`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from pipeline.core.statistics import Z, mcnemar_of_counts, wilson_bounds
from viewer.behaviours.measures import ModelAnswers

__all__ = [
    "Cells",
    "Flip",
    "Members",
    "agreement_rate",
    "cells",
    "changed_in",
    "count_bins",
    "flip_matrix",
    "flips",
    "members",
    "negative_flips",
]


# ---- rows of a table
@dataclass(frozen=True, slots=True)
class Members:
    """Membership of instances in rows. An instance may be in several rows, or in none."""

    instance: np.ndarray
    row: np.ndarray
    names: tuple[str, ...]


def members(values: Sequence[str | None], *, whole: Sequence[str] = ()) -> Members:
    """Return the rows that values name: `a|b` belongs to both, unless it is one of the `whole` names itself; None to none."""
    distinct = sorted({text for text in values if text is not None})
    number = {text: at for at, text in enumerate(distinct)}
    instance = np.array([at for at, text in enumerate(values) if text is not None], np.int64)
    codes = np.array([number[text] for text in values if text is not None], np.int64)
    parts = [[text] if text in whole or "|" not in text else sorted(set(text.split("|"))) for text in distinct]
    names = sorted({part for subset in parts for part in subset})
    place = {name: at for at, name in enumerate(names)}
    rows = [[place[part] for part in subset] for subset in parts]
    if all(len(subset) == 1 for subset in rows):
        row = np.array([code_row[0] for code_row in rows], np.int64)[codes] if rows else np.empty(0, np.int64)
        return Members(instance, row, tuple(names))
    repeats = np.repeat(instance, [len(rows[code]) for code in codes])
    row = np.concatenate([np.array(rows[code]) for code in codes])
    return Members(repeats, row.astype(np.int64), tuple(names))


@dataclass(frozen=True, slots=True)
class Cells:
    """One column of a table: a model's mean per row, and its change against the base, float64 (rows,)."""

    count: np.ndarray
    mean: np.ndarray
    low: np.ndarray
    high: np.ndarray
    change: np.ndarray
    """Mean of the differences to the base, of the same instances."""
    relative: np.ndarray
    """Ratio of the means, less one; NaN where the base's mean is zero."""
    p: np.ndarray
    """P values that nothing changed: exact McNemar tests of shares, tests of the mean difference of other numbers; NaN of
    nothing, and of measures that compare the two themselves."""
    exact: bool
    """The p values are those of McNemar's test."""


def cells(values: np.ndarray, base: np.ndarray, belongs: Members, mask: np.ndarray, *, of_pair: bool = False) -> Cells:
    """Return the means of a model's values per row, compared with those of the base.

    Args:
        values: float (N,), the model's; not finite: the instance does not count.
        base: float (N,), the base's, likewise.
        belongs: which instances belong to which row.
        mask: bool (N,), the instances that count.
        of_pair: whether the values already are comparisons with the base.
    """
    valid = mask & np.isfinite(values) & np.isfinite(base)
    keep = valid[belongs.instance]
    instance, row = belongs.instance[keep], belongs.row[keep]
    size = len(belongs.names)

    def total(weights: np.ndarray) -> np.ndarray:
        return np.bincount(row, weights=weights[instance], minlength=size)

    v, b = values.astype(np.float64), base.astype(np.float64)
    count = np.bincount(row, minlength=size).astype(np.float64)
    with np.errstate(divide="ignore", invalid="ignore"):
        sums, base_sums = total(v), total(b)
        mean = sums / count
        away = v if of_pair else v - b
        change = total(away) / count
        error = np.sqrt(np.maximum(total(away**2) / count - change**2, 0) / np.maximum(count - 1, 1))
        relative = np.full(size, np.nan) if of_pair else np.where(base_sums != 0, sums / base_sums - 1, np.nan)
        if _is_share(v[valid]):
            low, high = wilson_bounds(sums, count)
        else:
            spread = Z * np.sqrt(np.maximum(total(v**2) / count - mean**2, 0) / np.maximum(count - 1, 1))
            low, high = mean - spread, mean + spread
        exact = _is_share(v[valid]) and _is_share(b[valid])
        lost, won = total((b == 1) & (v == 0)), total((v == 1) & (b == 0))
        p = mcnemar_of_counts(lost, won) if exact else _mean_p(change, error, count)
        p = np.where((count > 0) & (not of_pair), p, np.nan)
        return Cells(count=count, mean=mean, low=low, high=high, change=change, relative=relative, p=p, exact=exact)


def _mean_p(mean: np.ndarray, error: np.ndarray, count: np.ndarray) -> np.ndarray:
    """Two-sided p values that means are zero, by the normal approximation, elementwise; 1 of a single instance."""
    from scipy.special import erfc

    with np.errstate(divide="ignore", invalid="ignore"):
        p = erfc(np.abs(mean) / error / np.sqrt(2))
    p_values: np.ndarray = np.where((count > 1) & (mean != 0), p, 1.0)
    return p_values


def _is_share(values: np.ndarray) -> bool:
    return bool(((values == 0) | (values == 1)).all())


# ---- what changed
@dataclass(frozen=True, slots=True)
class Flip:
    """A count of how often one answer became another."""

    before: int
    after: int
    count: int


def flips(model: ModelAnswers, base: ModelAnswers, mask: np.ndarray, most: int = 5) -> list[Flip]:
    """Return the most frequent changes of answer, most frequent first.

    Args:
        model: its answers.
        base: those of the base.
        mask: bool (N,), the instances that count.
        most: the most changes to return.
    """
    differ = mask & model.differs(base)
    before, after = base.predicted[differ].astype(np.int64), model.predicted[differ].astype(np.int64)
    if not before.size:
        return []
    width = int(max(before.max(), after.max())) + 1
    codes, counts = np.unique(before * width + after, return_counts=True)
    order = np.lexsort((codes, -counts))[:most]
    return [Flip(int(codes[at] // width), int(codes[at] % width), int(counts[at])) for at in order]


def flip_matrix(
    model: ModelAnswers, base: ModelAnswers, mask: np.ndarray, most: int = 8
) -> tuple[list[int], np.ndarray]:
    """Return the answers that change most, and how often each became each other: (codes, int64 (codes, codes)).

    Args:
        model: its answers.
        base: those of the base.
        mask: bool (N,), the instances that count.
        most: the most answers to return.
    """
    pairs = flips(model, base, mask, most=10_000)
    weight: dict[int, int] = {}
    for flip in pairs:
        for code in (flip.before, flip.after):
            weight[code] = weight.get(code, 0) + flip.count
    codes = sorted(sorted(weight, key=lambda code: (-weight[code], code))[:most])
    place = {code: at for at, code in enumerate(codes)}
    table = np.zeros((len(codes), len(codes)), np.int64)
    for flip in pairs:
        if flip.before in place and flip.after in place:
            table[place[flip.before], place[flip.after]] = flip.count
    return codes, table


def negative_flips(model: ModelAnswers, base: ModelAnswers, mask: np.ndarray) -> int:
    """Number of instances that the base gets right and the model gets wrong."""
    return int((mask & base.correct & ~model.correct).sum())


def agreement_rate(model: ModelAnswers, base: ModelAnswers, mask: np.ndarray) -> float | None:
    """Share of the same answers; None of nothing."""
    return float((~model.differs(base))[mask].mean()) if mask.any() else None


def changed_in(models: Sequence[ModelAnswers], base: ModelAnswers) -> np.ndarray:
    """In how many of the models each answer is not the base's, int64 (N,): many is what Hooker et al. (2019) call an exemplar."""
    flips = np.zeros(len(base.correct), np.int64)
    for model in models:
        flips += model.differs(base)
    return flips


def count_bins(values: np.ndarray, mask: np.ndarray, edges: np.ndarray) -> np.ndarray:
    """Counts of the finite values shown, in bins of which the last includes its upper edge.

    Args:
        values: float (N,).
        mask: bool (N,), the instances that count.
        edges: float (bins + 1,), rising.

    Returns:
        int64 (bins,).
    """
    counts, _ = np.histogram(values[mask & np.isfinite(values)], bins=edges)
    return counts
