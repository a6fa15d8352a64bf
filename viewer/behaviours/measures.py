"""Measures that compare two models instance by instance, and a registry for more.

A measure gives each instance a number for a model beside a base, whichever two they are.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np

from pipeline.store.reader import LogRows, all_probabilities, js_divergence, kl_divergence, margin

__all__ = ["MEASURES", "Measure", "ModelAnswers", "measure", "measure_together"]

_BITS = float(np.log2(np.e))


@dataclass(frozen=True, slots=True)
class ModelAnswers:
    """One model's answers on one target, in the order of the data set's instances."""

    predicted: np.ndarray
    """int32 (N,): codes of the answers, comparable between models of one sheet. Written answers that are the same when
    normalized, as the metrics compare them, have one code."""
    confidence: np.ndarray
    label_probability: np.ndarray
    """float32 (N,); NaN where it has none."""
    correct: np.ndarray
    """bool (N,)."""
    score: np.ndarray
    rows: LogRows | None = None
    """Logarithms of all classes' probabilities, read from the store as they are needed; None where there are none."""

    numbers: np.ndarray | None = None
    """float64 (N, numbers): estimates in units of the data set's tolerance; None where answers are no numbers."""
    error: np.ndarray | None = None
    """float32 (N,): size of the largest error of an estimate, in units of the tolerance; likewise."""

    def differs(self, other: ModelAnswers) -> np.ndarray:
        """Return where the answer is another than another model's, bool (N,): of numbers, by more than the tolerance."""
        if self.numbers is None or other.numbers is None:
            different: np.ndarray = self.predicted != other.predicted
            return different
        near: np.ndarray = (np.abs(self.numbers - other.numbers) <= 1).all(axis=1)
        return ~near  # what is no number is near to nothing

    def probabilities(self) -> np.ndarray | None:
        """All classes' probabilities, float32 (N, classes): 200 MB for 50,000 instances of 1,000 classes."""
        return None if self.rows is None else all_probabilities(self.rows)


Compute: TypeAlias = Callable[[ModelAnswers, ModelAnswers], np.ndarray]
"""(model, base) -> float (N,); NaN where it has no meaning."""
ComputeTogether: TypeAlias = Callable[[Sequence[ModelAnswers], ModelAnswers], np.ndarray]
"""(models, base) -> float (models, N)."""


@dataclass(frozen=True, slots=True)
class Measure:
    """A number per instance."""

    name: str
    label: str
    better: str
    """`higher`, `lower` or `neither`."""
    format: str
    compute: ComputeTogether
    of_pair: bool = False
    """Says how far model and base are apart: there is no difference to show."""
    needs: str = ""
    """`label`, `probabilities`, `score` or `numbers`: left out where the sheet has none. Only what needs `probabilities` gets them."""
    doc: str = ""


MEASURES: dict[str, Measure] = {}


def measure_together(
    name: str,
    label: str,
    *,
    better: str,
    format: str = ".3f",  # noqa: A002 - the field's word
    of_pair: bool = False,
    needs: str = "",
) -> Callable[[ComputeTogether], ComputeTogether]:
    """Register a function of several models and their base: for what is read faster for all at once.

    Args:
        name: in addresses, and the key in `MEASURES`.
        label: for people.
        better: `higher`, `lower` or `neither`.
        format: of numbers, as in f-strings.
        of_pair: whether it already compares a model with its base, as agreement does.
        needs: `label`, `probabilities`, `score`, `numbers`, or empty: the measure is left out where the sheet lacks them.
    """

    def register(compute: ComputeTogether) -> ComputeTogether:
        doc = (compute.__doc__ or "").partition("\n")[0]
        MEASURES[name] = Measure(name, label, better, format, compute, of_pair, needs, doc)
        return compute

    return register


