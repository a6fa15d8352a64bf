"""What a data set is: three disjoint splits of instances with stable ids, and a fingerprint of their content.

A newcomer adds one file to `pipeline/datasets/`:

    @dataset
    def digits(folder: Path, *, train: int = 1200) -> Dataset:
        '''8x8 handwritten digits that ship inside scikit-learn.'''

The keyword-only parameters are what a conf/dataset entry may set; `folder` is the cache folder of data files. Modules
are imported when a recipe is planned: import numpy, PIL and the like inside the function.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol, TypeVar

from ops.api import Batch
from ops.registry import Registry

if TYPE_CHECKING:
    import numpy as np

__all__ = ["DATASETS", "Batch", "DataError", "Dataset", "DatasetFactory", "Split", "dataset"]

Split = Literal["train", "calibration", "evaluation"]
SPLITS: tuple[Split, ...] = ("train", "calibration", "evaluation")


class DataError(ValueError):
    """A data set cannot be read: the message names the file, the problem and what to do."""


class Dataset(Protocol):
    """Labelled instances in three splits that share no instance id."""

    name: str
    task: str
    """`image-classification`, `text-classification` or `question-answering`."""
    classes: tuple[str, ...]
    fingerprint: str
    """sha256 over content, order, splits and preprocessing; part of the key of every step that uses data."""
    inputs: Mapping[str, tuple[str, tuple[int, ...]]]
    """Forward argument -> (NumPy dtype name, shape of one instance)."""

    def ids(self, split: Split) -> Sequence[str]:
        """Stable ids of the split's instances, in stored order."""
        ...

    def size(self, split: Split) -> int: ...

    def labels(self, split: Split) -> Sequence[str]:
        """The label of each instance as people read it (a class name; the answer texts for question answering)."""
        ...

    def attributes(self, split: Split) -> Mapping[str, Sequence[str]]:
        """Attribute name -> one value per instance, for groups. Empty if the data has none."""
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
        """Yield `samples` instances (default: all), in stored order or shuffled by `seed`.

        With `samples`, the instances are the first of a fixed shuffle of the split, so that a small sample is spread
        over the classes and a larger one contains it. `augment` only has an effect on training data.
        """
        ...

    def show(self, instance_id: str) -> Mapping[str, Any]:
        """What a person sees of an instance: {"image": PNG bytes} or {"text": str, ...}."""
        ...


DatasetFactory = Callable[..., Dataset]
DATASETS: Registry[DatasetFactory] = Registry("dataset", "pipeline.datasets")
F = TypeVar("F", bound=DatasetFactory)


def dataset(fn: F) -> F:
    """Register a function that opens a data set, and return it unchanged."""
    DATASETS.add(fn.__name__, fn)
    return fn
