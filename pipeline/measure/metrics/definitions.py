"""What the registered metrics mean, as the store keeps it."""

from __future__ import annotations

from pipeline.measure.metrics.api import METRICS
from pipeline.store.records.run_records import Metric


def metric_records() -> list[Metric]:
    """What every registered metric means."""
    return [
        Metric(
            metric=spec.name,
            unit=spec.unit,
            format=spec.format,
            better=spec.better.value,
            primary=spec.primary,
            description=spec.description,
            role=spec.role.value,
            pairing=spec.pairing.value,
        )
        for spec in (METRICS[name] for name in METRICS)
    ]
