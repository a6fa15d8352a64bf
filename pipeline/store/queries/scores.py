"""The newest figures of models, for a run's summary."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from pipeline.store.reader import open_results


class Score(NamedTuple):
    """A value with its 95 % interval, where one is known."""

    value: float
    low: float | None
    high: float | None


def scores(results: Path, target: str, device: str) -> dict[str, dict[str, Score]]:
    """Return model_key -> metric -> score, on one target as measured on one machine.

    Numbers that depend on no target, or on no machine, belong to all.
    """
    db = open_results(results)
    try:
        rows = db.execute(
            "SELECT model_key, metric, value, low, high FROM measurements"
            " WHERE coalesce(target, ?) = ? AND coalesce(device, ?) = ?",
            [target, target, device, device],
        ).fetchall()
    finally:
        db.close()
    by_model: dict[str, dict[str, Score]] = {}
    for model, metric, *score in rows:
        by_model.setdefault(model, {})[metric] = Score(*score)
    return by_model
