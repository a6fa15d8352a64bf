"""Tokens of one kind, of one place, or of documents of one group: what each kind costs, and where first choices change."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from ops.core.tasks.language.language_modeling import first_choices, judged_tokens, losses, per_token
from ops.core.tasks.rows import valid_rows
from pipeline.datasets.readers.documents import KINDS
from pipeline.measure.metrics.api import Estimate, Predictions
from pipeline.measure.metrics.estimates import mean
from pipeline.measure.metrics.language import margins

_PLACES = (1, 32, 128, 512)
"""First places of the groups of positions, counted from the document's first token, which is 0 and is not judged."""


@dataclass(frozen=True, slots=True)
class TokenGroup:
    """The tokens of one group, in all documents."""

    grouping: str
    """`kind`, `position`, or the attribute of documents."""
    name: str
    documents: int
    """That have such tokens."""
    tokens: int
    loss: Estimate | None
    """Nats per token."""
    loss_change: Estimate | None
    """Less the base's, paired by document; None for the base."""
    flips: Estimate | None
    """Share of tokens whose first choice is another than the base's."""
    flip_margin: Estimate | None
    """What the base's first choice had over its second where it flipped, in probability."""


def token_groups(predictions: Predictions, base: Predictions | None) -> Iterator[TokenGroup]:
    """Yield all groups that have tokens; none where outputs are not numbers.

    Args:
        predictions: of a language model.
        base: the base's, on the same documents; None for the base itself.
    """
    if not valid_rows(predictions).all() or (base is not None and not valid_rows(base).all()):
        return
    costs = losses(predictions)
    change = None if base is None else costs - losses(base)
    flipped = None if base is None else first_choices(predictions) != first_choices(base)
    margin = None if base is None else margins(base)
    for grouping, name, members in _groups(predictions):
        having = np.asarray(members.any(axis=1))
        if not having.any():
            continue
        part = members[having]

        def over(values: np.ndarray | None, weights: np.ndarray, having: np.ndarray = having) -> Estimate | None:
            return None if values is None or not weights.any() else mean(per_token(values[having] * weights, weights))

        flips = None if flipped is None else part & flipped[having]
        yield TokenGroup(
            grouping,
            name,
            int(having.sum()),
            int(part.sum()),
            over(costs, part),
            over(change, part),
            over(flipped, part),
            None if flips is None else over(margin, flips),
        )


def _groups(predictions: Predictions) -> Iterator[tuple[str, str, np.ndarray]]:
    places = judged_tokens(predictions)
    if "token_kinds" in predictions.targets:
        for number, name in enumerate(KINDS):
            yield "kind", name, places & (predictions.targets["token_kinds"] == number)
    place = np.arange(1, places.shape[1] + 1)
    for first, following in zip(_PLACES, (*_PLACES[1:], None), strict=True):
        inside = (place >= first) & (place < (following or places.shape[1] + 1))
        yield "position", f"{first} and on" if following is None else f"{first} to {following - 1}", places & inside
    for attribute, values in (predictions.attributes or {}).items():
        groups = np.asarray(values, object)
        for name in sorted(set(values) - {""}):
            yield attribute, name, places & (groups == name)[:, None]
