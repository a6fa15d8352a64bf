"""Damage: how far a changed model's answers are from the model's own on the same calibration instances."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ops.core.errors import OperationError
from ops.core.operation import Batch, OnnxModel, TorchModel
from ops.core.output_kind import LOGITS, logits_of
from ops.core.tasks.rows import divergence, valid_rows
from ops.core.tasks.task import TASKS
from pipeline.measure.evaluate import SERVED_BATCH, depends_on_batch
from pipeline.measure.metrics.api import Predictions

if TYPE_CHECKING:
    from ops.core.tasks.task import Task

__all__ = ["Damage", "check_task", "damage_of", "run_model"]


@dataclass(frozen=True, slots=True)
class Damage:
    """Means over instances with their standard errors; None where the task has no such figure."""

    kl: float | None = None
    kl_se: float | None = None
    loss: float | None = None
    loss_se: float | None = None
    flips: float | None = None
    flips_se: float | None = None


def check_task(name: str) -> None:
    """Refuse a task whose answers cannot be compared row by row in one pass.

    Raises:
        OperationError: saying why.
    """
    task = TASKS[name]
    if task.is_autoregressive:
        raise OperationError(f"Sensitivity is not measured for '{name}': its answers are written token by token")


def run_model(model: TorchModel | OnnxModel, batches: Sequence[Batch]) -> Predictions:
    """Run a model on calibration instances; logits where a softmax was taken.

    A network runs in torch, a file in ONNX Runtime on the CPU, instance by instance where its answers depend on the batch.
    """
    task, kinds = TASKS[model.architecture.task], model.architecture.output_kinds
    outputs = (
        _torch_outputs(model, batches) if isinstance(model, TorchModel) else _onnx_outputs(model.path, batches, task)
    )
    return Predictions(
        task=task.name,
        classes=tuple(model.architecture.classes),
        ids=tuple(name for batch in batches for name in batch.ids),
        outputs={name: logits_of(rows, kinds.get(name, LOGITS)) for name, rows in outputs.items()},
        targets={name: np.concatenate([batch.targets[name] for batch in batches]) for name in batches[0].targets},
    )


def _torch_outputs(model: TorchModel, batches: Sequence[Batch]) -> dict[str, np.ndarray]:
    import torch

    from ops.core.forward import forward, tensors

    parts: dict[str, list[np.ndarray]] = {}
    module = model.module.eval()
    with torch.no_grad():
        for batch in batches:
            for name, rows in forward(module, tensors(batch.inputs), model.architecture.task).items():
                parts.setdefault(name, []).append(rows.float().numpy())
    return {name: np.concatenate(rows) for name, rows in parts.items()}


def _onnx_outputs(path: Path, batches: Sequence[Batch], task: Task) -> dict[str, np.ndarray]:
    from ops.onnx_graph.session import open_session

    session = open_session(path)
    inputs, present = [value.name for value in session.get_inputs()], [value.name for value in session.get_outputs()]
    names = [name for name in task.outputs if name in present] or present
    parts: dict[str, list[np.ndarray]] = {name: [] for name in names}
    for feed in _feeds(batches, inputs, alone=depends_on_batch(path)):
        for name, rows in zip(names, session.run(names, feed), strict=True):
            parts[name].append(rows)
    return {name: np.concatenate(rows) for name, rows in parts.items()}


def _feeds(batches: Sequence[Batch], names: Sequence[str], *, alone: bool) -> list[Mapping[str, np.ndarray]]:
    """The batches by the graph's names; a graph with other names than the data's takes them in order."""
    feeds: list[Mapping[str, np.ndarray]] = []
    for batch in batches:
        arrays = dict(batch.inputs)
        if not set(names) <= set(arrays):
            arrays = dict(zip(names, arrays.values(), strict=True))
        step = SERVED_BATCH if alone else len(batch)
        feeds += [{name: arrays[name][start : start + step] for name in names} for start in range(0, len(batch), step)]
    return feeds


def damage_of(model: Predictions, base: Predictions) -> Damage:
    """Return what a model's answers lost against its base's; worse is larger.

    An instance for which the changed model gives no numbers makes kl and loss infinite: it is broken.
    """
    task = TASKS[model.task]
    names = [name for name in task.softmax_outputs if name in base.outputs]
    broken = ~valid_rows(model) & valid_rows(base)
    kl: np.ndarray | None = None
    if names:
        kl = np.mean([divergence(base.outputs[name], model.outputs[name]) for name in names], axis=0)
        kl = np.where(broken, np.inf, kl)
    before, after = task.loss_rows(base), task.loss_rows(model)
    loss = None if before is None or after is None else np.where(broken, np.inf, after - before)
    # answers that are texts come from the evaluation split's contexts, which are not looked at here
    same = None if task.has_contexts else task.agreement(model, base)
    return Damage(*_mean(kl), *_mean(loss), *_mean(None if same is None else (~same).astype(np.float64)))


def _mean(rows: np.ndarray | None) -> tuple[float | None, float | None]:
    """The mean and its standard error; instances without a value do not count."""
    counted = rows[~np.isnan(rows)] if rows is not None else np.empty(0)
    if not len(counted):
        return None, None
    if not np.isfinite(counted).all():
        return float("inf"), None
    spread = float(counted.std(ddof=1)) / len(counted) ** 0.5 if len(counted) > 1 else 0.0
    return float(counted.mean()), spread
