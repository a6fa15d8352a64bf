"""Evaluation: a model's answers on the evaluation split, on the target that will run it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ops.core.tasks.task import TASKS
from pipeline.core.errors import BouillonError
from pipeline.datasets.api import group_names
from pipeline.measure.logits import LogitsSession
from pipeline.measure.metrics.api import Predictions
from pipeline.targets.api import Session

if TYPE_CHECKING:
    from ops.core.tasks.task import Task
    from pipeline.datasets.api import Dataset, Split

_SPLIT: Split = "evaluation"


SERVED_BATCH = 1
"""Instances per batch in the scenario that latency is stated for (`single_stream`)."""
_RANGES_WHILE_RUNNING = {"DynamicQuantizeLSTM", "DynamicQuantizeLinear", "DynamicQuantizeMatMul"}
"""Operators that round a whole batch with one scale, which the largest value in it decides."""


class EvaluationError(BouillonError, ValueError):
    """A model cannot be evaluated: the message says what is missing."""


def depends_on_batch(file: Path) -> bool:
    """Whether what a model answers to one instance depends on the others in its batch (dynamic quantization).

    Such a model is judged as it is served and timed: one instance at a time.
    """
    if not file.is_file():
        return False
    import onnx

    graph = onnx.load(file, load_external_data=False).graph
    return any(node.op_type in _RANGES_WHILE_RUNNING for node in graph.node)


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
        results = _answered_apart(
            task, session, dataset, {name: batch.inputs[name] for name in session.inputs}, batch_size
        )
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


def _answered_apart(
    task: Task, session: Session, dataset: Dataset, inputs: Mapping[str, np.ndarray], rows: int
) -> Mapping[str, np.ndarray]:
    """As `task.run`; if rows are to be run alone, also those of one instance (a question may come as several)."""
    count = len(next(iter(inputs.values())))
    if rows > SERVED_BATCH or count <= rows:
        return task.run(session, inputs, dataset)
    parts = [
        task.run(session, {name: array[row : row + 1] for name, array in inputs.items()}, dataset)
        for row in range(count)
    ]
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


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
        attributes=group_names(dataset, _SPLIT) or None,
    )
