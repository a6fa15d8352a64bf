"""Any number of labels for each instance, out of those that the data has: pictures, texts, rows of tables."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from ops.core.programs.answers import LABELS
from ops.core.programs.program import Program
from ops.core.programs.reading import TEXT, picture_program, row_program, token_program
from ops.core.tasks.answer_text import NO_LABEL, SEPARATOR
from ops.core.tasks.classification import ROW_INPUTS, TEXT_INPUTS
from ops.core.tasks.rows import valid_rows
from ops.core.tasks.task import INVALID, PICTURES, AnswerKind, Axis, Evaluation, Input, Judgement, Task, task

if TYPE_CHECKING:
    import numpy as np
    import torch


class MultiLabel(Task):
    """A logit for each label; a label is given where its probability, the logit's sigmoid, reaches the label's threshold.

    An instance is right where exactly its labels are given: a flip is a change of that set.
    """

    outputs = ("logits",)
    targets = ("indicators", "thresholds")
    sigmoid_outputs = ("logits",)
    has_classes = True
    answer = AnswerKind.LABELS

    def loss(
        self,
        outputs: Mapping[str, torch.Tensor],
        targets: Mapping[str, torch.Tensor],
        *,
        label_smoothing: float = 0.0,
    ) -> torch.Tensor:
        """Mean binary cross-entropy of all labels.

        Args:
            outputs: `logits` (batch, labels).
            targets: `indicators` float32 (batch, labels), 1 where the label applies.
            label_smoothing: share of the target that is spread over both answers to each label.
        """
        from torch.nn import functional

        smoothed = targets["indicators"] * (1 - label_smoothing) + label_smoothing / 2
        return functional.binary_cross_entropy_with_logits(outputs["logits"], smoothed)

    def divergence(
        self,
        outputs: Mapping[str, torch.Tensor],
        teacher: Mapping[str, torch.Tensor],
        targets: Mapping[str, torch.Tensor],
        *,
        temperature: float,
    ) -> torch.Tensor:
        """Mean divergence of each label's softened probability, times the temperature squared."""
        from torch.nn import functional

        ours, theirs = outputs["logits"] / temperature, teacher["logits"] / temperature
        probability = theirs.sigmoid()
        excess = functional.binary_cross_entropy_with_logits(ours, probability) - (
            functional.binary_cross_entropy_with_logits(theirs, probability)
        )
        return excess * temperature**2

    def axes(self, output: str, classes: int, inputs: Mapping[str, tuple[str, tuple[int, ...]]]) -> tuple[Axis, ...]:
        """One number per label.

        Args:
            output: `logits`.
            classes: how many labels the data has.
            inputs: the data's.
        """
        return (Axis("labels", classes),)

    def judge(self, evaluation: Evaluation) -> Judgement:
        """The answer is the set of labels; its probability is that of the least certain label, and the score their Jaccard index.

        A row whose outputs are not valid gives no label, is wrong, and has NaN for probabilities.
        """
        import numpy as np

        valid, right = valid_rows(evaluation), evaluation.targets["indicators"] > 0
        probabilities = sigmoid(evaluation.outputs["logits"]).astype(np.float32)
        probabilities[~valid] = np.nan
        positive = predicted_labels(evaluation)
        texts = label_sets(positive, evaluation.classes)
        either, both = (positive | right).sum(axis=1), (positive & right).sum(axis=1)
        overlap = np.where(either > 0, both / np.maximum(either, 1), 1.0) * valid
        return Judgement(
            predicted=[text if good else INVALID for text, good in zip(texts, valid, strict=True)],
            confidence=np.where(positive, probabilities, 1 - probabilities).min(axis=1),
            label_probability=np.where(right, probabilities, 1 - probabilities).min(axis=1),
            correct=self.correct(evaluation),
            score=overlap.astype(np.float32),
            probabilities=probabilities,
        )

    def correct(self, evaluation: Evaluation) -> np.ndarray:
        """Return whether exactly the instance's labels are given, bool (N,)."""
        same = (predicted_labels(evaluation) == (evaluation.targets["indicators"] > 0)).all(axis=1)
        right: np.ndarray = same & valid_rows(evaluation)
        return right

    def loss_rows(self, evaluation: Evaluation) -> np.ndarray:
        """Mean binary cross-entropy of the labels: log(1 + exp(-z)) of those that apply, of the others log(1 + exp(z))."""
        import numpy as np

        logits = evaluation.outputs["logits"].astype(np.float64)
        signed = np.where(evaluation.targets["indicators"] > 0, -logits, logits)
        rows: np.ndarray = np.logaddexp(0, signed).mean(axis=1)
        return rows


def sigmoid(logits: np.ndarray) -> np.ndarray:
    """Probabilities of independent labels: float64, of the shape of the logits."""
    from scipy.special import expit

    probabilities: np.ndarray = expit(logits.astype("float64"))
    return probabilities


def predicted_labels(evaluation: Evaluation) -> np.ndarray:
    """The labels whose probability reaches their threshold; none where the outputs are not valid: bool (N, labels)."""
    reaching = sigmoid(evaluation.outputs["logits"]) >= evaluation.targets["thresholds"]
    positive: np.ndarray = reaching & valid_rows(evaluation)[:, None]
    return positive


def label_sets(positive: np.ndarray, names: tuple[str, ...]) -> list[str]:
    """Sets of labels as people read them (`a|b`), from bool (N, labels)."""
    import numpy as np

    columns = np.array(names, object)
    return [SEPARATOR.join(columns[row]) or NO_LABEL for row in positive]


@task
class ImageMultiLabel(MultiLabel):
    """Any number of labels for each picture."""

    name = "image-multi-label-classification"
    inputs = (Input(PICTURES, "float32", ("channels", "height", "width")),)
    transformers_class = "AutoModelForImageClassification"
    hub_tag = "image-classification"

    def program(self, settings: Mapping[str, Any]) -> Program:
        """Read picture files, and say the labels."""
        return picture_program(settings, LABELS)


@task
class TextMultiLabel(MultiLabel):
    """Any number of labels for each text, or pair of texts."""

    name = "text-multi-label-classification"
    inputs = TEXT_INPUTS
    transformers_class = "AutoModelForSequenceClassification"
    hub_tag = "text-classification"

    def program(self, settings: Mapping[str, Any]) -> Program:
        """Read a text, or a pair of texts, and say the labels."""
        return token_program(settings, TEXT, LABELS, "TEXT ..." if len(settings["fields"]) == 1 else "TEXT TEXT")


@task
class TableMultiLabel(MultiLabel):
    """Any number of labels for each row of numbers."""

    name = "table-multi-label-classification"
    inputs = ROW_INPUTS
    hub_tag = "tabular-classification"

    def program(self, settings: Mapping[str, Any]) -> Program:
        """Read the numbers of a row, and say the labels."""
        return row_program(settings, LABELS)
