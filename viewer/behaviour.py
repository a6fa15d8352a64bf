"""What models answered, instance by instance, against any base: pure functions on arrays, one element per instance.

A measure gives each instance a number for a model beside a base. Rows of a table (classes, groups) are means over their
instances; changes are means of the differences of the same instances; relative changes are ratios of means.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np

__all__ = [
    "MEASURES", "Answers", "Cells", "Flip", "Measure", "agreement", "cells", "changed_in", "flips", "histogram",
    "measure", "members", "negative_flips", "wilson_bounds",
]  # fmt: skip

_BLOCK = 1 << 15
_Z = 1.959963984540054
"""Of a two-sided 95 % interval."""


@dataclass(frozen=True, slots=True)
class Answers:
    """One model's answers on one target, in the order of the data set's instances."""

    predicted: np.ndarray
    """int32 (N,): codes of the answers, comparable between models of one sheet."""
    confidence: np.ndarray
    label_probability: np.ndarray
    """float32 (N,); NaN where it has none."""
    correct: np.ndarray
    """bool (N,)."""
    score: np.ndarray
    probabilities: Callable[[], np.ndarray | None] = field(default=lambda: None)
    """float32 (N, classes), read when asked for."""


@dataclass(frozen=True, slots=True)
class Measure:
    """A number per instance."""

    name: str
    label: str
    better: str
    """`higher`, `lower` or `neither`."""
    format: str
    compute: Callable[[Answers, Answers], np.ndarray]
    """(model, base) -> float (N,); NaN where it has no meaning."""
    of_pair: bool = False
    """Says how far model and base are apart: there is no difference to show."""
    needs: str = ""
    """`probabilities` or `score`: left out where the sheet has none."""
    doc: str = ""


MEASURES: dict[str, Measure] = {}


def measure(
    name: str,
    label: str,
    *,
    better: str,
    format: str = ".3f",  # noqa: A002 - the field's word
    of_pair: bool = False,
    needs: str = "",
) -> Callable[[Callable[[Answers, Answers], np.ndarray]], Callable[[Answers, Answers], np.ndarray]]:
    """Register a function as a measure: also from a module of one's own, named in BOUILLON_PLUGINS."""

    def register(compute: Callable[[Answers, Answers], np.ndarray]) -> Callable[[Answers, Answers], np.ndarray]:
        doc = (compute.__doc__ or "").partition("\n")[0]
        MEASURES[name] = Measure(name, label, better, format, compute, of_pair, needs, doc)
        return compute

    return register


@measure("error", "Error rate", better="lower", format=".1%")
def _error(model: Answers, base: Answers) -> np.ndarray:
    """Share of wrong answers."""
    return (~model.correct).astype(np.float32)


@measure("correct", "Correctness", better="higher", format=".1%")
def _correct(model: Answers, base: Answers) -> np.ndarray:
    """Share of right answers; exact match where answers are texts."""
    return model.correct.astype(np.float32)


@measure("confidence", "Confidence in the label", better="higher", needs="label")
def _confidence(model: Answers, base: Answers) -> np.ndarray:
    """Probability that the model gives to the true label."""
    return model.label_probability


@measure("changed", "Changed answers", better="lower", format=".1%", of_pair=True)
def _changed(model: Answers, base: Answers) -> np.ndarray:
    """Share of answers that are not the base's."""
    return np.asarray(model.predicted != base.predicted, np.float32)


@measure("margin", "Margin", better="higher", needs="probabilities")
def _margin(model: Answers, base: Answers) -> np.ndarray:
    """Probability of the most likely class less that of the next."""
    found = model.probabilities()
    if found is None or found.shape[1] < 2:  # noqa: PLR2004 - two classes
        return np.full(len(model.correct), np.nan, np.float32)
    best = np.partition(found, -2, axis=1)[:, -2:]
    margin: np.ndarray = best[:, 1] - best[:, 0]
    return margin


@measure("kl", "KL divergence [bits]", better="lower", of_pair=True, needs="probabilities")
def _kl(model: Answers, base: Answers) -> np.ndarray:
    """Kullback-Leibler divergence of the model's probabilities from the base's, in bits."""
    return _over_rows(model, base, _kl_rows)


@measure("js", "Jensen-Shannon [bits]", better="lower", of_pair=True, needs="probabilities")
def _js(model: Answers, base: Answers) -> np.ndarray:
    """Jensen-Shannon divergence: 0 where they agree, 1 bit where they have nothing in common."""
    return _over_rows(model, base, _js_rows)


