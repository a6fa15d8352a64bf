"""No task: networks of any inputs and outputs, of which nothing is known that would be right."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from ops.core.errors import OperationError
from ops.core.tasks.task import AnswerKind, Axis, Evaluation, Judgement, Task, task

if TYPE_CHECKING:
    import numpy as np
    import torch

NO_TASK = "none"
"""As recipes call it."""


@task
class Unlabelled(Task):
    """All outputs of a network, compared with those of the model that it was made from."""

    name = NO_TASK
    inputs = ()
    outputs = ()
    targets = ()
    any_outputs = True
    answer = AnswerKind.NOTHING

    def loss(
        self,
        outputs: Mapping[str, torch.Tensor],
        targets: Mapping[str, torch.Tensor],
        *,
        label_smoothing: float = 0.0,
    ) -> torch.Tensor:
        """Nothing is right, so nothing can be learned from targets; a teacher can be followed.

        Args:
            outputs: of a network.
            targets: none.
            label_smoothing: without effect.

        Returns:
            Zero, which gives every output no gradient.
        """
        import torch

        return torch.stack([output.float().sum() * 0 for output in outputs.values()]).sum()

    def divergence(
        self,
        outputs: Mapping[str, torch.Tensor],
        teacher: Mapping[str, torch.Tensor],
        targets: Mapping[str, torch.Tensor],
        *,
        temperature: float,
    ) -> torch.Tensor:
        """Mean over the outputs of the squared distance from the teacher's, in units of their mean square."""
        import torch
        from torch.nn import functional

        parts = [
            functional.mse_loss(outputs[name], theirs)
            / theirs.square().mean().clamp_min(torch.finfo(theirs.dtype).tiny)
            for name, theirs in teacher.items()
            if theirs.is_floating_point()
        ]
        return torch.stack(parts).mean()

    def axes(self, output: str, classes: int, inputs: Mapping[str, tuple[str, tuple[int, ...]]]) -> tuple[Axis, ...]:
        """Any: what a network gives is not compared with anything.

        Args:
            output: any.
            classes: none.
            inputs: the data's.
        """
        return ()

    def judge(self, evaluation: Evaluation) -> Judgement:
        """Raise: there are no answers.

        Raises:
            OperationError: always.
        """
        raise OperationError("without a task there are no answers to judge")

    def correct(self, evaluation: Evaluation) -> np.ndarray:
        """Raise: nothing is right or wrong.

        Raises:
            OperationError: always.
        """
        raise OperationError("without a task nothing is right or wrong")

    def agreement(self, evaluation: Evaluation, base: Evaluation) -> np.ndarray | None:
        """None: there are no answers; `output_distance` says how far outputs moved."""
        return None
