"""The base of targets on accelerators through ONNX Runtime."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar, Literal

from ops.core.operation import Format
from ops.onnx_graph.session import CPU
from pipeline.targets._onnxruntime import OrtSession, open_runtime_session, require_provider, runtime_options

_TENSOR_CORE_CHANNELS = 16
"""Tensor cores load 16 bytes at a time: 16 channels in int8, twice the 8 of float16."""
_INSTALL = "pip install onnxruntime-gpu (in place of onnxruntime)"


class AcceleratedOrt:
    """ONNX Runtime with an execution provider of an accelerator; what it does not take runs on the CPU."""

    name: ClassVar[str]
    accepts: ClassVar[Format] = Format.ONNX
    channel_multiple: ClassVar[int] = _TENSOR_CORE_CHANNELS
    packages: ClassVar[tuple[str, ...]] = ("onnxruntime", "onnxruntime-gpu", "tensorrt")
    clock: ClassVar[Literal["cpu", "wall"]] = "wall"
    provider: ClassVar[str]

    def require(self) -> None:
        """Check that ONNX Runtime is there with the provider."""
        require_provider(self.provider, install=_INSTALL)

    def provider_options(self) -> dict[str, Any]:
        """Options of the provider."""
        return {"device_id": 0}

    def describe(self) -> dict[str, Any]:
        """Version, provider and options."""
        import onnxruntime as ort

        return {
            "runtime": "onnxruntime",
            "version": ort.__version__,
            "provider": self.provider,
            "provider_options": self.provider_options(),
            "optimization": "all",
        }

    def open(self, model: Path, *, threads: int) -> OrtSession:
        """Open an ONNX file. Inputs and outputs stay in main memory: copying them is part of a run."""
        self.require()
        providers = [(self.provider, self.provider_options()), *CPU]
        return OrtSession(open_runtime_session(model, runtime_options(threads, "all"), providers), model)

    def kernels(self, model: Path) -> Mapping[str, float]:
        """Unknown: these providers do not say in which precision they run a node."""
        return {}
