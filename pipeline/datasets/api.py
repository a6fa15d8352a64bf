"""What a data set is: three disjoint splits of instances with stable ids, and a fingerprint of their content.

A newcomer adds one file to `pipeline/datasets/sources/`:

    @dataset
    def digits(folder: Path, *, train: int = 1200) -> Dataset:
        '''8x8 handwritten digits that ship inside scikit-learn.'''

The keyword-only parameters are what a conf/dataset entry may set; `folder` is the cache folder of data files. Modules
are imported when a recipe is planned: import torch, transformers, PIL and the like inside the function.
`pipeline.datasets.splits.SplitDataset` does all that data sets have in common.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, Protocol, TypeVar

from pydantic import Field

from ops.core.operation import Batch
from ops.core.registry import Registry
from ops.core.tasks.greedy_decoding import Decoding
from pipeline.core.errors import BouillonError

if TYPE_CHECKING:
    import numpy as np

__all__ = [
    "DATASETS",
    "SPLITS",
    "Answers",
    "Batch",
    "Count",
    "DataError",
    "Dataset",
    "DatasetFactory",
    "Decoding",
    "GenerativeDataset",
    "QuestionDataset",
    "Share",
    "Split",
    "dataset",
    "group_names",
    "is_missing",
]

Split = Literal["train", "calibration", "evaluation"]
SPLITS: tuple[Split, ...] = ("train", "calibration", "evaluation")
Count = Annotated[int, Field(ge=1)]
Share = Annotated[float, Field(ge=0, lt=1)]


class DataError(BouillonError, ValueError):
    """A data set cannot be read: the message names the file, the problem and what to do."""


class Dataset(Protocol):
    """Labelled instances in three splits that share no instance id."""

    name: str
    task: str
    """The name of one in `ops.core.tasks`."""
    fingerprint: str
    """sha256 over content, order, splits and preprocessing; part of the key of every step that uses data."""

    @property
    def classes(self) -> tuple[str, ...]:
        """Class names, in the order of the logits; empty for question answering."""
        ...

    @property
    def inputs(self) -> Mapping[str, tuple[str, tuple[int, ...]]]:
        """Forward argument -> (NumPy dtype name, shape of one instance)."""
        ...

    def ids(self, split: Split) -> Sequence[str]:
        """Stable ids of the split's instances, in stored order."""
        ...

    def size(self, split: Split) -> int:
        """Number of instances."""
        ...

    def labels(self, split: Split) -> Sequence[str]:
        """The label of each instance as people read it (a class name; the answer texts for question answering)."""
        ...

    def attributes(self, split: Split) -> Mapping[str, Sequence[str]]:
        """Attribute name -> one value per instance, for groups. Empty if the data has none.

        What is missing (None, NaN, an empty text, or `nan`) makes no group: such instances count in no group of that attribute.
        """
        ...

    def batches(
        self,
        split: Split,
        *,
        batch_size: int,
        samples: int | None = None,
        seed: int | None = None,
        augment: bool = False,
    ) -> Iterator[Batch]:
        """Yield `samples` instances (default, and at most: all), in stored order or shuffled by `seed`.

        With `samples`, the instances are the first of a fixed shuffle of the split, so that a small sample is spread
        over the classes and a larger one contains it. `augment` (shifts, crops, flips, drawn from `seed`) only has an
        effect on training data.

        Args:
            split: which part.
            batch_size: instances per batch; the last may have fewer.
            samples: the number of instances; None: all.
            seed: of the shuffle and of what `augment` draws; None: stored order.
            augment: vary training inputs as the settings say.
        """
        ...

    def show(self, instance_id: str) -> Mapping[str, Any]:
        """What a person sees of an instance: {"image": PNG bytes} or {"text": str, ...}."""
        ...

    def write_inputs(self, folder: Path) -> Mapping[str, Any]:
        """Return what a packaged model's program must know of the inputs, JSON-ready; write its files (a tokenizer).

        `fields` names the parts of a row. See `ops.core.programs.reading`.
        """
        ...

    def write_row(self, instance_id: str, folder: Path) -> Mapping[str, str]:
        """Return an instance as such a program takes it, by field; what is a file is written into the folder."""
        ...


@dataclass(frozen=True, slots=True)
class Answers:
    """What a model answered to each question of the evaluation split, in its order."""

    texts: tuple[str, ...]
    """As they stand in the context; empty where the model finds none."""
    rows: np.ndarray
    """int64 (questions,): the row of `batches("evaluation")`, the window, that each answer was found in."""


class QuestionDataset(Dataset, Protocol):
    """Questions on contexts that may be longer than a model's input: each is cut into overlapping windows.

    Operations train on windows, so in the training and calibration split a window is an instance (`ID#0`, `ID#1`, ...).
    What is judged is a question, so in the evaluation split a question is an instance, and `batches` yields a row for
    each of its windows, under the question's id.
    """

    def answers(self, outputs: Mapping[str, np.ndarray]) -> Answers:
        """Turn `start_logits` and `end_logits` (rows, length), of all rows of the evaluation split, into texts."""
        ...

    def references(self) -> Sequence[tuple[str, ...]]:
        """The accepted answers to each question of the evaluation split; `("",)` where the context holds none."""
        ...


class GenerativeDataset(QuestionDataset, Protocol):
    """Questions whose answers a model writes; none is cut into windows, and each is an instance in every split.

    In the evaluation split `decoder_input_ids` hold the start token alone: models must not see the answers.
    """

    @property
    def decoding(self) -> Decoding:
        """How answers begin and end."""
        ...

    def answers(self, outputs: Mapping[str, np.ndarray]) -> Answers:
        """Turn `tokens` (rows, length), of all rows of the evaluation split, into texts."""
        ...


DatasetFactory = Callable[..., Dataset]
DATASETS: Registry[DatasetFactory] = Registry("dataset", "pipeline.datasets.sources")
F = TypeVar("F", bound=DatasetFactory)


def dataset(fn: F) -> F:
    """Register a function that opens a data set, and return it unchanged."""
    DATASETS.add(fn.__name__, fn)
    return fn


_NO_VALUES = ("", "nan", "nat")


def is_missing(value: object) -> bool:
    """Whether a cell of a table holds no value: None, NaN, an empty text, or the text `nan` or `NaT`, as which tools write
    numbers and times that there are none of."""
    return value is None or str(value).strip().lower() in _NO_VALUES


def group_names(data: Dataset, split: Split) -> dict[str, tuple[str, ...]]:
    """Attribute name -> the group of each instance, as text; empty where the instance has no value, and so no group."""
    return {
        name: tuple("" if is_missing(value) else str(value) for value in values)
        for name, values in data.attributes(split).items()
    }
