"""A task: what goes into a model and comes out, what training minimises, what an answer is and when it is right.

A newcomer adds one module to `ops/core/tasks/`, or registers a class in a module listed under `plugins:`:

    @task
    class TextClassification(Classification):
        '''One class for each text, or pair of texts.'''

        name = "text-classification"
        inputs = TEXT_INPUTS

Everything else asks the task of a model or data set (`TASKS[name]`) and never compares names. Tasks are imported when a
recipe is planned: import torch and NumPy inside the methods. Which metrics are a task's quality is up to the metrics: each
applies wherever it finds the targets or references that it needs, and gives None elsewhere.
"""

from __future__ import annotations

import base64
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Protocol, TypeVar

from ops.core.errors import OperationError
from ops.core.programs.answers import OUTPUTS
from ops.core.programs.reading import array_program, picture_program
from ops.core.registry import Registry
from ops.core.tasks.answer_text import AnswerKind

if TYPE_CHECKING:
    import numpy as np
    import torch

    from ops.core.programs.program import Program

__all__ = ["INVALID", "TASKS", "AnswerKind", "Axis", "Evaluation", "Input", "Judgement", "OpenModel", "Task", "task"]

PICTURES, TOKENS, DECODER_TOKENS = "pixel_values", "input_ids", "decoder_input_ids"
"""Inputs by which a task of pictures, one of texts, and one whose answers are written token by token, can be told."""
INVALID = "(not a number)"
"""The answer that stands for outputs that are not numbers."""


@dataclass(frozen=True, slots=True)
class Input:
    """An argument of the network's forward pass."""

    name: str
    dtype: str
    """NumPy's name of it."""
    axes: tuple[str, ...]
    """Of one instance."""
    optional: bool = False
    """Whether there are networks and data without it."""


@dataclass(frozen=True, slots=True)
class Axis:
    """An axis of an output, behind that of the instances."""

    noun: str
    """Plural: `classes`, `tokens`."""
    size: int | None
    """None: any."""
    owner: str = "the data has"
    """Subject and verb of the sentence that says how many there must be."""


class OpenModel(Protocol):
    """A model on a target, ready to run."""

    @property
    def inputs(self) -> tuple[str, ...]:
        """Names of what `run` takes."""
        ...

    @property
    def outputs(self) -> tuple[str, ...]:
        """Names of what `run` gives."""
        ...

    def run(self, inputs: Mapping[str, np.ndarray]) -> tuple[np.ndarray, ...]:
        """Return the outputs, in the order of `outputs`."""
        ...


class Evaluation(Protocol):
    """What a model gave for the N instances of the evaluation split, and what would have been right."""

    @property
    def classes(self) -> tuple[str, ...]:
        """Class names, in the order of the outputs."""
        ...

    @property
    def ids(self) -> tuple[str, ...]:
        """Of the instances."""
        ...

    @property
    def outputs(self) -> Mapping[str, np.ndarray]:
        """Name -> (N, ...)."""
        ...

    @property
    def targets(self) -> Mapping[str, np.ndarray]:
        """Name -> (N, ...)."""
        ...

    @property
    def answers(self) -> tuple[str, ...]:
        """Texts, of tasks that `Task.answers` gives some for."""
        ...

    @property
    def references(self) -> tuple[tuple[str, ...], ...]:
        """The accepted texts of each instance, of such tasks."""
        ...


@dataclass(frozen=True, slots=True)
class Judgement:
    """Each instance's answer as people read it, and how good it is."""

    predicted: Sequence[str]
    confidence: np.ndarray
    """float32 (N,): probability of the answer; NaN where it has none."""
    label_probability: np.ndarray
    """float32 (N,): probability of the right answer; NaN where it has none."""
    correct: np.ndarray
    """bool (N,)."""
    score: np.ndarray
    """float32 (N,): from 0 to 1."""
    probabilities: np.ndarray | None = None
    """float32 (N, classes); None without classes."""


