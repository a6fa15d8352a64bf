"""The base of targets on PyTorch: loading an artifact and running a module on NumPy arrays."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from ops.core.forward import forward, output_names, tensors
from ops.core.model import Architecture, TorchModel
from pipeline.core.machine.cpu_quota import cores
from pipeline.targets.api import TargetError

if TYPE_CHECKING:
    import numpy as np
    import torch


def load_module(folder: Path, threads: int) -> TorchModel:
    """Load a torch artifact in evaluation mode, and set PyTorch's threads (they are the process's, not a model's).

    Raises:
        TargetError: if the folder holds no torch model that can be read.
    """
    import safetensors
    import torch

    from pipeline.models import storage
    from pipeline.models.api import ModelError

    torch.set_num_threads(threads or cores())
    try:
        model = storage.load(folder)
    except (ModelError, OSError, ValueError, KeyError, safetensors.SafetensorError) as error:
        raise TargetError(f"{folder}: this is no torch model that can be read: {error}") from None
    if not isinstance(model, TorchModel):
        raise TargetError(
            f"{folder}: PyTorch runs torch models, and this is an ONNX file. Use a target that takes ONNX"
        )
    return model


def parameter_kinds(module: torch.nn.Module) -> dict[str, float]:
    """Share of the weights in matrices and filters per type: a stand-in for MACs where every weight is used alike."""
    totals: dict[str, int] = {}
    for parameter in module.parameters():
        if parameter.ndim > 1:
            kind = str(parameter.dtype).removeprefix("torch.")
            totals[kind] = totals.get(kind, 0) + parameter.numel()
    whole = sum(totals.values())
    return {kind: count / whole for kind, count in sorted(totals.items())}


class TorchSession:
    """A module behind the interface of all targets."""

    def __init__(self, module: torch.nn.Module, architecture: Architecture, folder: Path) -> None:
        self._module, self._task, self._folder = module, architecture.task, folder
        self.inputs = tuple(architecture.inputs)
        self.outputs = output_names(module, architecture)

    def run(self, inputs: Mapping[str, np.ndarray]) -> tuple[np.ndarray, ...]:
        """Return the task's outputs as NumPy arrays."""
        import torch

        try:
            with torch.inference_mode():
                outputs = forward(self._module, tensors(inputs), self._task)
        except (RuntimeError, TypeError, ValueError, IndexError) as error:
            raise TargetError(f"{self._folder}: PyTorch fails: {_cause(error)}") from None
        return tuple(outputs[name].numpy() for name in self.outputs)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: Any) -> None:
        del self._module


def _cause(error: Exception) -> str:
    """The first line of an error, and the next where the first only says that another error follows."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()] or [type(error).__name__]
    return " ".join(lines[:2]) if lines[0].endswith(":") else lines[0]
