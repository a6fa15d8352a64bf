"""The contract of a target runtime: it opens a model file and runs batches.

A target never times itself: `pipeline.measure.timing` holds the one timing loop, so that numbers from two targets can be
compared. A newcomer adds one file to `pipeline/targets/`, with one class under `@target`:

    @target("onnxruntime")
    class OnnxRuntime:
        '''ONNX Runtime on the CPU.'''

        accepts = Format.ONNX
        clock = "cpu"

        def __init__(self, *, optimization: Literal["all", "basic"] = "all") -> None: ...

The constructor's keyword-only parameters are what a conf/target entry may set. Making a target is cheap and imports no
runtime; `require` and `open` do.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Protocol, Self, TypeVar, runtime_checkable

from ops.core.operation import Format
from ops.core.registry import Registry
from pipeline.core.errors import BouillonError

if TYPE_CHECKING:
    import numpy as np

__all__ = [
    "CPU_CHANNELS",
    "TARGETS",
    "MissingRuntimeError",
    "NodeTime",
    "Profiler",
    "Session",
    "Target",
    "TargetError",
    "needs_module",
    "takes_one_length",
    "target",
]

CPU_CHANNELS = 8
"""The floats of an AVX register. Kernels for ARM and for AVX-512 take multiples of it, and run it without loss."""


class TargetError(BouillonError, RuntimeError):
    """A runtime is missing or refuses a model: the message says which extra to install or what it refused."""


class MissingRuntimeError(TargetError):
    """This machine cannot run the target at all: its figures are skipped, with the message as the reason."""


class Session(Protocol):
    """An open model."""

    @property
    def inputs(self) -> tuple[str, ...]:
        """Names of what `run` takes."""
        ...

    @property
    def outputs(self) -> tuple[str, ...]:
        """Names of what `run` returns, in its order."""
        ...

    def run(self, inputs: Mapping[str, np.ndarray]) -> tuple[np.ndarray, ...]:
        """Return the outputs, one row per instance; return only when the result is ready.

        Raises:
            TargetError: if the runtime refuses the inputs or fails.
        """
        ...

    def __enter__(self) -> Self: ...
    def __exit__(self, *exc: object) -> None: ...


def takes_one_length(session: Session) -> bool:
    """Whether an open model takes texts of one length only, so that they must be padded to it."""
    return bool(getattr(session, "fixed_length", False))


class Target(Protocol):
    """A runtime with its options."""

    name: ClassVar[str]
    """What users see and SQL groups by: `onnxruntime`. Given by `@target`."""
    accepts: ClassVar[Format]
    channel_multiple: ClassVar[int]
    """Its kernels take so many channels at a time: `channel_prune` keeps multiples of it."""
    packages: ClassVar[tuple[str, ...]]
    """Installed packages whose versions decide its answers and its speed: they enter the keys of both."""
    clock: ClassVar[Literal["cpu", "wall"]]
    """What its speed is judged by: CPU time, or wall-clock time where the work is done by an accelerator."""

    def require(self) -> None:
        """Do nothing if the target can run here.

        Raises:
            MissingRuntimeError: saying what is missing and which extra installs it.
        """
        ...

    def describe(self) -> dict[str, Any]:
        """Versions and options that explain a number: stored with each measurement."""
        ...

    def open(self, model: Path, *, threads: int) -> Session:
        """Open a model file (ONNX) or artifact folder (torch). `threads` are the runtime's own; 0 means all cores.

        Raises:
            TargetError: if the runtime is missing, or refuses the model.
        """
        ...

    def kernels(self, model: Path) -> Mapping[str, float]:
        """Share of the model's MACs per kernel class (`int8`, `float32`, ...) after the runtime's own optimisation."""
        ...


@dataclass(frozen=True, slots=True)
class NodeTime:
    """The time of one node of a graph."""

    name: str
    """As the runtime calls it: with the name of a node of the file in it."""
    kernel: str
    """Operator as the runtime runs it: `QLinearConv`."""
    seconds: list[float]
    """Of every run."""


@runtime_checkable
class Profiler(Protocol):
    """A target whose runtime tells how long each node takes."""

    name: ClassVar[str]

    def node_times(
        self, model: Path, inputs: Mapping[str, np.ndarray], *, threads: int, folder: Path
    ) -> list[NodeTime]:
        """Run a model file a few times under the runtime's profiler, which may write into `folder`.

        Raises:
            TargetError: if the runtime refuses the model or fails.
        """
        ...


TARGETS: Registry[type] = Registry("target", "pipeline.targets")
C = TypeVar("C", bound=type)


def target(name: str) -> Callable[[C], C]:
    """Register a class as the target called `name`, and return it."""

    def register(cls: C) -> C:
        cls.name = name  # type: ignore[attr-defined]  # the one place that gives a target its name
        TARGETS.add(name, cls)
        return cls

    return register


def needs_module(module: str, *, install: str) -> None:
    """Check, without importing it, that a module is installed.

    Raises:
        MissingRuntimeError: saying how to install it.
    """
    if importlib.util.find_spec(module) is None:
        raise MissingRuntimeError(f"'{module}' is not installed. Install it with: {install}")
