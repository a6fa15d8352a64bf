"""Observe what a model answers on a target: the evaluation split, with the options that timing uses too."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ops.core.operation import Format
from ops.core.tasks.task import TASKS, AnswerKind
from pipeline.core.environment import device_id
from pipeline.core.keys import Key
from pipeline.engine.jobs import Job
from pipeline.engine.stage import Planning, Recording, Stage, register
from pipeline.measure.evaluate import SERVED_BATCH, depends_on_batch, predict
from pipeline.measure.predictions import load_predictions, prediction_record, save_predictions
from pipeline.models.storage import ONNX_FILE, load_architecture
from pipeline.plan.steps import Step
from pipeline.store.records.run_records import PredictionSet
from pipeline.targets.open import open_target

if TYPE_CHECKING:
    from pipeline.datasets.api import Dataset
    from pipeline.engine.worker import Worker
    from pipeline.measure.metrics.api import Predictions
    from pipeline.targets.api import Target


@dataclass(frozen=True, slots=True)
class RunParams:
    """The artifact that a target opens."""

    source: Key
    """The model, or its export."""


class PredictStage(Stage[RunParams]):
    """The answers of every model, on every target that takes it."""

    name, version, params = "predict", 2, RunParams
    on_device = True
    evidence = "predictions"
    needs = ("operation", "export")

    def jobs(self, planning: Planning) -> Iterator[Job[RunParams]]:
        """One job per model and target that takes it."""
        for step in planning.plan.steps:
            for target in planning.targets:
                job = self.job(step, target, planning)
                if job is not None:
                    yield job

    def job(self, step: Step, target: str, planning: Planning) -> Job[RunParams] | None:
        """Return the job that runs a model on a target.

        Args:
            step: the model.
            target: name of one of the recipe's targets.
            planning: the plan, and the entries of its targets.

        Returns:
            The job; None where the target cannot open that kind of model.
        """
        accepts = planning.plan.facts.accepts[target]
        if accepts is Format.TORCH and step.format is Format.ONNX:
            return None
        source = planning.exports.get(step.key, step.key) if accepts is Format.ONNX else step.key
        key = self.key(
            step.key,
            source=source,
            target=dict(planning.targets[target]),
            data=planning.plan.facts.data_fingerprint,
            **planning.place(target),
        )
        return Job(key, self.name, step.path, step.key, (source,), RunParams(source), target)

    def make(self, worker: Worker, job: Job[RunParams], folder: Path, scratch: Path) -> dict[str, Any]:
        """Write the predictions of one model on one target."""
        workplace = worker.workplace
        target = open_target(workplace.targets[job.target])
        source = worker.artifacts.folder(job.params.source)
        predictions, size = answers_of_model(
            target, source, worker.dataset, threads=workplace.threads, batch_size=workplace.batch_size
        )
        save_predictions(predictions, folder)
        return {
            "output_kinds": dict(load_architecture(source).output_kinds),
            "target": target.describe(),
            "dataset": worker.dataset.fingerprint,
            "device": device_id(),
            "batch_size": size,
        }

    def records(self, job: Job[RunParams], recording: Recording) -> Iterator[PredictionSet]:
        """All answers, of tasks that have such."""
        if TASKS[recording.plan.facts.task].answer_kind is AnswerKind.NOTHING:
            return
        predictions = load_predictions(recording.artifacts.folder(job.key))
        data = recording.plan.facts.data_fingerprint
        yield prediction_record(predictions, model=job.model, target=job.target, dataset=data)


PREDICT = register(PredictStage())


def answers_of_model(
    target: Target, source: Path, data: Dataset, *, threads: int, batch_size: int
) -> tuple[Predictions, int]:
    """Return what a model answers to every instance of the evaluation split, and how many it was given at a time.

    Args:
        target: the runtime.
        source: the artifact of the model, or of its export.
        data: gives the instances.
        threads: of the runtime.
        batch_size: instances per run, where a model's answers do not depend on it.

    Raises:
        EvaluationError: if the model does not fit the data.
        TargetError: if the runtime fails.
    """
    file = source / ONNX_FILE if target.accepts is Format.ONNX else source
    with target.open(file, threads=threads) as session:
        size = SERVED_BATCH if depends_on_batch(file) else batch_size
        kinds = load_architecture(source).output_kinds
        return predict(session, data, batch_size=size, output_kinds=kinds), size
