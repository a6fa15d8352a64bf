"""16-bit floats: half the file."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Literal

from ops.core.errors import OperationError
from ops.core.selector import Layer
from ops.onnx_graph.layers import MatrixNode, prefixes
from ops.onnx_graph.session import quiet_tools
from ops.quantize.methods.request import Report, Request

_LARGEST_FLOAT16 = 65504.0
_SMALL = 16  # elements: shapes, scalars and the like gain nothing


def quantize_half(request: Request, kind: Literal["float16", "bfloat16"]) -> Report:
    """Write a model whose weights are stored in 16 bits.

    They are widened when the model is opened, so on CPUs it runs at the speed of float32. With `compute: float16` the
    whole graph is converted, for runtimes with 16-bit kernels.

    Raises:
        OperationError: a weight does not fit into float16, or bfloat16 is to be computed in float16.
    """
    import onnx

    if request.settings.compute == "float16":
        return _convert_graph(request, kind)
    model = onnx.load(request.source, load_external_data=False)
    stored = _store(model, request.layers, kind, request.work)
    onnx.load_external_data_for_model(model, str(request.work))
    onnx.save(model, request.result)
    return Report({"weight_type": kind, "compute": "float32", "tensors": stored})


def _convert_graph(request: Request, kind: str) -> Report:
    import onnx

    if kind == "bfloat16":
        raise OperationError(
            "quantize: compute: float16 goes with method: float16; bfloat16 weights are computed in float32"
        )
    left_alone = [product.layer for product in request.products if product.layer not in request.layers]
    with quiet_tools(request.work):
        from onnxruntime.transformers.float16 import convert_float_to_float16

        model = convert_float_to_float16(onnx.load(request.source), keep_io_types=True, node_block_list=left_alone)
    onnx.save(model, request.result)
    return Report(
        {"weight_type": "float16", "compute": "float16"},
        warnings=[
            "ONNX Runtime's x86 CPU kernels compute in float32 and convert at every operator: slower than float32 there"
        ],
    )


def _store(model: Any, layers: frozenset[str], kind: Literal["float16", "bfloat16"], folder: Path) -> int:
    """Replace weights, which lie in `folder`, by 16-bit ones and a Cast; return how many."""
    import onnx

    weights = list(weights_of(model, layers))
    for tensor in weights:
        name = tensor.name
        tensor.CopyFrom(_narrowed(tensor, kind, folder))
        cast = onnx.helper.make_node("Cast", [tensor.name], [name], f"{name}.widen", to=onnx.TensorProto.FLOAT)
        model.graph.node.insert(0, cast)
    return len(weights)


def storable(model: Any, nodes: Sequence[MatrixNode]) -> list[Layer]:
    """Return the layers that hold 16-bit-worthy weights: matrix nodes, embeddings, and other constants by name."""
    layers = {matrix.layer.name: matrix.layer for matrix in nodes if matrix.weight}
    looked_up = {node.input[0] for node in model.graph.node if node.op_type == "Gather"}
    for tensor in model.graph.initializer:
        name = layer_name(tensor.name)
        groups = frozenset({"embedding"} if tensor.name in looked_up and len(tensor.dims) > 1 else ())
        layers.setdefault(name, Layer(name, groups, (), tuple(prefixes(name)), (tensor.name,)))
    return list(layers.values())


def weights_of(model: Any, layers: frozenset[str]) -> Iterable[Any]:
    """Yield the float32 initialisers that the layers consist of."""
    import onnx

    for tensor in model.graph.initializer:
        count = 1
        for size in tensor.dims:
            count *= size
        if tensor.data_type == onnx.TensorProto.FLOAT and count >= _SMALL and layer_name(tensor.name) in layers:
            yield tensor


def layer_name(tensor: str) -> str:
    """Return the layer that an initialiser is named after."""
    return tensor.rpartition(".")[0] or tensor


def _narrowed(tensor: Any, kind: Literal["float16", "bfloat16"], folder: Path) -> Any:
    import ml_dtypes
    import numpy as np
    from onnx import numpy_helper

    array = numpy_helper.to_array(tensor, str(folder))
    if kind == "float16" and np.abs(array).max(initial=0.0) > _LARGEST_FLOAT16:
        raise OperationError(
            f"'{tensor.name}' has weights beyond {_LARGEST_FLOAT16:g}, which float16 cannot hold; use bfloat16"
        )
    narrow = array.astype(np.float16 if kind == "float16" else ml_dtypes.bfloat16)
    return numpy_helper.from_array(narrow, f"{tensor.name}_{kind}")
