"""PyTorch as it is: eager mode on the CPU."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar, Literal

from ops.core.operation import Format
from pipeline.targets._torch import TorchSession, load_module, parameter_kinds
from pipeline.targets.api import CPU_CHANNELS, needs_module, target


@target("pytorch")
class PyTorch:
    """PyTorch in eager mode."""

    name: ClassVar[str]
    accepts: ClassVar[Format] = Format.TORCH
    channel_multiple: ClassVar[int] = CPU_CHANNELS
    packages: ClassVar[tuple[str, ...]] = ("torch",)
    clock: ClassVar[Literal["cpu", "wall"]] = "cpu"

    def require(self) -> None:
        """Check that torch is installed."""
        needs_module("torch", install="pip install torch")

    def describe(self) -> dict[str, Any]:
        """Version and mode."""
        import torch

        return {"runtime": "pytorch", "version": torch.__version__, "mode": "eager"}

    def open(self, model: Path, *, threads: int) -> TorchSession:
        """Open the folder of a torch artifact."""
        self.require()
        loaded = load_module(model, threads)
        return TorchSession(loaded.module, loaded.architecture, model)

    def kernels(self, model: Path) -> Mapping[str, float]:
        """Eager PyTorch computes in the type of the weights."""
        return parameter_kinds(load_module(model, 1).module)
