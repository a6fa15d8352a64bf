"""Rewriting nodes of an ONNX graph, and writing graphs without copying their weights in memory."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import Any

from ops.onnx_graph.control_flow import uses
from ops.onnx_graph.layers import MatrixNode, attribute, matrix_nodes


def save_apart(model: Any, path: Path) -> None:
    """Write an onnx.ModelProto, its large tensors to a file beside it; they leave `model`.

    Serialising them with the graph would take twice their size.
    """
    import onnx

    weights = path.with_name(f"{path.name}.weights")
    weights.unlink(missing_ok=True)  # it would be appended to
    onnx.save_model(model, path, save_as_external_data=True, location=weights.name)


def gemm_to_matmul(model: Any, layers: Collection[str], folder: Path) -> None:
    """Rewrite in place the chosen layers' Gemm nodes as MatMul and Add, which more kernels exist for.

    Weights may lie apart, in `folder`; those that have to be transposed are read. A Gemm that scales, or whose weight is not a constant, stays.
    """
    shared = uses(model.graph)
    for matrix in matrix_nodes(model):
        if matrix.node.op_type != "Gemm" or matrix.node.name not in layers or not _plain(matrix):
            continue
        weight = next(tensor for tensor in model.graph.initializer if tensor.name == matrix.node.input[1])
        if attribute(matrix.node, "transB", 0):
            weight = _transposed(model, weight, folder, keep=shared[weight.name] > 1)
        _replace(model, matrix.node, weight.name)


def _plain(matrix: MatrixNode) -> bool:
    scales = (attribute(matrix.node, "alpha", 1.0), attribute(matrix.node, "beta", 1.0))
    return scales == (1.0, 1.0) and not attribute(matrix.node, "transA", 0) and matrix.weight == matrix.node.input[1]


def _transposed(model: Any, weight: Any, folder: Path, *, keep: bool) -> Any:
    import numpy as np
    from onnx import numpy_helper

    name = f"{weight.name}_transposed" if keep else weight.name
    output = next((tensor for tensor in model.graph.initializer if keep and tensor.name == name), None)
    if output is not None:  # for another layer with the same weight
        return output
    turned = numpy_helper.from_array(np.ascontiguousarray(numpy_helper.to_array(weight, str(folder)).T), name)
    if not keep:
        model.graph.initializer.remove(weight)
        records = [value for value in model.graph.value_info if value.name == name]  # of the old shape
        for value in records:
            model.graph.value_info.remove(value)
    model.graph.initializer.append(turned)
    return turned


def _replace(model: Any, node: Any, weight: str) -> None:
    import onnx

    nodes = model.graph.node
    place = next(index for index, other in enumerate(nodes) if other is node or other == node)
    product = f"{node.output[0]}_product"
    bias = next(iter(node.input[2:]), "")
    output = [
        onnx.helper.make_node("MatMul", [node.input[0], weight], [product if bias else node.output[0]], node.name)
    ]
    output[0].metadata_props.extend(node.metadata_props)
    if bias:
        output.append(onnx.helper.make_node("Add", [product, bias], [node.output[0]], f"{node.name}.add"))
    del nodes[place]
    for offset, new in enumerate(output):
        nodes.insert(place + offset, new)