class Task(ABC):
    """One kind of question that models answer. Instances hold no state."""

    name: ClassVar[str]
    """As recipes and results call it."""
    inputs: ClassVar[tuple[Input, ...]]
    """In the order of the network's arguments."""
    outputs: ClassVar[tuple[str, ...]]
    """In the order in which exported models give them."""
    targets: ClassVar[tuple[str, ...]]
    """Arrays that say what is right: of batches in training, of evaluations in scoring."""
    softmax_outputs: ClassVar[tuple[str, ...]] = ()
    """Outputs whose last axis holds the logits of one distribution."""
    sigmoid_outputs: ClassVar[tuple[str, ...]] = ()
    """Outputs that hold a logit for each label by itself: a sigmoid that a model took is taken back."""
    has_classes: ClassVar[bool] = False
    """Whether the data's classes are what networks choose among."""
    any_outputs: ClassVar[bool] = False
    """Whether the outputs are all that a network gives, by its own names."""
    answer: ClassVar[AnswerKind | None] = None
    """None: a class where the task has classes, else a text."""
    has_contexts: ClassVar[bool] = False
    """Whether instances refer to long texts, which are cut."""
    transformers_class: ClassVar[str | None] = None
    """The automatic class of transformers that builds its networks; None: that library has none."""
    hub_tag: ClassVar[str | None] = None
    """Hugging Face's hub knows the task by this name; None: it does not know it."""

    @property
    def reads_pictures(self) -> bool:
        """Whether instances are pictures."""
        return any(one.name == PICTURES for one in self.inputs)

    @property
    def is_autoregressive(self) -> bool:
        """Whether an answer is written token by token, each after those before it."""
        return any(one.name == DECODER_TOKENS for one in self.inputs)

    @property
    def reads_texts(self) -> bool:
        """Whether instances are tokenised texts."""
        return any(one.name == TOKENS for one in self.inputs)

    @property
    def answer_kind(self) -> AnswerKind:
        """Return what the text of an answer holds."""
        return self.answer or (AnswerKind.CLASS if self.has_classes else AnswerKind.TEXT)

    # ---- training
    @abstractmethod
    def loss(
        self,
        outputs: Mapping[str, torch.Tensor],
        targets: Mapping[str, torch.Tensor],
        *,
        label_smoothing: float = 0.0,
    ) -> torch.Tensor:
        """Return what training minimises: a scalar, the mean over the batch.

        Args:
            outputs: the network's, by name: (batch, ...).
            targets: the batch's, by name: (batch, ...).
            label_smoothing: share of the target that is spread over all classes, where that makes sense.
        """

    def supervised(
        self, outputs: Mapping[str, torch.Tensor], targets: Mapping[str, torch.Tensor]
    ) -> Mapping[str, torch.Tensor]:
        """Return the part of the outputs that the targets say something of."""
        return outputs

    def divergence(
        self,
        outputs: Mapping[str, torch.Tensor],
        teacher: Mapping[str, torch.Tensor],
        targets: Mapping[str, torch.Tensor],
        *,
        temperature: float,
    ) -> torch.Tensor:
        """Return how far a network's outputs are from a teacher's, a scalar on the scale of the loss.

        By default the mean divergence of softened probabilities, times the temperature squared.

        Args:
            outputs: the network's, by name: (batch, ...).
            teacher: the other network's, likewise.
            targets: the batch's, by name.
            temperature: by which logits are divided.

        Raises:
            OperationError: the task has no such probabilities, and no other measure of its own.
        """
        if not self.softmax_outputs:
            raise OperationError(f"a teacher cannot be followed: the outputs of {self.name} are no distributions")
        import torch
        from torch.nn import functional

        ours, theirs = self.supervised(outputs, targets), self.supervised(teacher, targets)
        parts = [
            functional.kl_div(
                functional.log_softmax(ours[name] / temperature, dim=-1),
                functional.log_softmax(theirs[name] / temperature, dim=-1),
                reduction="batchmean",
                log_target=True,
            )
            for name in self.softmax_outputs
        ]
        return torch.stack(parts).mean() * temperature**2

    # ---- models
    @abstractmethod
    def axes(self, output: str, classes: int, inputs: Mapping[str, tuple[str, tuple[int, ...]]]) -> tuple[Axis, ...]:
        """Return the axes of an output for one instance.

        Args:
            output: one of `outputs`.
            classes: how many the data has.
            inputs: the data's: name -> (dtype, shape of one instance).
        """

    def is_by_product(self, output: str) -> bool:
        """Whether a further output of a network comes up on the way to the task's, so that nobody misses it."""
        return False

    # ---- evaluation
    def run(self, model: OpenModel, inputs: Mapping[str, np.ndarray], dataset: Any) -> Mapping[str, np.ndarray]:
        """Return what an open model gives for a batch, by name: (batch, ...); by default its outputs in one pass.

        Args:
            model: with the task's outputs.
            inputs: of a batch: (batch, ...).
            dataset: that the batch is of.
        """
        return dict(zip(model.outputs, model.run(inputs), strict=True))

    def instance_rows(self, ids: Sequence[str], targets: Mapping[str, np.ndarray]) -> np.ndarray | None:
        """Return the row that stands for each instance, int64 (instances,), where one has several; None: all rows do.

        The choice must not depend on the model, or two models could not be compared row by row.
        """
        return None

    def answers(self, dataset: Any, outputs: Mapping[str, np.ndarray]) -> tuple[str, ...]:
        """Return each instance's answer, from the outputs of all rows, of tasks whose answers are texts."""
        return ()

    def references(self, dataset: Any) -> tuple[tuple[str, ...], ...]:
        """Return each instance's accepted answers, of tasks whose answers are texts."""
        return ()

    # ---- scoring
    @abstractmethod
    def judge(self, evaluation: Evaluation) -> Judgement:
        """Return each instance's answer, probabilities and score."""

    @abstractmethod
    def correct(self, evaluation: Evaluation) -> np.ndarray:
        """Return whether the model is right, bool (N,): paired tests compare models by it."""

    def valid(self, evaluation: Evaluation) -> np.ndarray:
        """Return whether an instance's outputs can be judged at all, bool (N,): by default, `rows.valid_rows`."""
        from ops.core.tasks.rows import valid_rows

        return valid_rows(evaluation)

    def loss_rows(self, evaluation: Evaluation) -> np.ndarray | None:
        """Return each instance's loss in nats, float64 (N,), NaN where it has none; None: the task knows none."""
        return None

    def agreement(self, evaluation: Evaluation, base: Evaluation) -> np.ndarray | None:
        """Return whether two models give the same answer, bool (N,); None: there are no answers."""
        import numpy as np

        ours, theirs = self.judge(evaluation).predicted, self.judge(base).predicted
        pairs = zip(ours, theirs, strict=True)
        return np.array([mine == other != INVALID for mine, other in pairs], dtype=bool)

    # ---- packages
    def program(self, settings: Mapping[str, Any]) -> Program:
        """Return the program that comes with a packaged model: how a row is read, and what is said of it.

        By default the outputs are, as they are, and so are inputs that are no pictures.

        Args:
            settings: what the data set says of its inputs (`pipeline.datasets.api.Dataset.write_inputs`).
        """
        return picture_program(settings, OUTPUTS) if self.reads_pictures else array_program(OUTPUTS)

    # ---- people
    def show(self, instance: Mapping[str, Any]) -> dict[str, Any]:
        """Return what a person sees of an instance, JSON-ready: base64 of its pictures, everything else as text.

        Args:
            instance: as the data set's `show` gives it.
        """
        return {
            name: base64.b64encode(value).decode()
            if isinstance(value, bytes)
            else value
            if name == "image"
            else str(value)
            for name, value in instance.items()
        }


TASKS: Registry[Task] = Registry("task", "ops.core.tasks")
T = TypeVar("T", bound=type[Task])


def task(cls: T) -> T:
    """Register a task, and return its class unchanged."""
    TASKS.add(cls.name, cls())
    return cls
