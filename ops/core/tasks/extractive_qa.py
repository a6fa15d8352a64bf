"""Extractive question answering: a model points at the answer in the context."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from ops.core.programs.answers import SPAN
from ops.core.programs.program import Program
from ops.core.programs.reading import QUESTION, token_program
from ops.core.tasks.classification import TEXT_INPUTS
from ops.core.tasks.question_answering import QuestionAnswering
from ops.core.tasks.rows import cross_entropy
from ops.core.tasks.task import Axis, Evaluation, task

if TYPE_CHECKING:
    import numpy as np
    import torch

_ENDS = ("start", "end")


@task
class ExtractiveQuestionAnswering(QuestionAnswering):
    """A logit for each token to be the first of the answer, and one to be its last."""

    name = "question-answering"
    inputs = TEXT_INPUTS
    outputs = ("start_logits", "end_logits")
    targets = ("start_positions", "end_positions")
    softmax_outputs = outputs
    transformers_class = "AutoModelForQuestionAnswering"
    hub_tag = name

    def loss(
        self,
        outputs: Mapping[str, torch.Tensor],
        targets: Mapping[str, torch.Tensor],
        *,
        label_smoothing: float = 0.0,
    ) -> torch.Tensor:
        """Mean of the cross-entropies of the start and of the end position.

        Args:
            outputs: `start_logits` and `end_logits` (batch, length).
            targets: `start_positions` and `end_positions` int64 (batch,).
            label_smoothing: has no effect: positions are no classes that are alike in every instance.
        """
        from torch.nn import functional

        length = outputs["start_logits"].shape[1]
        both = [
            # positions outside the window are ignored, as in BERT's question-answering head
            functional.cross_entropy(
                outputs[f"{end}_logits"], targets[f"{end}_positions"].clamp(0, length), ignore_index=length
            )
            for end in _ENDS
        ]
        return (both[0] + both[1]) / 2

    def axes(self, output: str, classes: int, inputs: Mapping[str, tuple[str, tuple[int, ...]]]) -> tuple[Axis, ...]:
        """One number per token.

        Args:
            output: either of them.
            classes: of no importance.
            inputs: the data's.
        """
        return (Axis("tokens", next(iter(inputs.values()))[1][0]),)

    def loss_rows(self, evaluation: Evaluation) -> np.ndarray | None:
        """Mean of both ends' cross-entropies."""
        import numpy as np

        rows = [
            cross_entropy(evaluation.outputs[f"{end}_logits"], evaluation.targets[f"{end}_positions"])
            for end in _ENDS
            if f"{end}_logits" in evaluation.outputs
        ]
        return np.mean(rows, axis=0) if rows else None

    def program(self, settings: Mapping[str, Any]) -> Program:
        """Read a question with its context, and give the likeliest piece of the context."""
        return token_program(settings, QUESTION, SPAN, "QUESTION CONTEXT")
