"""Dynamic int8: weights are rounded now, activations while the model runs.

Written out here because `onnxruntime.quantization.quantize_dynamic` holds three copies of the model, and scales the
weights of convolutions per tensor only.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from ops.onnx_graph.control_flow import uses
from ops.onnx_graph.layers import CONVOLUTIONS, MatrixNode, matrix_nodes
from ops.onnx_graph.rewrite import gemm_to_matmul
from ops.quantize.methods.request import Report, Request, prepare_graph

_LARGEST, _LARGEST_REDUCED = 127, 64
_KEPT = ("auto_pad", "dilations", "group", "kernel_shape", "pads", "strides")


def quantize_dynamic(request: Request) -> Report:
    """Write a model whose chosen layers find the range of their input at every run: no calibration, for transformers.

    Weights are symmetric int8 per output channel. ONNX Runtime joins the nodes of a product into one kernel.
    """
    settings = request.settings
    reduce_range = settings.seven_bits
    model = onnx.load(prepare_graph(request), load_external_data=False)
    gemm_to_matmul(model, request.layers, request.work)
    largest = _LARGEST_REDUCED if reduce_range else _LARGEST
    _Rewriting(model, request.work, largest, per_channel=settings.per_channel).run(request.layers)
    onnx.load_external_data_for_model(model, str(request.work))
    onnx.save(model, request.result)
    report = Report(
        {
            "activation_type": "uint8",
            "weight_type": "int8",
            "reduce_range": reduce_range,
            "per_channel": settings.per_channel,
            # a batch is rounded with one scale: an instance's answer depends on what else is in the batch
            "judged_at_batch_size": 1,
        }
    )
    if any(product.operator in CONVOLUTIONS and product.layer in request.layers for product in request.products):
        report.warnings.append(
            "Dynamic int8 convolutions are several times slower than float in ONNX Runtime; method: static is the fast one"
        )
    return report


class _Rewriting:
    """Replaces products in a graph whose weights lie in `folder`."""

    def __init__(self, model: Any, folder: Path, largest: int, *, per_channel: bool) -> None:
        self._graph, self._folder, self._largest, self._per_channel = model.graph, folder, largest, per_channel
        self._weights = {tensor.name: tensor for tensor in model.graph.initializer}
        self._inputs: set[str] = set()
        self._model = model

    def run(self, names: frozenset[str]) -> None:
        """Rewrite the chosen MatMul and Conv nodes; those whose weight or bias is no constant stay."""
        products = {
            id(result.node): result
            for result in matrix_nodes(self._model)
            if result.node.name in names
            and result.node.op_type in {"Conv", "MatMul"}
            and all(name in self._weights for name in result.node.input[1:])
        }
        output: list[Any] = []
        for node in self._graph.node:
            result = products.get(id(node))
            output += self._product(result) if result else [node]
        copies = [onnx.NodeProto.FromString(node.SerializeToString()) for node in output]
        del self._graph.node[:]
        self._graph.node.extend(copies)
        used = uses(self._graph)
        for name, tensor in self._weights.items():
            if name not in used:
                self._graph.initializer.remove(tensor)

    def _product(self, matrix: MatrixNode) -> list[Any]:
        node, weight = matrix.node, str(matrix.weight)
        values, output = node.input[0], node.output[0]
        nodes = []
        if values not in self._inputs:
            self._inputs.add(values)
            outputs = [f"{values}_quantized", f"{values}_scale", f"{values}_zero_point"]
            nodes.append(helper.make_node("DynamicQuantizeLinear", [values], outputs, f"{values}.round"))
        self._round(weight, convolution=node.op_type == "Conv")
        operands = [f"{values}_quantized", f"{weight}_quantized", f"{values}_zero_point", f"{weight}_zero_point"]
        remaining = {a.name: helper.get_attribute_value(a) for a in node.attribute if a.name in _KEPT}
        bias = next(iter(node.input[2:]), "")
        result = f"{output}_unbiased" if bias else output
        nodes += [
            helper.make_node(f"{node.op_type}Integer", operands, [f"{output}_sum"], node.name, **remaining),
            helper.make_node("Cast", [f"{output}_sum"], [f"{output}_float"], f"{node.name}.cast", to=TensorProto.FLOAT),
            helper.make_node(
                "Mul", [f"{values}_scale", f"{weight}_scale"], [f"{output}_sum_scale"], f"{node.name}.scales"
            ),
            helper.make_node("Mul", [f"{output}_float", f"{output}_sum_scale"], [result], f"{node.name}.scale"),
        ]
        if bias:
            self._spread(bias, len(self._weights[weight].dims) - 2)
            nodes.append(helper.make_node("Add", [result, f"{bias}_spread"], [output], f"{node.name}.bias"))
        return nodes

    def _round(self, name: str, *, convolution: bool) -> None:
        """Add a weight's int8 values, scale and zero point; a scale per output channel broadcasts over the result."""
        if any(tensor.name == f"{name}_quantized" for tensor in self._graph.initializer):
            return
        values = numpy_helper.to_array(self._weights[name], str(self._folder))
        axes = tuple(range(1, values.ndim)) if convolution else tuple(range(values.ndim - 1))
        largest = np.abs(values).max(axis=axes if self._per_channel else None, keepdims=True)
        scale = np.where(largest > 0, largest / self._largest, 1.0).astype(np.float32)
        self._add(f"{name}_quantized", np.rint(values / scale).astype(np.int8))
        if convolution:
            scale = scale.reshape(1, -1, *[1] * (values.ndim - 2))
        self._add(
            f"{name}_scale", scale if convolution else scale.reshape(-1) if self._per_channel else scale.reshape(())
        )
        points = np.zeros(scale.size if self._per_channel and not convolution else (), np.int8)
        self._add(f"{name}_zero_point", points)

    def _spread(self, bias: str, axes: int) -> None:
        """Add a convolution's bias in a shape that broadcasts over (N, channels, ...)."""
        if any(tensor.name == f"{bias}_spread" for tensor in self._graph.initializer):
            return
        values = numpy_helper.to_array(self._weights[bias], str(self._folder))
        self._add(f"{bias}_spread", values.reshape(1, -1, *[1] * axes))

    def _add(self, name: str, values: np.ndarray) -> None:
        self._graph.initializer.append(numpy_helper.from_array(np.ascontiguousarray(values), name))
