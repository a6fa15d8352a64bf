"""Metrics of language models: over all tokens of the documents, with intervals over documents."""

from __future__ import annotations

import math

import numpy as np

from ops.core.tasks.language.language_modeling import first_choices, judged_tokens, losses, per_token
from ops.core.tasks.rows import valid_rows
from pipeline.measure.metrics.api import Better, Estimate, Pairing, Predictions, metric
from pipeline.measure.metrics.estimates import mean

_LARGEST_EXPONENT = 700.0


def _is_of_tokens(predictions: Predictions) -> bool:
    """Whether the predictions are of tokens, and are numbers."""
    return "next_tokens" in predictions.targets and bool(valid_rows(predictions).all())


@metric(unit="bit", format=".4f", better=Better.LOWER, primary=True)
def bits_per_byte(predictions: Predictions) -> Estimate | None:
    """Bits that a text costs per byte of UTF-8 (language modelling): comparable across tokenizers; intervals over documents."""
    if not _is_of_tokens(predictions) or "token_bytes" not in predictions.targets:
        return None
    sizes = np.where(judged_tokens(predictions), predictions.targets["token_bytes"], 0)
    return mean(per_token(losses(predictions) / math.log(2), sizes))


@metric(unit="", format=".4g", better=Better.LOWER, pairing=Pairing.NONE)
def perplexity(predictions: Predictions) -> Estimate | None:
    """Exponential of the mean loss per token (language modelling), of one tokenizer; interval over documents."""
    if not _is_of_tokens(predictions):
        return None
    return _exponential(mean(per_token(losses(predictions), judged_tokens(predictions))))


@metric(unit="x", format=".4f", better=Better.LOWER, pairing=Pairing.NONE)
def perplexity_ratio(predictions: Predictions, base: Predictions) -> Estimate | None:
    """Perplexity over the base's on the same tokens (language modelling); paired by document."""
    if not (_is_of_tokens(predictions) and _is_of_tokens(base)):
        return None
    places = judged_tokens(predictions)
    return _exponential(mean(per_token(losses(predictions), places) - per_token(losses(base), places)))


@metric(unit="", format=".1%", better=Better.HIGHER)
def next_token_accuracy(predictions: Predictions) -> Estimate | None:
    """Share of tokens that are the model's first choice (language modelling)."""
    if not _is_of_tokens(predictions):
        return None
    places = judged_tokens(predictions)
    return mean(per_token(places & (first_choices(predictions) == predictions.targets["next_tokens"]), places))


@metric(unit="", format=".1%", better=Better.LOWER)
def tokens_broken(predictions: Predictions, base: Predictions) -> Estimate | None:
    """Share of tokens that are the base's first choice and no longer this model's (language modelling)."""
    if not (_is_of_tokens(predictions) and _is_of_tokens(base)):
        return None
    places, tokens = judged_tokens(predictions), predictions.targets["next_tokens"]
    broken = places & (first_choices(base) == tokens) & (first_choices(predictions) != tokens)
    return mean(per_token(broken, places))


@metric(unit="", format=".1%", better=Better.NEITHER, pairing=Pairing.NONE)
def flip_margin(predictions: Predictions, base: Predictions) -> Estimate | None:
    """Mean margin that the base had where the first choice is another now: its probability less that of the second."""
    if not (_is_of_tokens(predictions) and _is_of_tokens(base)):
        return None
    flipped = judged_tokens(predictions) & (first_choices(predictions) != first_choices(base))
    if not flipped.any() or base.outputs["likeliest"].shape[2] < 2:  # noqa: PLR2004 - a first and a second
        return None
    return mean(per_token(np.where(flipped, margins(base), 0.0), flipped))


def margins(predictions: Predictions) -> np.ndarray:
    """Probability of the first choice less that of the second at each place: float64 (N, tokens)."""
    chance = np.exp(predictions.outputs["likeliest_log_probability"][:, :, :2].astype(np.float64))
    result: np.ndarray = chance[:, :, 0] - chance[:, :, 1]
    return result


def _exponential(estimate: Estimate | None) -> Estimate | None:
    if estimate is None or estimate.value > _LARGEST_EXPONENT:
        return None
    low, high = (
        None if each is None else math.exp(min(each, _LARGEST_EXPONENT)) for each in (estimate.low, estimate.high)
    )
    return Estimate(math.exp(estimate.value), low, high, estimate.count)
