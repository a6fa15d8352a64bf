"""Dynamic int8: weights are rounded now, activations while the model runs."""

from __future__ import annotations

from ops._cpu import integer_arithmetic
from ops._onnx_edit import gemm_to_matmul
from ops._onnx_layers import CONVOLUTIONS, matrix_nodes
from ops._onnx_runtime import quiet_tools
from ops._quantize_request import Report, Request, prepare


def quantize_dynamic(request: Request) -> Report:
    """Write a model whose chosen layers find the range of their input at every run: no calibration, for transformers."""
    import onnx
    import onnxruntime.quantization as ort_quantization
    from onnxruntime.quantization import QuantType

    settings = request.settings
    reduce_range = integer_arithmetic().reduce_range if settings.reduce_range is None else settings.reduce_range
    with quiet_tools(request.ctx.scratch):
        prepared = prepare(request)
        model = onnx.load(prepared)
        gemm_to_matmul(model, request.chosen)
        onnx.save(model, prepared)
        chosen = [found.node.name for found in matrix_nodes(model) if found.layer.name in request.chosen]
        ort_quantization.quantize_dynamic(
            prepared,
            request.result,
            op_types_to_quantize=["Conv", "MatMul"],
            nodes_to_quantize=chosen,
            per_channel=settings.per_channel,
            reduce_range=reduce_range,
            weight_type=QuantType.QInt8,
        )
        prepared.unlink()
    convolutions = [found for found in request.nodes if found.node.op_type in CONVOLUTIONS]
    report = Report(
        {
            "activation_type": "uint8",
            "weight_type": "int8",
            "reduce_range": reduce_range,
            "per_channel": settings.per_channel,
        }
    )
    if any(found.layer.name in request.chosen for found in convolutions):
        report.warnings.append(
            "Dynamic int8 convolutions are several times slower than float in ONNX Runtime; method: static is the fast one"
        )
    return report