def measure(
    name: str,
    label: str,
    *,
    better: str,
    format: str = ".3f",  # noqa: A002 - the field's word
    of_pair: bool = False,
    needs: str = "",
) -> Callable[[Compute], Compute]:
    """Register a function of a model and its base: also from a module of one's own, named in BOUILLON_PLUGINS.

    Args:
        name: in addresses, and the key in `MEASURES`.
        label: for people.
        better: `higher`, `lower` or `neither`.
        format: of numbers, as in f-strings.
        of_pair: whether it already compares a model with its base, as agreement does.
        needs: `label`, `probabilities`, `score`, `numbers`, or empty: the measure is left out where the sheet lacks them.
    """

    def register(compute: Compute) -> Compute:
        def together(models: Sequence[ModelAnswers], base: ModelAnswers) -> np.ndarray:
            return np.stack([np.asarray(compute(model, base), np.float32) for model in models])

        together.__doc__ = compute.__doc__
        measure_together(name, label, better=better, format=format, of_pair=of_pair, needs=needs)(together)
        return compute

    return register


@measure("error", "Error rate", better="lower", format=".1%")
def _error(model: ModelAnswers, base: ModelAnswers) -> np.ndarray:
    """Share of wrong answers."""
    return (~model.correct).astype(np.float32)


@measure("correct", "Correctness", better="higher", format=".1%")
def _correct(model: ModelAnswers, base: ModelAnswers) -> np.ndarray:
    """Share of right answers; exact match where answers are texts."""
    return model.correct.astype(np.float32)


@measure("confidence", "Confidence in the label", better="higher", needs="label")
def _confidence(model: ModelAnswers, base: ModelAnswers) -> np.ndarray:
    """Probability that the model gives to the true label."""
    return model.label_probability


@measure("changed", "Changed answers", better="lower", format=".1%", of_pair=True)
def _changed(model: ModelAnswers, base: ModelAnswers) -> np.ndarray:
    """Share of answers that are not the base's."""
    return model.differs(base).astype(np.float32)


@measure_together("margin", "Margin", better="higher", needs="probabilities")
def _margin(models: Sequence[ModelAnswers], base: ModelAnswers) -> np.ndarray:
    """Probability of the most likely class less that of the next."""
    return _where_known(models, margin)


@measure_together("kl", "KL divergence [bits]", better="lower", of_pair=True, needs="probabilities")
def _kl(models: Sequence[ModelAnswers], base: ModelAnswers) -> np.ndarray:
    """Kullback-Leibler divergence of the model's probabilities from the base's, in bits."""
    return _divergences(kl_divergence, models, base)


@measure_together("js", "Jensen-Shannon [bits]", better="lower", of_pair=True, needs="probabilities")
def _js(models: Sequence[ModelAnswers], base: ModelAnswers) -> np.ndarray:
    """Jensen-Shannon divergence: 0 where they agree, 1 bit where they have nothing in common."""
    return _divergences(js_divergence, models, base)


@measure("f1", "F1", better="higher", needs="score")
def _f1(model: ModelAnswers, base: ModelAnswers) -> np.ndarray:
    """Token F1 of the answer to the nearest accepted one."""
    return model.score


@measure("error_size", "Error [tolerances]", better="lower", format=".3g", needs="numbers")
def _error_size(model: ModelAnswers, base: ModelAnswers) -> np.ndarray:
    """Size of the error of an estimate, of several numbers the largest, in units of the data set's tolerance."""
    return np.full(len(model.correct), np.nan, np.float32) if model.error is None else model.error


def _divergences(
    divergence: Callable[[LogRows, Sequence[LogRows]], np.ndarray], models: Sequence[ModelAnswers], base: ModelAnswers
) -> np.ndarray:
    theirs = base.rows
    if theirs is None:
        return np.full((len(models), len(base.correct)), np.nan, np.float32)
    return _where_known(models, lambda rows: divergence(theirs, rows) * np.float32(_BITS))


def _where_known(models: Sequence[ModelAnswers], compute: Callable[[Sequence[LogRows]], np.ndarray]) -> np.ndarray:
    """NaN for the models without probabilities."""
    scores = np.full((len(models), len(models[0].correct)), np.nan, np.float32)
    with_rows = {at: model.rows for at, model in enumerate(models) if model.rows is not None}
    if with_rows:
        scores[list(with_rows)] = compute(list(with_rows.values()))
    return scores
