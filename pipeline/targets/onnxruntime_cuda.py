"""ONNX Runtime on an NVIDIA GPU."""

from __future__ import annotations

from typing import Any, ClassVar

from pipeline.targets._accelerated import AcceleratedOrt
from pipeline.targets.api import target


@target("onnxruntime_cuda")
class OnnxRuntimeCuda(AcceleratedOrt):
    """ONNX Runtime's CUDA provider, in true float32 (no TensorFloat-32)."""

    provider: ClassVar[str] = "CUDAExecutionProvider"

    def __init__(self, *, device_id: int = 0) -> None:
        self._device_id = device_id

    def provider_options(self) -> dict[str, Any]:
        """The GPU, and no silent change of precision."""
        return {"device_id": self._device_id, "use_tf32": 0}
