"""The newest figures of models and the metrics to show first, for a run's summary."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from pipeline.core.metric_kinds import MetricRole
from pipeline.store.queries.metrics import stored_metrics
from pipeline.store.reader import open_results
from pipeline.store.records.run_records import Metric


class Score(NamedTuple):
    """A value with its 95 % interval, where one is known."""

    value: float
    low: float | None
    high: float | None


def primary_metrics(results: Path) -> list[Metric]:
    """Return the metrics that are shown first: those of quality, then of cost, and so on; by name within a role."""
    with open_results(results) as db:
        primary = [metric for metric in stored_metrics(db).values() if metric.primary]
    places = {role.value: place for place, role in enumerate(MetricRole)}
    # a store of somebody else's may have roles of its own
    return sorted(primary, key=lambda metric: places.get(metric.role, len(places)))


def scores(results: Path, target: str, device: str, dataset_key: str) -> dict[str, dict[str, Score]]:
    """Return model_key -> metric -> score, on one target as measured on one machine, of one data set.

    Numbers that depend on no target, on no machine, or on no data, belong to all.

    Args:
        results: the results file.
        target: name of the target.
        device: id of the machine.
        dataset_key: fingerprint of the data set: the same model may have been evaluated on others.
    """
    db = open_results(results)
    try:
        rows = db.execute(
            "SELECT model_key, metric, value, low, high FROM measurements"
            " WHERE coalesce(target, ?) = ? AND coalesce(device, ?) = ? AND coalesce(dataset_key, ?) = ?",
            [target, target, device, device, dataset_key, dataset_key],
        ).fetchall()
    finally:
        db.close()
    by_model: dict[str, dict[str, Score]] = {}
    for model, metric, *score in rows:
        by_model.setdefault(model, {})[metric] = Score(*score)
    return by_model
