"""Confirmations in some results: earlier looks, and a model's confirmed figures."""

from __future__ import annotations

from datetime import datetime
from typing import NamedTuple

from pipeline.store.reader import Connection

__all__ = ["ConfirmedValue", "EarlierLook", "confirmed_values", "earlier_looks", "models_with"]


class EarlierLook(NamedTuple):
    """A look at a confirmation split."""

    looked_at: datetime
    question: str
    models: tuple[str, ...]
    """Keys."""


class ConfirmedValue(NamedTuple):
    """A figure of the whole confirmation split, of the first look that measured the model."""

    metric: str
    value: float
    low: float | None
    high: float | None
    chosen_value: float | None
    within_noise: bool | None
    among: int
    look: int
    instances: int
    looked_at: datetime


def earlier_looks(db: Connection, dataset_key: str) -> tuple[EarlierLook, ...]:
    """Return the looks at a data set's confirmation split, the first first."""
    rows = db.execute(
        "SELECT looked_at, question, models FROM confirmation_looks WHERE dataset_key = ? ORDER BY look", [dataset_key]
    ).fetchall()
    return tuple(EarlierLook(at, question, tuple(models)) for at, question, models in rows)


def models_with(db: Connection, metric: str, target: str, dataset_key: str) -> int:
    """Return how many models have a figure under some conditions."""
    row = db.execute(
        "SELECT count(DISTINCT model_key) FROM measurements WHERE metric = ? AND target = ? AND dataset_key = ?",
        [metric, target, dataset_key],
    ).fetchone()
    return int(row[0]) if row else 0


def confirmed_values(db: Connection, model_key: str, target: str, dataset_key: str) -> tuple[ConfirmedValue, ...]:
    """Return a model's confirmed figures, of the first look at it: the one that the others could not influence.

    Args:
        db: open results.
        model_key: the model.
        target: the runtime.
        dataset_key: fingerprint of the data set that it was chosen on.
    """
    rows = db.execute(
        "SELECT c.metric, c.value, c.low, c.high, c.chosen_value, c.within_noise, c.among, c.look, l.instances, c.looked_at"
        " FROM confirmations c JOIN confirmation_looks l USING (look_id)"
        " WHERE c.model_key = ? AND c.target = ? AND c.dataset_key = ? AND c.part = ''"
        " QUALIFY rank() OVER (ORDER BY c.look) = 1 ORDER BY c.metric <> l.metric, c.metric",
        [model_key, target, dataset_key],
    ).fetchall()
    return tuple(ConfirmedValue(*row) for row in rows)
