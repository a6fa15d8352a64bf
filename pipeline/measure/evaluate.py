"""What a model answers on the evaluation split, on the target that will run it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from pipeline.core.errors import BouillonError
from pipeline.measure.decode import write_answers
from pipeline.measure.logits import LogitsSession
from pipeline.measure.metrics.api import Predictions
from pipeline.targets.api import Session

if TYPE_CHECKING:
    from pipeline.datasets.api import Dataset, GenerativeDataset, QuestionDataset, Split

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
    session = LogitsSession(session, dataset.task, output_kinds or {})
    _check_inputs(session, dataset)
    for batch in dataset.batches(_SPLIT, batch_size=batch_size):
        results = _answered_apart(session, dataset, {name: batch.inputs[name] for name in session.inputs}, batch_size)
        for name, rows in results.items():
            if len(rows) != len(batch):
                raise EvaluationError(f"Output '{name}' has {len(rows)} rows for a batch of {len(batch)} instances")
            outputs.setdefault(name, []).append(rows)
        for name, rows in batch.targets.items():
            targets.setdefault(name, []).append(rows)
        ids.extend(batch.ids)
    if not ids:
        raise EvaluationError(f"The evaluation split of '{dataset.name}' is empty: there is nothing to evaluate")
    return _predictions(dataset, ids, _joined(outputs), _joined(targets))


def _answered_apart(
    session: Session, dataset: Dataset, inputs: Mapping[str, np.ndarray], rows: int
) -> Mapping[str, np.ndarray]:
    """As `_answered`; if rows are to be run alone, also those of one instance (a question may come as several)."""
    count = len(next(iter(inputs.values())))
    if rows > SERVED_BATCH or count <= rows:
        return _answered(session, dataset, inputs)
    parts = [
        _answered(session, dataset, {name: array[row : row + 1] for name, array in inputs.items()})
        for row in range(count)
    ]
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def _answered(session: Session, dataset: Dataset, inputs: Mapping[str, np.ndarray]) -> Mapping[str, np.ndarray]:
    """The outputs of one pass by name; of data whose answers are written, what was written."""
    if hasattr(dataset, "decoding"):
        return write_answers(session, inputs, cast("GenerativeDataset", dataset).decoding)
    return dict(zip(session.outputs, session.run(inputs), strict=True))


def _check_inputs(session: Session, dataset: Dataset) -> None:
    missing = [name for name in session.inputs if name not in dataset.inputs]
    if missing:
        raise EvaluationError(
            f"The model takes {', '.join(missing)}, which '{dataset.name}' does not give. It gives: {', '.join(dataset.inputs)}"
        )


def _joined(parts: dict[str, list[np.ndarray]]) -> dict[str, np.ndarray]:
    return {name: np.concatenate(arrays) for name, arrays in parts.items()}


def _predictions(
    dataset: Dataset, ids: Sequence[str], outputs: dict[str, np.ndarray], targets: dict[str, np.ndarray]
) -> Predictions:
    common: dict[str, Any] = {
        "task": dataset.task,
        "classes": tuple(dataset.classes),
        "attributes": {name: tuple(values) for name, values in dataset.attributes(_SPLIT).items()} or None,
    }
    if not hasattr(dataset, "answers"):
        return Predictions(ids=tuple(ids), outputs=outputs, targets=targets, **common)
    questions = cast("QuestionDataset", dataset)
    rows = _windows(ids, targets)
    return Predictions(
        ids=tuple(dataset.ids(_SPLIT)),
        outputs={name: array[rows] for name, array in outputs.items()},
        targets={name: array[rows] for name, array in targets.items()},
        answers=questions.answers(outputs).texts,
        references=tuple(questions.references()),
        **common,
    )


def _windows(ids: Sequence[str], targets: dict[str, np.ndarray]) -> np.ndarray:
    """One row per question: its first window that holds the answer, else its first.

    The choice must not depend on the model, or two models' outputs could not be compared position by position.
    """
    inside = targets.get("start_positions", np.zeros(len(ids))) > 0
    chosen: dict[str, int] = {}
    for row, question in enumerate(ids):
        if question not in chosen or (inside[row] and not inside[chosen[question]]):
            chosen[question] = row
    return np.fromiter(chosen.values(), dtype=np.int64)
