"""Observe what a model answers on the evaluation sets that the recipe names, and its figures there."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ops.core.errors import OperationError
from pipeline.core.environment import device, device_id
from pipeline.core.keys import Key
from pipeline.engine.jobs import Job
from pipeline.engine.stage import Planning, Recording, Stage, register
from pipeline.measure.instance_values import load_values, save_values
from pipeline.measure.metrics.compute import failure_message, identities
from pipeline.measure.predictions import load_predictions, save_predictions
from pipeline.stages.evaluation_sets.set_figures import AnswerPair, metric_record, set_figures, subset
from pipeline.stages.predict import PREDICT, answers_of_model
from pipeline.store.records.run_records import InstanceValues, Measurement, Metric
from pipeline.targets.open import open_target

if TYPE_CHECKING:
    from pipeline.engine.worker import Worker
    from pipeline.measure.metrics.api import Predictions

_PREDICTIONS = "predictions"


@dataclass(frozen=True, slots=True)
class EvaluateParams:
    """The set, and the evidence that figures are computed from."""

    set: dict[str, Any]
    """`pipeline.plan.evaluation_sets.EvaluationSpec.plain`."""
    metrics: tuple[str, ...]
    """`pipeline.measure.metrics.compute.identities` when the run was planned, sorted."""
    source: Key
    """The model, or its export."""
    own: Key
    """Predictions on the data set's own evaluation split."""
    base_own: Key | None = None
    """Those of the base; None for the base itself."""
    base: Key | None = None
    """The base's artifact of this stage, for the same set."""


class EvaluateStage(Stage[EvaluateParams]):
    """The figures of every model on every evaluation set beside the data set's own, on every target."""

    name, version, params = "evaluate", 1, EvaluateParams
    needs = ("operation", "export", "predict")

    def jobs(self, planning: Planning) -> Iterator[Job[EvaluateParams]]:
        """One job per model, target and set; none without sets."""
        specs = planning.plan.recipe.evaluate
        if not specs:
            return
        metrics = tuple(sorted(planning.metrics))
        answers = {(job.model, job.target): job for job in planning.jobs_of(PREDICT)}
        keys: dict[tuple[Key, str, str], Key] = {}
        for (model, target), own in answers.items():
            step = planning.steps[model]
            base = None if step.root == model else answers.get((step.root, target))
            for spec in specs:
                identity = planning.plan.facts.evaluation_sets[spec.name]
                base_set = None if base is None else keys.get((step.root, target, spec.name))
                params = EvaluateParams(
                    spec.plain(), metrics, own.params.source, own.key, base.key if base else None, base_set
                )
                evidence = [key for key in (own.key, params.base_own, base_set) if key is not None]
                key = self.key(model, set=identity, name=spec.name, evidence=evidence, metrics=metrics)
                keys[model, target, spec.name] = key
                needs = tuple(dict.fromkeys((params.source, *evidence)))
                yield Job(key, self.name, step.path, model, needs, params, target)

    def make(self, worker: Worker, job: Job[EvaluateParams], folder: Path, scratch: Path) -> dict[str, Any]:
        """Write the predictions on the set and the values by instance; return the measures by name."""
        params = job.params
        if list(params.metrics) != sorted(identities()):
            raise OperationError("The code of a metric has changed since the run was planned; run again")
        here = AnswerPair(
            _loaded(worker, params.own), None if params.base_own is None else _loaded(worker, params.base_own)
        )
        there, rows = self._answers(worker, job, here)
        (folder / _PREDICTIONS).mkdir()
        save_predictions(there.model, folder / _PREDICTIONS)
        figures = set_figures(params.set["name"], there, here, rows)
        values = {name: own.rows for name, own in figures.estimates.items() if own.rows is not None}
        save_values(values, folder)
        measures = {
            name: {"value": own.value, "low": own.low, "high": own.high, "count": own.count}
            for name, own in figures.estimates.items()
        }
        observed = worker.artifacts.manifest(params.own)
        place = {"device": observed["device"], "dataset_key": observed["dataset"]}
        machines = {**observed.get("machines", {}), device_id(): device()}
        return {"measures": measures, **place, "machines": machines, "failed": figures.failed}

    def _answers(
        self, worker: Worker, job: Job[EvaluateParams], here: AnswerPair
    ) -> tuple[AnswerPair, np.ndarray | None]:
        """The answers to the set, and which of the own instances it has; None of other data."""
        from pipeline.datasets.evaluation_sets.opening import open_set
        from pipeline.datasets.evaluation_sets.slices import slice_rows

        params, spec, folder = job.params, job.params.set, worker.workplace.data_folder
        if spec["slice"]:
            rows = slice_rows(worker.dataset, spec["slice"], folder)
            base = None if here.base is None else subset(here.base, rows)
            return AnswerPair(subset(here.model, rows), base), rows
        data = open_set(worker.dataset, spec, folder)
        target = open_target(worker.workplace.targets[job.target])
        answers, _ = answers_of_model(
            target,
            worker.artifacts.folder(params.source),
            data,
            threads=worker.workplace.threads,
            batch_size=worker.workplace.batch_size,
        )
        base = None if params.base is None else load_predictions(worker.artifacts.folder(params.base) / _PREDICTIONS)
        same = answers.ids == here.model.ids
        return AnswerPair(answers, base), np.ones(len(answers.ids), bool) if same else None

    def records(
        self, job: Job[EvaluateParams], recording: Recording
    ) -> Iterator[Metric | Measurement | InstanceValues]:
        """The definitions of the metrics, all figures, and their values by instance."""
        manifest = recording.artifacts.manifest(job.key)
        place = {"target": job.target, "device": manifest["device"], "dataset_key": manifest["dataset_key"]}
        now = datetime.now(UTC)
        for name, measure in manifest["measures"].items():
            yield metric_record(name)
            yield Measurement(
                model_key=job.model,
                run_id=recording.run_id,
                measured_at=now,
                metric=name,
                evidence_key=job.key,
                **place,
                **measure,
            )
        for name, values in load_values(recording.artifacts.path(job.key)).items():
            yield InstanceValues(model_key=job.model, metric=name, values=values, evidence_key=job.key, **place)

    def failure(self, job: Job[EvaluateParams], recording: Recording) -> str | None:
        """Metrics that failed, and why: the job is tried again next time."""
        failed = recording.artifacts.manifest(job.key).get("failed")
        return failure_message(failed) if failed else None


EVALUATE = register(EvaluateStage())


def _loaded(worker: Worker, key: Key) -> Predictions:
    return load_predictions(worker.artifacts.folder(key))
