"""Experiments of other programs on their way into the store: models with parents, operations and figures."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property
from typing import TYPE_CHECKING, Any

from pipeline.core.keys import Key, digest
from pipeline.store.interchange.guess import better_of, operation_kind, role_of
from pipeline.store.records.run_records import Ingested, Measurement, Metric, Model, Record, Run, RunEnd

if TYPE_CHECKING:
    from pipeline.store.writer import Store

__all__ = ["ForeignExperiment", "ForeignMetric", "ForeignModel", "Imported", "import_experiment"]


@dataclass(frozen=True, slots=True)
class Imported:
    """The outcome of an import."""

    recipe: str
    models: int
    measurements: int
    is_repeated: bool
    """The same had been imported before: nothing was changed."""


@dataclass(frozen=True, slots=True)
class ForeignMetric:
    """What a program says of its metric; the rest is told by the name."""

    name: str
    unit: str = ""
    format: str = ".4g"
    better: str = ""
    primary: bool = False


@dataclass(frozen=True, slots=True)
class ForeignModel:
    """One model."""

    id: str
    """Within the experiment; also its name, unless it has another."""
    parent: str | None
    """Id of the model that it was made from."""
    operation: str
    params: Mapping[str, Any]
    figures: Mapping[str, float]
    """Metric -> finite value."""
    title: str = ""
    name: str = ""


@dataclass(frozen=True)
class ForeignExperiment:
    """Models of one source. They are named by `source` together with their id, so two sources may hold the same ids."""

    format: str
    name: str
    """Stands where the results have the name of a recipe."""
    source: Key
    """Digest of all that is imported."""
    origin: str
    """The file or address, for people."""
    when: datetime
    models: Sequence[ForeignModel]
    metrics: Sequence[ForeignMetric] = ()
    """Those that the program describes, first."""
    config: Mapping[str, Any] = field(default_factory=dict)
    """Kept with the run that stands for the import."""

    @property
    def run(self) -> str:
        """Id of the run that stands for the import."""
        return f"import-{self.source[:16]}"

    def key(self, model: str) -> Key:
        """Return the key of a model, by its id."""
        return digest({"what": "imported model", "source": self.source, "id": model})

    @cached_property
    def _described(self) -> list[ForeignMetric]:
        """Every metric that a model has a figure of, or that the program describes."""
        described = {metric.name: metric for metric in self.metrics}
        used = (name for model in self.models for name in model.figures)
        return [described.get(name, ForeignMetric(name)) for name in dict.fromkeys([*described, *used])]

    def records(self, defined: Mapping[str, Metric]) -> Iterator[Record]:
        """Return all facts, in no particular order.

        A metric whose unit or meaning contradicts one of the same name in the store is stored as `NAME (EXPERIMENT)`.

        Args:
            defined: the store's metrics, whose names keep their meaning.
        """
        metrics = {metric.name: self._metric(metric, defined) for metric in self._described}
        yield Run(self.run, self.name, {"import": self.format, **self.config}, {}, {}, None, self.when)
        yield from (metric for metric in metrics.values() if metric not in defined.values())
        for model in self.models:
            yield Model(
                model_key=self.key(model.id),
                parent_key=None if model.parent is None else self.key(model.parent),
                name=model.name or model.id,
                title=model.title,
                recipe=self.name,
                op=model.operation,
                op_version=0,
                kind=operation_kind(model.operation, is_root=model.parent is None),
                format="",
                params=model.params,
            )
            for name, value in model.figures.items():
                yield Measurement(
                    model_key=self.key(model.id),
                    target="",
                    device="",
                    dataset_key="",
                    metric=metrics[name].metric,
                    value=value,
                    low=None,
                    high=None,
                    count=None,
                    run_id=self.run,
                    measured_at=self.when,
                    evidence_key=self.source,
                )
        yield Ingested(self.source)
        yield RunEnd(self.run, self.when, 0)

    def _metric(self, metric: ForeignMetric, defined: Mapping[str, Metric]) -> Metric:
        """The store's own definition if it means the same."""
        better, same = metric.better or better_of(metric.name), defined.get(metric.name)
        if same is not None and (same.unit, same.better) == (metric.unit, better):
            return same
        return Metric(
            metric=metric.name if same is None else f"{metric.name} ({self.name})",
            unit=metric.unit,
            format=metric.format,
            better=better,
            primary=metric.primary,
            description=f"{metric.name}, as imported from {self.origin}",
            role=role_of(metric.name),
        )


def import_experiment(store: Store, experiment: ForeignExperiment, details: Sequence[Record] = ()) -> Imported:
    """Write an experiment to the store and publish it.

    Args:
        store: where to.
        experiment: what was read.
        details: further facts of the format's own.
    """
    repeated = experiment.source in store.ingested()
    if not repeated:
        store.write([*experiment.records(store.metrics()), *details])
    store.publish()
    measurements = sum(len(model.figures) for model in experiment.models)
    return Imported(experiment.name, len(experiment.models), measurements, repeated)
