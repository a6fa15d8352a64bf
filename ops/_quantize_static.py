"""Static int8: ranges of activations from calibration samples, rounded with QuantizeLinear/DequantizeLinear pairs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from ops._calibration import calibration_batches, sample_count
from ops._cpu import integer_arithmetic
from ops._onnx_layers import CONVOLUTIONS, matrix_nodes
from ops._onnx_runtime import quiet_tools
from ops._quantize_request import Report, Request, prepare

if TYPE_CHECKING:
    import numpy as np

_BATCH = 8  # small: the calibrators hold the activations of a batch in memory
_MATRIX = ("Conv", "ConvTranspose", "Gemm", "MatMul")
_BETWEEN_CONVOLUTIONS = (
    "Add", "AveragePool", "Clip", "Concat", "Flatten", "GlobalAveragePool", "LeakyRelu", "MaxPool", "Mul", "Pad", "Relu",
    "Reshape", "Resize", "Sigmoid", "Slice", "Split", "Squeeze", "Transpose", "Unsqueeze",
)  # fmt: skip
_METHODS = {"minmax": "MinMax", "entropy": "Entropy", "percentile": "Percentile"}


def quantize_static(request: Request) -> Report:
    """Write an int8 model that ONNX Runtime runs in integer kernels.

    Weights are symmetric int8 (zero stays zero), per channel; activations follow the CPU (`ops._cpu`). In convolutional
    networks what stands between convolutions is quantized too, so that activations stay 8-bit; in transformers only the
    matrix products are, and softmax, normalisation and residual sums keep float. Outputs of linear layers are not
    rounded: kernels that give float are as fast, and a classifier's logits keep their order.
    """
    import onnxruntime.quantization as ort_quantization
    from onnxruntime.quantization import QuantFormat, QuantType

    settings, scratch = request.settings, request.ctx.scratch
    cpu = integer_arithmetic()
    activations = cpu.activations if settings.activations == "auto" else settings.activations
    reduce_range = cpu.reduce_range if settings.reduce_range is None else settings.reduce_range
    types = {"uint8": QuantType.QUInt8, "int8": QuantType.QInt8}
    convolutional = 2 * sum(found.node.op_type in CONVOLUTIONS for found in request.nodes) > len(request.nodes)
    with quiet_tools(scratch):
        prepared = prepare(request)
        ort_quantization.quantize_static(
            prepared,
            request.result,
            _Reader(request),
            quant_format=QuantFormat.QDQ,
            op_types_to_quantize=list(_MATRIX + _BETWEEN_CONVOLUTIONS if convolutional else _MATRIX),
            nodes_to_exclude=_left_alone(prepared, request.chosen),
            per_channel=settings.per_channel,
            reduce_range=reduce_range,
            activation_type=types[activations],
            weight_type=QuantType.QInt8,
            calibrate_method=ort_quantization.CalibrationMethod[_METHODS[settings.calibration]],
            extra_options={
                "OpTypesToExcludeOutputQuantization": ["MatMul", "Gemm"],
                "CalibPercentile": settings.percentile,
                "CalibStridedMinMax": 1,  # merge after every batch instead of keeping all activations in memory
            },
        )
        prepared.unlink()
    notes = {
        "activation_type": activations,
        "weight_type": "int8",
        "reduce_range": reduce_range,
        "per_channel": settings.per_channel,
        "calibration": settings.calibration,
        "samples": sample_count(request.ctx, settings.samples),
    }
    return Report(notes)


def _left_alone(prepared: Any, chosen: frozenset[str]) -> list[str]:
    import onnx

    return [found.node.name for found in matrix_nodes(onnx.load(prepared)) if found.layer.name not in chosen]


class _Reader:
    """Calibration batches as `onnxruntime.quantization` reads them: `set_range` allows so many more."""

    def __init__(self, request: Request) -> None:
        samples = sample_count(request.ctx, request.settings.samples)
        self._batches = -(-samples // _BATCH)
        self._feeds = _feeds(request)
        self._allowed = self._batches

    def __len__(self) -> int:
        return self._batches

    def set_range(self, start_index: int, end_index: int) -> None:
        """Allow the next `end_index - start_index` batches; ranges come in order."""
        self._allowed = end_index - start_index

    def get_next(self) -> Mapping[str, np.ndarray] | None:
        """Return the next batch by input name, or None."""
        if not self._allowed:
            return None
        self._allowed -= 1
        return next(self._feeds, None)


def _feeds(request: Request) -> Iterator[dict[str, np.ndarray]]:
    """Feed inputs by name; a graph with other names than the data's takes them in order."""
    weights = {tensor.name for tensor in request.model.graph.initializer}
    names = [value.name for value in request.model.graph.input if value.name not in weights]
    for batch in calibration_batches(request.ctx, samples=request.settings.samples, batch_size=_BATCH):
        if set(names) <= set(batch.inputs):
            yield {name: batch.inputs[name] for name in names}
        else:
            yield dict(zip(names, batch.inputs.values(), strict=True))
