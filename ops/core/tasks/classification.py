"""One class for each instance, whatever it is read from; and the task of one class for each row of a table."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from ops.core.programs.answers import CLASS
from ops.core.programs.program import Program
from ops.core.programs.reading import row_program
from ops.core.tasks.rows import cross_entropy, log_softmax, valid_rows
from ops.core.tasks.task import INVALID, Axis, Evaluation, Input, Judgement, Task, task

if TYPE_CHECKING:
    import numpy as np
    import torch

TEXT_INPUTS = (
    Input("input_ids", "int64", ("tokens",)),
    Input("attention_mask", "int64", ("tokens",)),
    Input("token_type_ids", "int64", ("tokens",), optional=True),
)
"""A tokenised text, or pair of texts."""
ROW_INPUTS = (Input("features", "float32", ("features",)),)
"""The numbers of a table's row."""


class Classification(Task):
    """A logit for each class; the highest is the answer, the first of equals."""

    outputs = ("logits",)
    targets = ("labels",)
    softmax_outputs = ("logits",)
    has_classes = True

    def loss(
        self,
        outputs: Mapping[str, torch.Tensor],
        targets: Mapping[str, torch.Tensor],
        *,
        label_smoothing: float = 0.0,
    ) -> torch.Tensor:
        """Mean cross-entropy.

        Args:
            outputs: `logits` (batch, classes).
            targets: `labels` int64 (batch,).
            label_smoothing: share of the target that is spread over all classes.
        """
        from torch.nn import functional

        return functional.cross_entropy(outputs["logits"], targets["labels"], label_smoothing=label_smoothing)

    def axes(self, output: str, classes: int, inputs: Mapping[str, tuple[str, tuple[int, ...]]]) -> tuple[Axis, ...]:
        """One number per class.

        Args:
            output: `logits`.
            classes: how many the data has.
            inputs: the data's.
        """
        return (Axis("classes", classes),)

    def judge(self, evaluation: Evaluation) -> Judgement:
        """A row whose outputs are not valid predicts nothing, is wrong, and has NaN for probabilities."""
        import numpy as np

        probabilities = np.exp(log_softmax(evaluation.outputs["logits"])).astype(np.float32)
        probabilities[~valid_rows(evaluation)] = np.nan
        best, rows = predicted_classes(evaluation), np.arange(len(evaluation.ids))
        correct = self.correct(evaluation)
        return Judgement(
            predicted=[evaluation.classes[index] if index >= 0 else INVALID for index in best],
            confidence=probabilities[rows, best],
            label_probability=probabilities[rows, evaluation.targets["labels"]],
            correct=correct,
            score=correct.astype(np.float32),
            probabilities=probabilities,
        )

    def correct(self, evaluation: Evaluation) -> np.ndarray:
        """Return whether the class is the label, bool (N,)."""
        right: np.ndarray = predicted_classes(evaluation) == evaluation.targets["labels"]
        return right

    def loss_rows(self, evaluation: Evaluation) -> np.ndarray:
        """Cross-entropy of the label."""
        return cross_entropy(evaluation.outputs["logits"], evaluation.targets["labels"])

    def agreement(self, evaluation: Evaluation, base: Evaluation) -> np.ndarray:
        """Return whether both choose one class, bool (N,)."""
        ours, theirs = predicted_classes(evaluation), predicted_classes(base)
        same: np.ndarray = (ours == theirs) & (ours >= 0)
        return same


def predicted_classes(evaluation: Evaluation) -> np.ndarray:
    """Index of the most likely class, the first of equals; -1 where the outputs are not valid: int64 (N,)."""
    import numpy as np

    best = evaluation.outputs["logits"].argmax(axis=1)
    return np.where(valid_rows(evaluation), best, -1)


@task
class TableClassification(Classification):
    """One class for each row of numbers."""

    name = "table-classification"
    inputs = ROW_INPUTS
    hub_tag = "tabular-classification"

    def program(self, settings: Mapping[str, Any]) -> Program:
        """Read the numbers of a row, and say the likeliest class."""
        return row_program(settings, CLASS)
