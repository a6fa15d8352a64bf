"""One number or several for each instance: pictures, texts, rows of tables."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from ops.core.programs.answers import NUMBERS
from ops.core.programs.program import Program
from ops.core.programs.reading import TEXT, picture_program, row_program, token_program
from ops.core.tasks.classification import ROW_INPUTS, TEXT_INPUTS
from ops.core.tasks.task import INVALID, PICTURES, AnswerKind, Axis, Evaluation, Input, Judgement, Task, task

if TYPE_CHECKING:
    import numpy as np
    import torch


class Regression(Task):
    """A number for each of the data's targets.

    Networks give standardised numbers, so that targets of any unit train alike: batches hold `centre` and `scale`, by
    which `estimates` undoes it (0 and 1 where the data set leaves targets as they are). An estimate is right where it is
    within the `tolerance` of its target; a flip is an estimate that moved by more than that.
    """

    outputs = ("logits",)  # as transformers call the numbers too
    targets = ("values", "centre", "scale", "tolerance")
    has_classes = True
    answer = AnswerKind.NUMBERS

    def loss(
        self,
        outputs: Mapping[str, torch.Tensor],
        targets: Mapping[str, torch.Tensor],
        *,
        label_smoothing: float = 0.0,
    ) -> torch.Tensor:
        """Mean squared error of the standardised numbers.

        Args:
            outputs: `logits` (batch, targets).
            targets: `values`, `centre` and `scale` float32 (batch, targets).
            label_smoothing: without effect: there are no classes.
        """
        from torch.nn import functional

        standardised = (targets["values"] - targets["centre"]) / targets["scale"]
        return functional.mse_loss(outputs["logits"], standardised)

    def divergence(
        self,
        outputs: Mapping[str, torch.Tensor],
        teacher: Mapping[str, torch.Tensor],
        targets: Mapping[str, torch.Tensor],
        *,
        temperature: float,
    ) -> torch.Tensor:
        """Mean squared difference of the standardised numbers; a temperature has no effect."""
        from torch.nn import functional

        return functional.mse_loss(outputs["logits"], teacher["logits"])

    def axes(self, output: str, classes: int, inputs: Mapping[str, tuple[str, tuple[int, ...]]]) -> tuple[Axis, ...]:
        """One number per target.

        Args:
            output: `logits`.
            classes: how many targets the data has.
            inputs: the data's.
        """
        return (Axis("targets", classes),)

    def judge(self, evaluation: Evaluation) -> Judgement:
        """The answer is the estimate in the target's unit; the score is 1 without an error, 1/2 at the tolerance."""
        import numpy as np

        unknown = np.full(len(evaluation.ids), np.nan, np.float32)
        valid = self.valid(evaluation)
        with np.errstate(invalid="ignore"):
            score = 1 / (1 + tolerances_off(evaluation))
        texts = number_texts(estimates(evaluation))
        return Judgement(
            predicted=[text if good else INVALID for text, good in zip(texts, valid, strict=True)],
            confidence=unknown,
            label_probability=unknown,
            correct=self.correct(evaluation),
            score=np.where(valid, score, 0).astype(np.float32),
        )

    def correct(self, evaluation: Evaluation) -> np.ndarray:
        """Return whether all estimates are within the tolerance of their targets, bool (N,)."""
        import numpy as np

        with np.errstate(invalid="ignore"):
            right: np.ndarray = (tolerances_off(evaluation) <= 1) & self.valid(evaluation)
        return right

    def valid(self, evaluation: Evaluation) -> np.ndarray:
        """Return whether the outputs are finite numbers, bool (N,)."""
        import numpy as np

        valid: np.ndarray = np.isfinite(evaluation.outputs["logits"]).all(axis=1)
        return valid

    def agreement(self, evaluation: Evaluation, base: Evaluation) -> np.ndarray:
        """Return whether two models' estimates differ by no more than the tolerance, bool (N,)."""
        import numpy as np

        with np.errstate(invalid="ignore"):
            away = np.abs(estimates(evaluation) - estimates(base)) / evaluation.targets["tolerance"]
            near: np.ndarray = (away <= 1).all(axis=1) & self.valid(evaluation) & self.valid(base)
        return near


def estimates(evaluation: Evaluation) -> np.ndarray:
    """Return what a model estimates, in the targets' units: float64 (N, targets)."""
    targets = evaluation.targets
    numbers: np.ndarray = evaluation.outputs["logits"].astype("float64") * targets["scale"] + targets["centre"]
    return numbers


def errors(evaluation: Evaluation) -> np.ndarray:
    """Return estimates less targets: float64 (N, targets)."""
    away: np.ndarray = estimates(evaluation) - evaluation.targets["values"]
    return away


def tolerances_off(evaluation: Evaluation) -> np.ndarray:
    """Size of the largest error of an instance, in units of the targets' tolerances: float64 (N,)."""
    import numpy as np

    off: np.ndarray = (np.abs(errors(evaluation)) / evaluation.targets["tolerance"]).max(axis=1)
    return off


def number_texts(numbers: np.ndarray) -> list[str]:
    """Numbers as people read them, to the precision of float32, in the order of the targets, from (N, targets)."""
    return [", ".join(f"{number:.7g}" for number in row) for row in numbers]


@task
class ImageRegression(Regression):
    """Numbers for each picture."""

    name = "image-regression"
    inputs = (Input(PICTURES, "float32", ("channels", "height", "width")),)
    transformers_class = "AutoModelForImageClassification"
    hub_tag = "image-classification"

    def program(self, settings: Mapping[str, Any]) -> Program:
        """Read picture files, and say the estimates."""
        return picture_program(settings, NUMBERS)


@task
class TextRegression(Regression):
    """Numbers for each text, or pair of texts."""

    name = "text-regression"
    inputs = TEXT_INPUTS
    transformers_class = "AutoModelForSequenceClassification"
    hub_tag = "text-classification"

    def program(self, settings: Mapping[str, Any]) -> Program:
        """Read a text, or a pair of texts, and say the estimates."""
        return token_program(settings, TEXT, NUMBERS, "TEXT ..." if len(settings["fields"]) == 1 else "TEXT TEXT")


@task
class TableRegression(Regression):
    """Numbers for each row of numbers."""

    name = "table-regression"
    inputs = ROW_INPUTS
    hub_tag = "tabular-regression"

    def program(self, settings: Mapping[str, Any]) -> Program:
        """Read the numbers of a row, and say the estimates."""
        return row_program(settings, NUMBERS)
