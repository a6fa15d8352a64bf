"""A task of a person's own by functions: what training minimises, what an answer is, how good it is, what people see.

In a module that `plugins=[my_module]` names:

    task_of(
        "counting", inputs={"pixel_values": "float32"}, outputs={"count": (1,)}, targets=["number"],
        loss=loss, answer=answer, score=score, show=show,
    )

The forward pass is the network's own: its outputs are taken by their names, or a tensor alone. Whoever needs more than
these functions writes a class (`ops.core.tasks.task`).
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from ops.core.errors import OperationError
from ops.core.tasks.task import INVALID, TASKS, Axis, Evaluation, Input, Judgement, Task

if TYPE_CHECKING:
    import numpy as np
    import torch

__all__ = ["FunctionTask", "task_of"]

Tensors = Mapping[str, "torch.Tensor"]
Arrays = Mapping[str, "np.ndarray"]
_RIGHT = 0.5


class FunctionTask(Task):
    """A task whose members are functions: `task_of` makes a class of it."""

    functions: ClassVar[Mapping[str, Callable[..., Any] | None]]
    shapes: ClassVar[Mapping[str, tuple[int | None, ...]]]
    right_from: ClassVar[float] = _RIGHT

    def loss(self, outputs: Tensors, targets: Tensors, *, label_smoothing: float = 0.0) -> torch.Tensor:
        """Return what the function `loss` gives for the outputs and targets of a batch.

        Args:
            outputs: the network's, by name: (batch, ...).
            targets: the batch's, by name: (batch, ...).
            label_smoothing: without effect.
        """
        value: torch.Tensor = self._function("loss")(outputs, targets)
        if value.ndim:
            raise OperationError(
                f"loss of task '{self.name}' has shape {list(value.shape)}; return one number, the mean of the batch"
            )
        return value

    def axes(self, output: str, classes: int, inputs: Mapping[str, tuple[str, tuple[int, ...]]]) -> tuple[Axis, ...]:
        """Return the axes that were declared.

        Args:
            output: one of the declared.
            classes: without meaning here.
            inputs: the data's.
        """
        return tuple(Axis("numbers", size, "the task declares") for size in self.shapes[output])

    def judge(self, evaluation: Evaluation) -> Judgement:
        """Answers and scores are those of the functions; a row whose outputs are not valid has none, and scores 0."""
        import numpy as np

        valid, unknown = self.valid(evaluation), np.full(len(evaluation.ids), np.nan, np.float32)
        texts = [str(text) for text in self._rows("answer", evaluation, evaluation.outputs)]
        return Judgement(
            predicted=[text if good else INVALID for text, good in zip(texts, valid, strict=True)],
            confidence=unknown,
            label_probability=unknown,
            correct=self.correct(evaluation),
            score=self.scores(evaluation),
        )

    def scores(self, evaluation: Evaluation) -> np.ndarray:
        """Return each instance's score, float32 (N,), from 0 to 1.

        Raises:
            OperationError: for a score out of that range, or another number of scores than instances.
        """
        import numpy as np

        valid = self.valid(evaluation)
        scores = np.where(valid, np.asarray(self._rows("score", evaluation, evaluation.outputs, evaluation.targets)), 0)
        if not ((scores >= 0) & (scores <= 1)).all():
            raise OperationError(
                f"score of task '{self.name}' gives {scores.min():.4g} to {scores.max():.4g}; scores go from 0 to 1"
            )
        return scores.astype(np.float32)

    def correct(self, evaluation: Evaluation) -> np.ndarray:
        """Return whether the score is `right_from` or more, bool (N,)."""
        right: np.ndarray = (self.scores(evaluation) >= self.right_from) & self.valid(evaluation)
        return right

    def show(self, instance: Mapping[str, Any]) -> dict[str, Any]:
        """Return what a person sees of an instance: by the function `show`, if there is one.

        Args:
            instance: as the data set's `show` gives it.
        """
        function = self.functions["show"]
        return super().show(instance if function is None else function(instance))

    def _function(self, name: str) -> Callable[..., Any]:
        function = self.functions[name]
        assert function is not None, "task_of asks for it"
        return function

    def _rows(self, name: str, evaluation: Evaluation, *arguments: Arrays) -> Sequence[Any]:
        rows: Sequence[Any] = self._function(name)(*arguments)
        if len(rows) != len(evaluation.ids):
            raise OperationError(
                f"{name} of task '{self.name}' gives {len(rows)} values for {len(evaluation.ids)} instances; return one for each"
            )
        return rows


def task_of(
    name: str,
    *,
    inputs: Mapping[str, str],
    outputs: Mapping[str, tuple[int | None, ...]],
    targets: Sequence[str],
    loss: Callable[[Tensors, Tensors], torch.Tensor],
    answer: Callable[[Arrays], Sequence[str]],
    score: Callable[[Arrays, Arrays], np.ndarray],
    show: Callable[[Mapping[str, Any]], Mapping[str, Any]] | None = None,
    right_from: float = _RIGHT,
) -> FunctionTask:
    """Register a task by functions, and return it. The module that calls this becomes part of the keys of what is made with
    it, and with it those of a person's own that it imports.

    Args:
        name: as recipes and results call it.
        inputs: argument of the network's forward pass -> NumPy's name of its type.
        outputs: output -> its shape for one instance, None: any size; in the order of exported models.
        targets: names of the arrays that say what is right.
        loss: outputs and targets of a batch, as tensors by name, to a scalar tensor: the mean of the batch.
        answer: outputs of N instances, as arrays by name, to N texts.
        score: outputs and targets of N instances to N numbers from 0 to 1.
        show: what the data set shows of an instance, to what people see; pictures as bytes of PNG.
        right_from: the score from which on an answer is right: what paired tests count.
    """
    module = sys._getframe(1).f_globals["__name__"]
    functions = {"loss": loss, "answer": answer, "score": score, "show": show}
    members = {
        "name": name,
        "inputs": tuple(Input(each, dtype, ()) for each, dtype in inputs.items()),
        "outputs": tuple(outputs),
        "targets": tuple(targets),
        "shapes": dict(outputs),
        "functions": functions,
        "right_from": right_from,
        "__module__": module,
        "__doc__": ((sys.modules[module].__doc__ or "").strip() or name).partition("\n")[0],
    }
    result: FunctionTask = type(f"Task_{name}", (FunctionTask,), members)()
    TASKS.add(name, result)
    return result
