"""What a model answers on the evaluation split, on the target that will run it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from ops.core.tasks.task import TASKS
from pipeline.core.errors import BouillonError
from pipeline.measure.logits import LogitsSession
from pipeline.measure.metrics.api import Predictions
from pipeline.targets.api import Session

if TYPE_CHECKING:
    from ops.core.tasks.task import Task
    from pipeline.datasets.api import Dataset, Split

_SPLIT: Split = "evaluation"


class EvaluationError(BouillonError, ValueError):
    """A model cannot be evaluated: the message says what is missing."""


def predict(
    session: Session, dataset: Dataset, *, batch_size: int, output_kinds: Mapping[str, str] | None = None
) -> Predictions:
    """Run every instance of the evaluation split through an open model, in stored order.

    Outputs that are not numbers are kept as they are: metrics count them as wrong and report their share.

    Args:
        session: the open model.
        dataset: gives the instances.
        batch_size: instances per run.
        output_kinds: what outputs are that are no logits (`ops.core.output_kind`): metrics get logits of them.

    Raises:
        EvaluationError: if the split is empty, or the model does not fit the data.
        TargetError: if the runtime fails.
    """
    ids: list[str] = []
    outputs: dict[str, list[np.ndarray]] = {}
    targets: dict[str, list[np.ndarray]] = {}
    task = TASKS[dataset.task]
    session = LogitsSession(session, task, output_kinds or {})
    _check_inputs(session, dataset)
    for batch in dataset.batches(_SPLIT, batch_size=batch_size):
        results = task.run(session, {name: batch.inputs[name] for name in session.inputs}, dataset)
        for name, rows in results.items():
            if len(rows) != len(batch):
                raise EvaluationError(f"Output '{name}' has {len(rows)} rows for a batch of {len(batch)} instances")
            outputs.setdefault(name, []).append(rows)
        for name, rows in batch.targets.items():
            targets.setdefault(name, []).append(rows)
        ids.extend(batch.ids)
    if not ids:
        raise EvaluationError(f"The evaluation split of '{dataset.name}' is empty: there is nothing to evaluate")
    return _predictions(task, dataset, ids, _joined(outputs), _joined(targets))


def _check_inputs(session: Session, dataset: Dataset) -> None:
    missing = [name for name in session.inputs if name not in dataset.inputs]
    if missing:
        raise EvaluationError(
            f"The model takes {', '.join(missing)}, which '{dataset.name}' does not give. It gives: {', '.join(dataset.inputs)}"
        )


def _joined(parts: dict[str, list[np.ndarray]]) -> dict[str, np.ndarray]:
    return {name: np.concatenate(arrays) for name, arrays in parts.items()}


def _predictions(
    task: Task, dataset: Dataset, ids: Sequence[str], outputs: dict[str, np.ndarray], targets: dict[str, np.ndarray]
) -> Predictions:
    rows = task.instance_rows(ids, targets)
    single = rows is None
    return Predictions(
        task=task.name,
        classes=tuple(dataset.classes),
        ids=tuple(ids) if single else tuple(dataset.ids(_SPLIT)),
        outputs=outputs if single else {name: array[rows] for name, array in outputs.items()},
        targets=targets if single else {name: array[rows] for name, array in targets.items()},
        answers=task.answers(dataset, outputs),
        references=task.references(dataset),
        attributes={name: tuple(values) for name, values in dataset.attributes(_SPLIT).items()} or None,
    )
