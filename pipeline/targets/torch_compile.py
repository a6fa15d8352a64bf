"""PyTorch with torch.compile: generated C++ kernels on the CPU."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar, Literal, cast

from ops.core.operation import Format
from pipeline.targets._torch import TorchSession, load_module, parameter_kinds
from pipeline.targets.api import CPU_CHANNELS, MissingRuntimeError, needs_module, target

_COMPILERS = ("g++", "clang++")


@target("torch_compile")
class TorchCompile:
    """PyTorch through the inductor compiler. The first run of each batch size compiles, which takes seconds to minutes."""

    name: ClassVar[str]
    accepts: ClassVar[Format] = Format.TORCH
    channel_multiple: ClassVar[int] = CPU_CHANNELS
    packages: ClassVar[tuple[str, ...]] = ("torch",)
    clock: ClassVar[Literal["cpu", "wall"]] = "cpu"

    def require(self) -> None:
        """Check that torch and a C++ compiler are there."""
        needs_module("torch", install="pip install torch")
        if not any(shutil.which(compiler) for compiler in _COMPILERS):
            raise MissingRuntimeError(
                f"torch.compile needs a C++ compiler ({' or '.join(_COMPILERS)}), and none is on the path. "
                "Install one with: apt-get install g++"
            )

    def describe(self) -> dict[str, Any]:
        """Version, mode and compiler."""
        import torch

        result = next((compiler for compiler in _COMPILERS if shutil.which(compiler)), None)
        return {"runtime": "pytorch", "version": torch.__version__, "mode": "inductor", "compiler": result}

    def open(self, model: Path, *, threads: int) -> TorchSession:
        """Open the folder of a torch artifact."""
        self.require()
        import torch

        loaded = load_module(model, threads)
        compiled = cast("torch.nn.Module", torch.compile(loaded.module))
        return TorchSession(compiled, loaded.architecture, model)

    def kernels(self, model: Path) -> Mapping[str, float]:
        """Inductor computes in the type of the weights."""
        return parameter_kinds(load_module(model, 1).module)
