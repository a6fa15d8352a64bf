"""Thresholds of models that tell two classes apart: which one keeps what the base finds, and what that costs.

The answer with the larger probability is a threshold of 0.5. A compressed model may rank instances as well as its base and
yet find fewer, because its probabilities moved; then another threshold mends it, and no other model is needed. Pure.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from pipeline.core.statistics import CONFIDENCE, Interval
from viewer.behaviours.measures import ModelAnswers

__all__ = ["OperatingPoint", "Truth", "curve", "operating_point", "positive_scores", "resamples"]

_MOST_VALUES = 4_000_000
_SEED = 0
_KNOWN = 0.95
"""Share of the resamples in which a figure must exist for it to have an interval."""


@dataclass(frozen=True, slots=True)
class Truth:
    """What thresholds are judged by."""

    positive: np.ndarray
    """bool (N,): instances of the positive class."""
    base: np.ndarray
    """bool (N,): those that the base takes for positive."""
    weights: np.ndarray
    """float64 (1 + resamples, N): how often each instance counts; once in the first row."""


@dataclass(frozen=True, slots=True)
class OperatingPoint:
    """A model at one threshold."""

    threshold: float
    """Instances whose probability is at least that are taken for positive; NaN where no threshold keeps what is asked."""
    recall: float
    precision: float
    rest: Interval | None
    """What was not asked to be kept: the precision left at the base's recall, or the recall left at its precision."""
    difference: Interval | None
    """That less the base's, of the same instances."""
    usual: tuple[float, float]
    """Recall and precision of the model's own answers."""


def positive_scores(answers: ModelAnswers, positive: int) -> np.ndarray | None:
    """Return the probability of the positive one of two classes, float64 (N,); None where it is not known of all.

    Args:
        answers: a model's.
        positive: code of the class.
    """
    confidence = answers.confidence.astype(np.float64)
    if not confidence.size or not np.isfinite(confidence).all():
        return None
    return np.where(answers.predicted == positive, confidence, 1 - confidence)


def resamples(count: int) -> np.ndarray:
    """Return weights of the bootstrap (Efron, 1979), float64 (1 + resamples, count), the first row all ones."""
    number = max(200, min(1000, _MOST_VALUES // max(1, count)))
    draws = np.random.default_rng(_SEED).multinomial(count, np.full(count, 1 / count), number)
    return np.concatenate([np.ones((1, count)), draws])


def operating_point(scores: np.ndarray, own: np.ndarray, truth: Truth, keep: str) -> OperatingPoint:
    """Return the threshold at which a model keeps the base's recall, or its precision, and what is left of the other.

    Of the thresholds that keep the recall it is the highest; of those that keep the precision the one that finds most.
    The intervals are those of resampled instances: base, threshold and model are taken anew from each resample.

    Args:
        scores: float (N,), probabilities of the positive class.
        own: bool (N,): instances whose answer is the positive class.
        truth: classes, and the base's answers.
        keep: `recall` or `precision`.
    """
    order = np.argsort(-scores, kind="stable")
    ranked, right = scores[order], truth.positive[order]
    ends = np.flatnonzero(np.append(ranked[1:] != ranked[:-1], True))
    figures = [_point(part, (order, right, ends), truth, keep) for part in _blocks(truth.weights)]
    place, same, rest, difference = (np.concatenate(parts) for parts in zip(*figures, strict=True))
    usual = _rates(own, truth.positive)
    if math.isnan(rest[0]):
        return OperatingPoint(math.nan, math.nan, math.nan, None, None, usual)
    recall, precision = (same[0], rest[0]) if keep == "recall" else (rest[0], same[0])
    threshold = float(ranked[ends[int(place[0])]])
    return OperatingPoint(threshold, float(recall), float(precision), _interval(rest), _interval(difference), usual)


def curve(scores: np.ndarray, positive: np.ndarray, most: int = 160) -> list[tuple[float, float]]:
    """Return recall and precision at every threshold, from the highest on; of many, some from the whole length.

    Args:
        scores: float (N,), probabilities of the positive class.
        positive: bool (N,): what is right.
        most: the most points to return.
    """
    order = np.argsort(-scores, kind="stable")
    ranked = scores[order]
    ends = np.flatnonzero(np.append(ranked[1:] != ranked[:-1], True))
    hits = np.cumsum(positive[order])[ends]
    recall, precision = hits / max(1, int(positive.sum())), hits / (ends + 1)
    some = np.unique(np.linspace(0, len(ends) - 1, min(most, len(ends))).round().astype(int))
    return [(float(recall[at]), float(precision[at])) for at in some]


def _blocks(weights: np.ndarray) -> Sequence[np.ndarray]:
    step = max(1, _MOST_VALUES // max(1, weights.shape[1]))
    return [weights[start : start + step] for start in range(0, len(weights), step)]


def _point(
    weights: np.ndarray, ranking: tuple[np.ndarray, np.ndarray, np.ndarray], truth: Truth, keep: str
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Of each row of weights: the place of the threshold, the figure kept, the figure left, and that less the base's."""
    order, right, ends = ranking
    ranked = weights[:, order]
    hits, positives = np.cumsum(ranked * right, axis=1)[:, ends], np.cumsum(ranked, axis=1)[:, ends]
    all_found, base_taken = weights @ truth.positive, weights @ truth.base
    base_found = weights @ (truth.positive & truth.base)
    with np.errstate(divide="ignore", invalid="ignore"):
        recall, precision = hits / all_found[:, None], hits / positives
        base = {"recall": base_found / all_found, "precision": base_found / base_taken}
    if keep == "recall":
        keeps, same, rest, other = hits >= base_found[:, None], recall, precision, "precision"
        place = keeps.argmax(axis=1)
    else:
        # products of counts: no rounding decides which threshold it is
        keeps, same, rest, other = (
            hits * base_taken[:, None] >= base_found[:, None] * positives,
            precision,
            recall,
            "recall",
        )
        keeps &= positives > 0
        place = len(ends) - 1 - keeps[:, ::-1].argmax(axis=1)
    rows = np.arange(len(weights))
    able = keeps.any(axis=1) & (base_found > 0)
    figure = np.where(able, rest[rows, place], np.nan)
    return place, np.where(able, same[rows, place], np.nan), figure, figure - base[other]


def _rates(own: np.ndarray, positive: np.ndarray) -> tuple[float, float]:
    hits = int((own & positive).sum())
    return hits / max(1, int(positive.sum())), hits / int(own.sum()) if own.any() else math.nan


def _interval(values: np.ndarray) -> Interval | None:
    """The first value with the percentiles of the others."""
    finite = values[1:][np.isfinite(values[1:])]
    if not finite.size or finite.size < _KNOWN * (len(values) - 1):
        return None
    low, high = np.quantile(finite, [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2])
    return Interval(float(values[0]), float(low), float(high))
