"""Where a model's layers are known from: keys of artifacts, as jobs and the command line name them."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from pipeline.keys import Key

__all__ = ["Sources"]


@dataclass(frozen=True, slots=True)
class Sources:
    """Keys of the artifacts that one model's layers are known from."""

    model: Key
    root: Key
    layers: Key
    activations: Key
    origin: Key
    """The nearest torch model: itself, or the ancestor that an ONNX file was exported from."""
    export: Key | None
    """The ONNX export of `origin`."""

    def plain(self) -> dict[str, Any]:
        """As JSON-ready data."""
        return asdict(self)
