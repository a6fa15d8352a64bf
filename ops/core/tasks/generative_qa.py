"""Generative question answering: a model writes the answer, token by token."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from ops.core.programs.answers import WRITTEN
from ops.core.programs.program import Program
from ops.core.programs.reading import WRITTEN_QUESTION, token_program
from ops.core.tasks.greedy_decoding import write_answers
from ops.core.tasks.question_answering import QuestionAnswering
from ops.core.tasks.task import DECODER_TOKENS, Axis, Input, OpenModel, task

if TYPE_CHECKING:
    import numpy as np
    import torch


@task
class GenerativeQuestionAnswering(QuestionAnswering):
    """The logits of every next token after those given, in one pass."""

    name = "generative-question-answering"
    inputs = (
        Input("input_ids", "int64", ("tokens",)),
        Input("attention_mask", "int64", ("tokens",)),
        Input(DECODER_TOKENS, "int64", ("tokens of the answer",)),
    )
    outputs = ("logits",)
    targets = ("answer_tokens",)
    softmax_outputs = ("logits",)
    transformers_class = "AutoModelForSeq2SeqLM"

    def loss(
        self,
        outputs: Mapping[str, torch.Tensor],
        targets: Mapping[str, torch.Tensor],
        *,
        label_smoothing: float = 0.0,
    ) -> torch.Tensor:
        """Mean cross-entropy of the answers' tokens.

        Args:
            outputs: `logits` (batch, answer length, vocabulary).
            targets: `answer_tokens` int64 (batch, answer length), negative behind the end.
            label_smoothing: share of the target that is spread over the vocabulary.
        """
        from torch.nn import functional

        tokens = targets["answer_tokens"]
        logits = self.supervised(outputs, targets)["logits"]
        return functional.cross_entropy(logits, tokens[tokens >= 0], label_smoothing=label_smoothing)

    def supervised(
        self, outputs: Mapping[str, torch.Tensor], targets: Mapping[str, torch.Tensor]
    ) -> Mapping[str, torch.Tensor]:
        """Return the logits of the answers' own tokens: (tokens, vocabulary)."""
        return {"logits": outputs["logits"][targets["answer_tokens"] >= 0]}

    def axes(self, output: str, classes: int, inputs: Mapping[str, tuple[str, tuple[int, ...]]]) -> tuple[Axis, ...]:
        """A number for each token of the answer and each of the vocabulary.

        Args:
            output: `logits`.
            classes: of no importance.
            inputs: the data's.
        """
        return Axis("tokens", inputs[DECODER_TOKENS][1][0], "the answers have"), Axis("vocabulary", None)

    def is_by_product(self, output: str) -> bool:
        """Whether it is the encoder's, on the way to words."""
        return output.startswith("encoder_")

    def run(self, model: OpenModel, inputs: Mapping[str, np.ndarray], dataset: Any) -> Mapping[str, np.ndarray]:
        """Let the model write, after the data set's start token.

        Args:
            model: gives the logits of all next tokens.
            inputs: of a batch: (batch, length).
            dataset: whose `decoding` says how answers begin and end.

        Returns:
            `tokens` int64 (batch, answer length) and `log_probability` float32 (batch,).
        """
        return write_answers(model, inputs, dataset.decoding)

    def program(self, settings: Mapping[str, Any]) -> Program:
        """Read a question with its context, and write the answer."""
        return token_program(settings, WRITTEN_QUESTION, WRITTEN, "QUESTION CONTEXT")
