"""What a target runtime is: something that opens a model file and runs batches.

A target never times itself: `pipeline.bench` holds the one timing loop, so that numbers from two targets can be
compared. A newcomer adds one file to `pipeline/targets/`, with one class under `@target`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, Self, TypeVar

from ops.api import Format
from ops.registry import Registry

if TYPE_CHECKING:
    import numpy as np

__all__ = ["TARGETS", "Session", "Target", "TargetError", "target"]


class TargetError(RuntimeError):
    """A runtime is missing or refuses a model: the message says which extra to install or what it refused."""


class Session(Protocol):
    """An open model."""

    outputs: tuple[str, ...]

    def run(self, inputs: Mapping[str, np.ndarray]) -> tuple[np.ndarray, ...]:
        """Return the outputs, one row per instance; return only when the result is ready."""
        ...

    def __enter__(self) -> Self: ...
    def __exit__(self, *exc: object) -> None: ...


class Target(Protocol):
    """A runtime with its options."""

    name: str
    """What users see and SQL groups by: `onnxruntime`."""
    accepts: Format

    def describe(self) -> dict[str, Any]:
        """Versions, CPU flags and options that explain a number: stored with each run."""
        ...

    def open(self, model: Path, *, threads: int) -> Session:
        """Open a model file (ONNX) or artifact folder (torch). `threads` are the runtime's own; 0 means all cores."""
        ...

    def kernels(self, model: Path) -> Mapping[str, float]:
        """Share of the model's MACs per kernel class (`int8`, `float32`, ...) after the runtime's own optimisation."""
        ...


TARGETS: Registry[type] = Registry("target", "pipeline.targets")
C = TypeVar("C", bound=type)


def target(name: str) -> Callable[[C], C]:
    """Register a class as a target; its constructor's keyword-only parameters are what conf/target may set."""

    def register(cls: C) -> C:
        TARGETS.add(name, cls)
        return cls

    return register
