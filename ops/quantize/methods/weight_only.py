"""Weight-only integers: linear layers' weights in blocks of 4 or 8 bits, activations in float."""

from __future__ import annotations

from ops.onnx_graph.control_flow import bodies
from ops.onnx_graph.layers import CONVOLUTIONS, matrix_nodes
from ops.onnx_graph.rewrite import gemm_to_matmul
from ops.onnx_graph.session import quiet_tools
from ops.quantize.methods.request import Report, Request

_INT8_COMPUTE = 4  # accuracy level of MatMulNBits: activations are rounded to int8 block by block


def quantize_weight_only(request: Request) -> Report:
    """Write a model whose chosen linear layers are MatMulNBits: round to nearest, one scale per block of inputs.

    Blocks of 4 bits have a zero point of their own, those of 8 bits are symmetric. Zero weights stay zero.
    """
    import onnx

    settings = request.settings
    model = onnx.load(request.source)
    gemm_to_matmul(model, request.layers, request.work)
    left_alone = [node.name for body in bodies(model.graph) for node in body.node]
    left_alone += [matrix.node.name for matrix in matrix_nodes(model) if matrix.node.name not in request.layers]
    with quiet_tools(request.work):
        from onnxruntime.quantization.matmul_nbits_quantizer import MatMulNBitsQuantizer

        quantizer = MatMulNBitsQuantizer(
            model,
            bits=settings.bits,
            block_size=settings.block_size,
            is_symmetric=settings.bits != 4,  # noqa: PLR2004 - bits
            accuracy_level=_INT8_COMPUTE,
            nodes_to_exclude=left_alone,
        )
        quantizer.process()
        for node in quantizer.model.model.graph.node:
            node.name = node.name.removesuffix(f"_Q{settings.bits}")
        onnx.save(quantizer.model.model, request.result)
    report = Report({"weight_type": f"int{settings.bits}", "block_size": settings.block_size})
    convolutions = [product.layer for product in request.products if product.operator in CONVOLUTIONS]
    report.exclusions = dict.fromkeys(
        convolutions, "weight-only integers are for linear layers; method: static covers convolutions"
    )
    return report
