"""The part of a data set that decides what a model must look like: a value, so that it can be part of a key."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

if TYPE_CHECKING:
    from pipeline.datasets.api import Dataset


@dataclass(frozen=True, slots=True)
class Interface:
    """The part of a data set that a model is built to fit."""

    task: str
    classes: tuple[str, ...]
    """In the order of the logits."""
    inputs: Mapping[str, tuple[str, tuple[int, ...]]]
    """Forward argument -> (NumPy dtype name, shape of one instance), in the order of the arguments."""

    @classmethod
    def of(cls, data: Dataset) -> Self:
        """Read it from an open data set.

        Raises:
            DataError: if its instances cannot be read.
        """
        return cls(data.task, tuple(data.classes), dict(data.inputs))

    @classmethod
    def parse(cls, plain: Mapping[str, Any]) -> Self:
        """Read it back from what `plain` gave."""
        inputs = {name: (dtype, tuple(shape)) for name, dtype, shape in plain["inputs"]}
        return cls(plain["task"], tuple(plain["classes"]), inputs)

    def plain(self) -> dict[str, Any]:
        """As JSON-ready data; the order of the inputs counts, since ONNX files may be matched with it."""
        inputs = [[name, dtype, [int(side) for side in shape]] for name, (dtype, shape) in self.inputs.items()]
        return {"task": self.task, "classes": list(self.classes), "inputs": inputs}
