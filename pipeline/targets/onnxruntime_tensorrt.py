"""ONNX Runtime with TensorRT on an NVIDIA GPU."""

from __future__ import annotations

from typing import Any, ClassVar

from pipeline.targets._accelerated import AcceleratedOrt
from pipeline.targets.api import target


@target("onnxruntime_tensorrt")
class OnnxRuntimeTensorRt(AcceleratedOrt):
    """ONNX Runtime's TensorRT provider; engines are built when a model is opened."""

    provider: ClassVar[str] = "TensorrtExecutionProvider"

    def __init__(self, *, device_id: int = 0, fp16: bool = False, int8: bool = False) -> None:
        self._options = {"device_id": device_id, "trt_fp16_enable": fp16, "trt_int8_enable": int8}

    def provider_options(self) -> dict[str, Any]:
        """The GPU and the precisions that TensorRT may choose."""
        return self._options
