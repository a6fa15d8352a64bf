"""Every task: names, shapes, and a loss that trains."""

import numpy as np
import pytest
import torch

from ops.core.errors import OperationError
from ops.core.tasks.classification import Classification
from ops.core.tasks.task import TASKS, Task
from pipeline.measure.metrics.api import Predictions

OURS = ["generative-question-answering", "image-classification", "question-answering", "text-classification"]
TRAINED = [*OURS, "language-modeling"]
CLASSES, LENGTH, VOCABULARY, BATCH = 5, 7, 11, 4
SIZES = {"tokens": LENGTH, "tokens of the answer": LENGTH, "channels": 3, "height": 8, "width": 8}


def _inputs(task):
    return {one.name: (one.dtype, tuple(SIZES[axis] for axis in one.axes)) for one in task.inputs}


def _outputs(task, seed=0):
    draw = torch.Generator().manual_seed(seed)
    shapes = {
        name: [axis.size or VOCABULARY for axis in task.axes(name, CLASSES, _inputs(task))] for name in task.outputs
    }
    return {name: torch.randn(BATCH, *shape, generator=draw).requires_grad_() for name, shape in shapes.items()}


def _targets(task):
    draw = torch.Generator().manual_seed(1)
    tokens = (VOCABULARY, (BATCH, LENGTH))
    sizes = {"answer_tokens": tokens, "next_tokens": tokens, "labels": (CLASSES, (BATCH,))}
    return {name: torch.randint(0, *sizes.get(name, (LENGTH, (BATCH,))), generator=draw) for name in task.targets}


def test_the_tasks_are_those_that_recipes_and_stores_name():
    assert set(OURS) <= set(TASKS)
    assert all(TASKS[name].name == name for name in TASKS)
    assert [TASKS[name].reads_pictures for name in OURS] == [False, True, False, False]
    assert [TASKS[name].is_autoregressive for name in OURS] == [True, False, False, False]


@pytest.mark.parametrize("name", TRAINED)
def test_the_loss_falls_along_its_gradient(name):
    task, outputs = TASKS[name], _outputs(TASKS[name])
    targets = _targets(task)
    loss = task.loss(outputs, targets)
    loss.backward()
    assert loss.shape == ()
    better = {name: output.detach() - output.grad for name, output in outputs.items()}
    assert task.loss(better, targets) < loss


@pytest.mark.parametrize("name", TRAINED)
def test_a_teacher_is_near_itself_and_far_from_others(name):
    task, targets = TASKS[name], _targets(TASKS[name])
    one, other = _outputs(task), _outputs(task, seed=2)
    assert task.divergence(one, one, targets, temperature=2.0).item() == pytest.approx(0, abs=1e-6)
    assert task.divergence(one, other, targets, temperature=2.0).item() > 0.1


@pytest.mark.parametrize("name", OURS)
def test_the_loss_of_each_instance_is_that_of_training(name):
    task, outputs, targets = TASKS[name], _outputs(TASKS[name]), _targets(TASKS[name])
    predictions = Predictions(
        name,
        tuple("abcde"),
        tuple(map(str, range(BATCH))),
        {name: output.detach().numpy() for name, output in outputs.items()},
        {name: target.numpy() for name, target in targets.items()},
    )
    rows = task.loss_rows(predictions)
    if task.is_autoregressive:  # what is evaluated is what was written, and that has no logits
        assert rows is None
    else:
        assert np.mean(rows) == pytest.approx(task.loss(outputs, targets).item(), rel=1e-5)


def test_a_task_without_distributions_has_no_teacher():
    class Scores(Classification):
        name = "scores"
        inputs = ()
        softmax_outputs = ()

    assert isinstance(Scores(), Task)
    with pytest.raises(OperationError, match="the outputs of scores are no distributions"):
        Scores().divergence({}, {}, {}, temperature=1.0)


def test_training_on_documents_may_leave_out_padding_at_the_end():
    task = TASKS["language-modeling"]
    outputs, targets = _outputs(task), _targets(task)
    targets["next_tokens"][:, -2:] = -100
    shorter = {"logits": outputs["logits"][:, :-2]}
    assert task.loss(shorter, targets) == task.loss(outputs, targets)