@measure("f1", "F1", better="higher", needs="score")
def _f1(model: Answers, base: Answers) -> np.ndarray:
    """Token F1 of the answer to the nearest accepted one."""
    return model.score


def _over_rows(model: Answers, base: Answers, rows: Callable[[np.ndarray, np.ndarray], np.ndarray]) -> np.ndarray:
    """Work in blocks that stay in the processor's cache: all logarithms at once would be a gigabyte."""
    mine, theirs = model.probabilities(), base.probabilities()
    if mine is None or theirs is None:
        return np.full(len(model.correct), np.nan, np.float32)
    found = np.empty(len(mine), np.float32)
    step = max(1, _BLOCK // mine.shape[1])
    for start in range(0, len(mine), step):
        part = slice(start, start + step)
        found[part] = rows(mine[part], theirs[part])
    return found


_FLOOR = np.float32(6e-15)
"""Smallest probability that the store keeps; below it a logarithm would be of nothing."""


def _kl_rows(model: np.ndarray, base: np.ndarray) -> np.ndarray:
    terms = base * np.log2(np.maximum(base, _FLOOR) / np.maximum(model, _FLOOR))
    rows: np.ndarray = np.maximum(terms.sum(axis=1), 0)
    return rows


def _js_rows(model: np.ndarray, base: np.ndarray) -> np.ndarray:
    """The middle's entropy less the mean of the two entropies."""
    rows = _entropy((model + base) / 2) - (_entropy(model) + _entropy(base)) / 2
    return np.asarray(np.clip(rows, 0, 1))


def _entropy(rows: np.ndarray) -> np.ndarray:
    terms = np.log2(np.maximum(rows, _FLOOR))
    terms *= rows
    return np.asarray(-terms.sum(axis=1, dtype=np.float64))


# ---- rows of a table
@dataclass(frozen=True, slots=True)
class Members:
    """Which instances belong to which row. An instance may be in several rows, or in none."""

    instance: np.ndarray
    row: np.ndarray
    names: tuple[str, ...]


def members(values: Sequence[str], *, whole: Sequence[str] = ()) -> Members:
    """Return the rows that values name: `a|b` belongs to both, unless it is one of the `whole` names itself."""
    distinct, codes = np.unique(np.asarray(values, dtype=object).astype(str), return_inverse=True)
    parts = [[text] if text in whole or "|" not in text else sorted(set(text.split("|"))) for text in distinct]
    names = sorted({part for found in parts for part in found})
    place = {name: at for at, name in enumerate(names)}
    rows = [[place[part] for part in found] for found in parts]
    if all(len(found) == 1 for found in rows):
        row = np.array([found[0] for found in rows], np.int64)[codes] if rows else np.empty(0, np.int64)
        return Members(np.arange(len(codes)), row, tuple(names))
    instance = np.concatenate([np.full(len(rows[code]), at) for at, code in enumerate(codes)])
    row = np.concatenate([np.array(rows[code]) for code in codes])
    return Members(instance.astype(np.int64), row.astype(np.int64), tuple(names))


@dataclass(frozen=True, slots=True)
class Cells:
    """One column of a table: a model's mean per row, and its change against the base, float64 (rows,)."""

    count: np.ndarray
    mean: np.ndarray
    low: np.ndarray
    high: np.ndarray
    change: np.ndarray
    """Mean of the differences to the base, of the same instances."""
    change_low: np.ndarray
    change_high: np.ndarray
    relative: np.ndarray
    """Ratio of the means, less one; NaN where the base's mean is zero."""
    only_base: np.ndarray
    only_model: np.ndarray
    """Instances on which only the base, or only the model, is one rather than zero (measures of shares)."""


def cells(values: np.ndarray, base: np.ndarray, belongs: Members, shown: np.ndarray, *, of_pair: bool = False) -> Cells:
    """Return the means of `values` per row over the instances `shown` (bool (N,)), compared with those of `base`."""
    known = shown & np.isfinite(values) & np.isfinite(base)
    keep = known[belongs.instance]
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
        half = _Z * np.sqrt(np.maximum(total(away**2) / count - change**2, 0) / np.maximum(count - 1, 1))
        relative = np.full(size, np.nan) if of_pair else np.where(base_sums != 0, sums / base_sums - 1, np.nan)
        if _is_share(v[known]):
            low, high = wilson_bounds(sums, count)
        else:
            spread = _Z * np.sqrt(np.maximum(total(v**2) / count - mean**2, 0) / np.maximum(count - 1, 1))
            low, high = mean - spread, mean + spread
        return Cells(
            count=count, mean=mean, low=low, high=high, change=change, change_low=change - half,
            change_high=change + half, relative=relative,
            only_base=total((b > 0.5) & (v <= 0.5)), only_model=total((v > 0.5) & (b <= 0.5)),  # noqa: PLR2004 - ones and zeros
        )  # fmt: skip


def wilson_bounds(successes: np.ndarray, count: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """95 % intervals of shares (Wilson, 1927), elementwise; NaN of nothing."""
    share, spread = successes / count, _Z * _Z / count
    centre = (share + spread / 2) / (1 + spread)
    half = _Z / (1 + spread) * np.sqrt(share * (1 - share) / count + spread / (4 * count))
    return np.maximum(centre - half, 0), np.minimum(centre + half, 1)


def _is_share(values: np.ndarray) -> bool:
    return bool(((values == 0) | (values == 1)).all())


# ---- what changed
@dataclass(frozen=True, slots=True)
class Flip:
    """How often one answer became another."""

    before: int
    after: int
    count: int


def flips(model: Answers, base: Answers, shown: np.ndarray, most: int = 5) -> list[Flip]:
    """Return the most frequent changes of answer, most frequent first."""
    differ = shown & (model.predicted != base.predicted)
    before, after = base.predicted[differ].astype(np.int64), model.predicted[differ].astype(np.int64)
    if not before.size:
        return []
    width = int(max(before.max(), after.max())) + 1
    codes, counts = np.unique(before * width + after, return_counts=True)
    order = np.lexsort((codes, -counts))[:most]
    return [Flip(int(codes[at] // width), int(codes[at] % width), int(counts[at])) for at in order]


def flip_matrix(model: Answers, base: Answers, shown: np.ndarray, most: int = 8) -> tuple[list[int], np.ndarray]:
    """Return the answers that change most, and how often each became each other: (codes, int64 (codes, codes))."""
    found = flips(model, base, shown, most=10_000)
    weight: dict[int, int] = {}
    for flip in found:
        for code in (flip.before, flip.after):
            weight[code] = weight.get(code, 0) + flip.count
    codes = sorted(sorted(weight, key=lambda code: (-weight[code], code))[:most])
    place = {code: at for at, code in enumerate(codes)}
    table = np.zeros((len(codes), len(codes)), np.int64)
    for flip in found:
        if flip.before in place and flip.after in place:
            table[place[flip.before], place[flip.after]] = flip.count
    return codes, table


def negative_flips(model: Answers, base: Answers, shown: np.ndarray) -> int:
    """Number of instances that the base gets right and the model gets wrong."""
    return int((shown & base.correct & ~model.correct).sum())


def agreement(model: Answers, base: Answers, shown: np.ndarray) -> float | None:
    """Share of equal answers; None of nothing."""
    return float((model.predicted == base.predicted)[shown].mean()) if shown.any() else None


def changed_in(models: Sequence[Answers], base: Answers) -> np.ndarray:
    """In how many of the models each answer is not the base's, int64 (N,): many is what Hooker et al. (2019) call an exemplar."""
    found = np.zeros(len(base.correct), np.int64)
    for model in models:
        found += model.predicted != base.predicted
    return found


def histogram(values: np.ndarray, shown: np.ndarray, edges: np.ndarray) -> np.ndarray:
    """Counts of the finite values shown, in bins of which the last includes its upper edge."""
    counts, _ = np.histogram(values[shown & np.isfinite(values)], bins=edges)
    return counts


def mcnemar_exact(only_base: np.ndarray, only_model: np.ndarray) -> np.ndarray:
    """Exact two-sided p values (McNemar, 1947), elementwise; 1 where nothing changed."""
    from scipy.stats import binom

    total = only_base + only_model
    p = 2 * binom.cdf(np.minimum(only_base, only_model), total, 0.5)
    found: np.ndarray = np.where(total > 0, np.minimum(p, 1.0), 1.0)
    return found


def holm(p_values: np.ndarray) -> np.ndarray:
    """P values of many tests, adjusted so that the chance of any false alarm keeps its level (Holm, 1979)."""
    flat = np.asarray(p_values, np.float64).reshape(-1)
    order = np.argsort(flat, kind="stable")
    adjusted = np.minimum(np.maximum.accumulate(flat[order] * np.arange(len(flat), 0, -1)), 1)
    found = np.empty_like(flat)
    found[order] = adjusted
    return found.reshape(np.shape(p_values))
