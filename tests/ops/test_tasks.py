"""Every task: names, shapes, and a loss that trains."""

import numpy as np
import pytest
import torch

from ops.core.errors import OperationError
from ops.core.tasks.classification import Classification
from ops.core.tasks.task import TASKS, Task
from pipeline.measure.metrics.api import Predictions

OURS = ["generative-question-answering", "image-classification", "question-answering", "text-classification"]
LABELS = [f"{kind}-multi-label-classification" for kind in ("image", "table", "text")]
NUMBERS = [f"{kind}-regression" for kind in ("image", "table", "text")]
TRAINED = [*OURS, "table-classification", *LABELS, *NUMBERS]
CLASSES, LENGTH, VOCABULARY, BATCH = 5, 7, 11, 4
SIZES = {"features": 6, "tokens": LENGTH, "tokens of the answer": LENGTH, "channels": 3, "height": 8, "width": 8}


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
    floats = {
        "indicators": torch.randint(0, 2, (BATCH, CLASSES), generator=draw).float(),
        "thresholds": torch.full((BATCH, CLASSES), 0.5),
        "values": 50 + 7 * torch.randn(BATCH, CLASSES, generator=draw),
        "centre": torch.full((BATCH, CLASSES), 50.0),
        "scale": torch.full((BATCH, CLASSES), 7.0),
        "tolerance": torch.full((BATCH, CLASSES), 3.5),
    }
    if set(task.targets) <= set(floats):
        return {name: floats[name] for name in task.targets}
    sizes = {"answer_tokens": (VOCABULARY, (BATCH, LENGTH)), "labels": (CLASSES, (BATCH,))}
    return {name: torch.randint(0, *sizes.get(name, (LENGTH, (BATCH,))), generator=draw) for name in task.targets}


def test_the_tasks_are_those_that_recipes_and_stores_name():
    assert set(TRAINED) <= set(TASKS)
    assert all(TASKS[name].name == name for name in TASKS)
    assert [TASKS[name].reads_pictures for name in OURS] == [False, True, False, False]
    assert [TASKS[name].is_autoregressive for name in OURS] == [True, False, False, False]


def test_answers_say_what_they_hold():
    kinds = {name: str(TASKS[name].answer_kind) for name in TRAINED}
    assert kinds == {
        "generative-question-answering": "text", "question-answering": "text", "image-classification": "class",
        "text-classification": "class", "table-classification": "class", **dict.fromkeys(LABELS, "labels"),
        **dict.fromkeys(NUMBERS, "numbers"),
    }  # fmt: skip
    assert [TASKS[name].reads_texts for name in LABELS] == [False, False, True]


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


@pytest.mark.parametrize("name", TRAINED)
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
    if task.is_autoregressive or name in NUMBERS:  # what was written has no logits, and no number is of nats
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


def _numbers(outputs, values, tolerance=0.5):
    values = np.asarray(values, np.float32)
    rows = {"values": values, "centre": 10.0, "scale": 2.0, "tolerance": tolerance}
    targets = {key: np.broadcast_to(np.float32(row), values.shape) for key, row in rows.items()}
    ids = tuple(map(str, range(len(values))))
    return Predictions("table-regression", ("a", "b")[: values.shape[1]], ids, {"logits": np.float32(outputs)}, targets)


def test_estimates_are_in_the_unit_of_the_target_and_right_within_the_tolerance():
    task = TASKS["table-regression"]
    model = _numbers([[0.0], [1.0], [-1.0], [np.nan], [-np.inf]], [[10.5], [11.0], [8.0], [1], [1]])
    base = _numbers([[0.2], [1.3], [-1.0], [0], [0]], [[10.5], [11.0], [8.0], [1], [1]])
    rows = task.judge(model)
    assert rows.predicted == ["10", "12", "8", "(not a number)", "(not a number)"]
    assert list(rows.correct) == [True, False, True, False, False]  # off by 0.5, 1, 0
    assert rows.score == pytest.approx([1 / 2, 1 / 3, 1, 0, 0])
    assert list(task.agreement(model, base)) == [True, False, True, False, False]  # 0.4, 0.6 and 0 apart
    assert list(task.valid(model)) == [True, True, True, False, False]


def test_several_numbers_are_right_together():
    rows = TASKS["table-regression"].judge(_numbers([[0, 0], [0, 0]], [[10, 10.4], [10, 11]]))
    assert rows.predicted == ["10, 10", "10, 10"]
    assert list(rows.correct) == [True, False]


def test_a_set_of_labels_is_right_as_a_whole():
    task, logits = TASKS["image-multi-label-classification"], np.float32([[2, -1], [0, -3], [-1, -1], [np.nan, 1]])
    targets = {
        "indicators": np.float32([[1, 0], [1, 1], [0, 0], [0, 1]]),
        "thresholds": np.full((4, 2), 0.5, np.float32),
    }
    model = Predictions("image-multi-label-classification", ("p", "q"), tuple("abcd"), {"logits": logits}, targets)
    rows = task.judge(model)
    assert rows.predicted == ["p", "p", "(none)", "(not a number)"]
    assert list(rows.correct) == [True, False, True, False]
    assert rows.score == pytest.approx([1, 0.5, 1, 0])
    assert rows.confidence[0] == pytest.approx(1 / (1 + np.exp(-1)))  # that `q` is not given is the less certain
    assert rows.probabilities[0] == pytest.approx(1 / (1 + np.exp([-2, 1])))
    higher = {**targets, "thresholds": np.tile(np.float32([0.9, 0.2]), (4, 1))}
    other = Predictions("image-multi-label-classification", ("p", "q"), tuple("abcd"), {"logits": logits}, higher)
    assert task.judge(other).predicted == ["q", "(none)", "q", "(not a number)"]
    assert list(task.agreement(model, other)) == [False, False, False, False]
    assert list(task.agreement(model, model)) == [True, True, True, False]
