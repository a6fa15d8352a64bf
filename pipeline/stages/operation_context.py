"""The context that the worker gives to an operation."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from ops.core.errors import OperationError
from ops.core.operation import Batch, OnnxModel, TorchModel, Uses
from pipeline.core.secret_values import hidden

if TYPE_CHECKING:
    from pipeline.datasets.api import Dataset

PROGRESS_FILE = "progress.json"
_PROGRESS_SECONDS = 0.5


class TrainingData:
    """A data set as operations may see it: training and calibration instances, never the evaluation split."""

    def __init__(self, dataset: Dataset) -> None:
        self._dataset = dataset

    @property
    def fingerprint(self) -> str:
        """Of the data set's content."""
        return self._dataset.fingerprint

    @property
    def task(self) -> str:
        """What the labels are."""
        return self._dataset.task

    @property
    def classes(self) -> Sequence[str]:
        """Class names, in the order of the logits."""
        return self._dataset.classes

    def size(self, split: Literal["train", "calibration"]) -> int:
        """Number of instances."""
        return self._dataset.size(self._allowed(split))

    def batches(
        self,
        split: Literal["train", "calibration"],
        *,
        batch_size: int,
        samples: int | None = None,
        seed: int | None = None,
        augment: bool = False,
    ) -> Iterator[Batch]:
        """As `Dataset.batches`."""
        return self._dataset.batches(
            self._allowed(split), batch_size=batch_size, samples=samples, seed=seed, augment=augment
        )

    def _allowed(self, split: Literal["train", "calibration"]) -> Literal["train", "calibration"]:
        if split not in ("train", "calibration"):
            raise OperationError(f"An operation may not use the '{split}' split: its figures would be worth nothing")
        return split


class WorkerContext:
    """The Context of one step. Data and references are opened when first asked for.

    A step is given what its key holds: `uses` are what its operation declares (default: everything, for operations that
    are run outside of a plan). Whatever else it asks for is refused.
    """

    def __init__(
        self,
        *,
        seed: int,
        scratch: Path,
        dataset: Callable[[], Dataset],
        build: Callable[[Mapping[str, Any], bool], TorchModel | OnnxModel],
        references: Mapping[str, Callable[[], TorchModel | OnnxModel]],
        uses: Collection[Uses] = frozenset(Uses),
    ) -> None:
        self.scratch = scratch
        self.notes: dict[str, Any] = {}
        self._seed, self._dataset, self._build, self._references = seed, dataset, build, references
        self._uses = frozenset(uses)
        self._last_progress = 0.0

    @property
    def seed(self) -> int:
        """The step's seed."""
        self._require(Uses.SEED, "its seed")
        return self._seed

    @property
    def data(self) -> TrainingData:
        """The recipe's data set."""
        self._require(Uses.DATA, "the data")
        return TrainingData(self._dataset())

    def build(self, entry: Mapping[str, Any], *, pretrained: bool) -> TorchModel | OnnxModel:
        """Build a conf/model entry to fit the data set."""
        if Uses.DATA not in self._uses:
            self._require(Uses.INTERFACE, "the classes and inputs of the data, which a model is built to fit")
        if not pretrained or entry.get("new_head"):
            self._require(Uses.SEED, "its seed, which initial weights are drawn from")
        return self._build(entry, pretrained)

    def _require(self, use: Uses, text: str) -> None:
        if use not in self._uses:
            raise OperationError(
                f"The operation reads {text}, which is not in the key of its step: add Uses.{use.name} to `uses` of @operation"
            )

    def load(self, reference: str) -> TorchModel:
        """Load the model that a `ModelRef` parameter names."""
        if reference not in self._references:
            raise OperationError(
                f"The operation loads '{reference}', which no parameter of type ModelRef names: it is not in the step's key"
            )
        model = self._references[reference]()
        assert isinstance(model, TorchModel), "the plan lets references name torch models only"
        return model

    def note(self, name: str, value: Any) -> None:
        """Record something about the result; JSON only."""
        json.dumps(value, allow_nan=False)
        self.notes[name] = value

    def progress(self, done: float, total: float, text: str = "") -> None:
        """Write the progress file, at most twice a second."""
        now = time.monotonic()
        if now - self._last_progress >= _PROGRESS_SECONDS:
            self._last_progress = now
            scratch = self.scratch / f"{PROGRESS_FILE}.new"
            scratch.write_text(json.dumps({"done": done, "total": total, "text": hidden(text)}))
            scratch.replace(self.scratch / PROGRESS_FILE)
