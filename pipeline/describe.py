"""Facts about the registered metrics and the data set, and figures that stand alone, for the store."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from pipeline.datasets.api import SPLITS, Dataset, Split
from pipeline.metrics.api import METRICS
from pipeline.store.records import DatasetInfo, Ingested, Instances, Measurement, Metric, Record


def metric_records() -> list[Metric]:
    """What every registered metric means."""
    specs = [METRICS[name] for name in METRICS]
    return [Metric(s.name, s.unit, s.format, s.better.value, s.primary, s.description) for s in specs]


def dataset_records(data: Dataset, entry: Mapping[str, Any]) -> list[Record]:
    """The data set and the instances of its evaluation split, which predictions refer to."""
    info = DatasetInfo(
        dataset_key=data.fingerprint, name=data.name, task=data.task, classes=list(data.classes),
        splits={split: data.size(split) for split in SPLITS}, entry=dict(entry),
    )  # fmt: skip
    split: Split = "evaluation"
    instances = Instances(data.fingerprint, split, data.ids(split), data.labels(split), data.attributes(split))
    return [info, instances, Ingested(data.fingerprint)]


def measurement_records(manifest: Mapping[str, Any], *, run_id: str) -> list[Measurement]:
    """The figures of a measuring job."""
    fields = ("target", "device", "dataset_key", "value", "low", "high", "count", "evidence_key")
    now = datetime.now(UTC)
    return [
        Measurement(
            model_key=manifest["model"], run_id=run_id, measured_at=now, metric=name,
            **{field: found[field] for field in fields},
        )
        for name, found in manifest["measures"].items()
    ]  # fmt: skip


def failed_metrics(manifest: Mapping[str, Any]) -> str:
    """Which metrics of a job failed, and why."""
    told = [f"metric '{name}': {problem}" for name, problem in manifest["failed"].items()]
    return f"{'; '.join(told)}. The other metrics are kept"
