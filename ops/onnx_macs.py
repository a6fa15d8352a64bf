"""Multiply-accumulate operations of an ONNX file, by layer, and the kernels in which ONNX Runtime runs them.

Whether a model is quantized in truth is decided by the runtime: a convolution between QuantizeLinear nodes may still
run in float. So the file is optimised by ONNX Runtime and the kernels are read off the graph that it will execute.
"""

from __future__ import annotations

import math
import re
import tempfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ops._onnx_layers import CONVOLUTIONS, WEIGHT_INPUT, MatrixNode, attribute, matrix_nodes
from ops._onnx_runtime import open_session

if TYPE_CHECKING:
    import numpy as np

INTEGER_KERNELS = frozenset(
    {
        "ConvInteger",
        "DynamicQuantizeMatMul",
        "MatMulInteger",
        "MatMulIntegerToFloat",
        "QGemm",
        "QLinearConv",
        "QLinearMatMul",
    }
)
"""Operators of ONNX Runtime that multiply 8-bit integers."""
_RENAMED = re.compile(r"_token_\d+$")  # what the layout optimiser appends to a node's name


@dataclass(frozen=True, slots=True)
class LayerMacs:
    """The work of one node for one instance."""

    layer: str
    operator: str
    """As in the file: `Conv`, `MatMul`, ..."""
    kernel: str
    """As ONNX Runtime runs it on this machine's CPU: `QLinearConv`, ...; the file's operator if it stays in float."""
    precision: str
    """`int8`, `int8_weights` or `int4_weights` (weight-only), `float16`, `float32`."""
    macs: int


def count_macs(path: Path) -> tuple[LayerMacs, ...]:
    """Count the multiply-accumulates of convolutions and matrix products in an ONNX file, in graph order.

    Shapes are those of a run on one instance of zeros (unknown axes count as 1), so any operator that ONNX Runtime
    knows may stand between them. Recurrent cells and fused attention operators are not counted.

    Raises:
        onnxruntime's errors: if it cannot open or run the file.
    """
    import onnx

    model = onnx.load(path)
    nodes = matrix_nodes(model)
    if not nodes:
        return ()
    shapes = _observe(model, nodes)
    kernels = _Kernels(path)
    rows = []
    for found in nodes:
        kernel, precision = kernels.of(found)
        rows.append(LayerMacs(found.layer.name, found.node.op_type, kernel, precision, _macs(found.node, shapes)))
    return tuple(rows)


def precision_shares(rows: Iterable[LayerMacs]) -> dict[str, float]:
    """Return the share of all multiply-accumulates in each precision; the shares add up to 1."""
    totals: dict[str, int] = {}
    for row in rows:
        totals[row.precision] = totals.get(row.precision, 0) + row.macs
    whole = sum(totals.values())
    return {name: count / whole for name, count in sorted(totals.items())} if whole else {}


def _observe(model: Any, nodes: list[MatrixNode]) -> dict[str, tuple[int, ...]]:
    """Run the graph on zeros and return the shapes that `_macs` needs, by tensor."""
    import onnx

    shapes = {tensor.name: tuple(tensor.dims) for tensor in model.graph.initializer}
    wanted = {name for found in nodes for name in (found.node.input[0], found.node.output[0])}
    for found in nodes:
        operand = found.node.input[WEIGHT_INPUT[found.node.op_type]]
        if found.weight:
            shapes[operand] = shapes[found.weight]
        wanted.add(operand)
    feeds = {value.name: _zeros(value) for value in model.graph.input if value.name not in shapes}
    shapes |= {name: array.shape for name, array in feeds.items()}
    del model.graph.output[:]
    for name in sorted(wanted - set(shapes)):
        model.graph.output.append(onnx.helper.make_empty_tensor_value_info(name))
    session = open_session(model.SerializeToString(), optimize="none")
    names = [output.name for output in session.get_outputs()]
    arrays = zip(names, session.run(names, feeds), strict=True)
    return shapes | {name: array.shape for name, array in arrays}


def _zeros(value: Any) -> np.ndarray:
    import numpy as np
    import onnx

    kind = value.type.tensor_type
    return np.zeros(
        [dim.dim_value or 1 for dim in kind.shape.dim], dtype=onnx.helper.tensor_dtype_to_np_dtype(kind.elem_type)
    )


def _macs(node: Any, shapes: Mapping[str, tuple[int, ...]]) -> int:
    out, left = shapes[node.output[0]], shapes[node.input[0]]
    if node.op_type in CONVOLUTIONS:
        weight = shapes[node.input[WEIGHT_INPUT[node.op_type]]]
        return math.prod(left if node.op_type == "ConvTranspose" else out) * math.prod(weight[1:])
    if node.op_type == "MatMulNBits":
        return math.prod(out) * int(attribute(node, "K", 0))
    return math.prod(out) * (left[-2] if attribute(node, "transA", 0) else left[-1])


class _Kernels:
    """What became of a file's nodes when ONNX Runtime optimised it."""

    def __init__(self, path: Path) -> None:
        import onnx

        with tempfile.TemporaryDirectory() as folder:
            optimized = Path(folder) / "optimized.onnx"
            open_session(path, optimize="all", save_optimized=optimized)
            graph = onnx.load(optimized).graph
        initializers = {tensor.name: tensor for tensor in graph.initializer}
        self._integer: dict[str, list[str]] = {}
        self._half = False
        for node in graph.node:
            weight = node.input[WEIGHT_INPUT[node.op_type]] if node.op_type in WEIGHT_INPUT else None
            if node.op_type in INTEGER_KERNELS:
                name = weight if weight in initializers else _RENAMED.sub("", node.name)
                self._integer.setdefault(str(name), []).append(node.op_type)
            elif weight in initializers:
                self._half |= initializers[weight].data_type == onnx.TensorProto.FLOAT16

    def of(self, found: MatrixNode) -> tuple[str, str]:
        """Return the kernel and its precision. Weights and node names survive the optimiser where kernels are integer."""
        operator = str(found.node.op_type)
        if operator == "MatMulNBits":
            return operator, f"int{attribute(found.node, 'bits', 4)}_weights"
        left = self._integer.get(found.weight or found.node.name, [])
        if left:
            return left.pop(0), "int8"
        return operator, "float16" if self._half else "float32"
