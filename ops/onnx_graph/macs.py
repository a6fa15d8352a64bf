"""Multiply-accumulate operations of an ONNX file, by layer, and the kernels in which ONNX Runtime runs them.

Whether a model is quantized in truth is decided by the runtime: a convolution between QuantizeLinear nodes may still
run in float. So the file is optimised by ONNX Runtime and the kernels are read off the graph that it will execute.
"""

from __future__ import annotations

import math
import re
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from ops.onnx_graph.body_products import body_products
from ops.onnx_graph.einsum import EINSUM, einsum_macs, einsum_nodes
from ops.onnx_graph.layers import CONVOLUTIONS, WEIGHT_INPUT, MatrixNode, attribute, matrix_nodes
from ops.onnx_graph.recurrent import recurrent_nodes
from ops.onnx_graph.session import open_session

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
_WIDTHS = {3: "int8", 10: "float16"}
"""Types of a recurrent layer's weights (onnx.TensorProto: INT8, FLOAT16) -> its precision."""
_LARGE = 1 << 14  # elements
_TAKES_ANY = {"Cast", "Conv", "ConvTranspose", "DequantizeLinear", "Gather", "Gemm", "MatMul", "QuantizeLinear"}
"""Operators that run with weights that are no constants."""
_QUANTIZED = INTEGER_KERNELS | {"DequantizeLinear", "DynamicQuantizeLinear", "QuantizeLinear"}
_EMPTIABLE = {1, 3, 10}  # onnx.TensorProto: FLOAT, INT8, FLOAT16
_RENAMED = re.compile(r"_token_\d+$")  # what the layout optimiser appends to a node's name


@dataclass(frozen=True, slots=True)
class LayerMacs:
    """The work of one node for one instance."""

    layer: str
    operator: str
    """As in the file: `Conv`, `MatMul`, ..."""
    kernel: str | None
    """As ONNX Runtime runs it on this machine's CPU: `QLinearConv`, ...; the file's operator if it stays in float."""
    precision: str | None
    """`int8`, `int8_weights` or `int4_weights` (weight-only), `float16`, `float32`."""
    macs: int | None
    """None, as kernel and precision, in the body of an `If`, a `Loop` or a `Scan`: how often it runs depends on the input."""


def count_macs(path: Path, inputs: Mapping[str, Sequence[int]] = MappingProxyType({})) -> tuple[LayerMacs, ...]:
    """Count the multiply-accumulates of convolutions, matrix products, Einsum and recurrent layers in an ONNX file.

    Shapes are those of a run on one instance of zeros, so any operator that ONNX Runtime knows may stand between them. Rows
    come in graph order, those of recurrent layers, of Einsum and of bodies last. Fused attention operators are not counted.

    Args:
        path: the file.
        inputs: sizes of an instance by the name of the input, without the batch axis, for axes that the file leaves free (the
            length of a text); what is not known counts as 1.

    Raises:
        onnxruntime's errors: if it cannot open or run the file.
    """
    import onnx
    from onnx import inliner

    model = onnx.load(path)
    if model.functions:
        model = inliner.inline_local_functions(model)
    nodes, recurrent, sums = matrix_nodes(model), recurrent_nodes(model), einsum_nodes(model)
    body_rows = [LayerMacs(name, operator, None, None, None) for name, operator in body_products(model.graph)]
    if not (nodes or recurrent or sums):
        return tuple(body_rows)
    kernels = _Kernels(path if _runs_otherwise(model, nodes) else None)
    widths = {tensor.name: _WIDTHS.get(tensor.data_type, "float32") for tensor in model.graph.initializer}
    others = [matrix.node.input[0] for matrix in recurrent] + [name for node in sums for name in node.input]
    shapes = _observe(model, nodes, others, inputs)
    rows = []
    for matrix in nodes:
        kernel, precision = kernels.of(matrix)
        rows.append(LayerMacs(matrix.layer.name, matrix.node.op_type, kernel, precision, _macs(matrix.node, shapes)))
    for unit in recurrent:
        # (steps, instances, inputs): at each step every weight is used once for each instance
        each = math.prod(shapes[unit.weight]) + math.prod(shapes[unit.recurrence])
        macs = math.prod(shapes[unit.node.input[0]][:2]) * each
        rows.append(LayerMacs(unit.layer, unit.node.op_type, unit.node.op_type, widths[unit.weight], macs))
    for node in sums:
        macs = einsum_macs(node, [shapes[name] for name in node.input])
        width = "float16" if any(widths.get(name) == "float16" for name in node.input) else "float32"
        rows.append(LayerMacs(node.name or node.output[0], EINSUM, EINSUM, width, macs))
    return (*rows, *body_rows)


def total_macs(rows: Iterable[LayerMacs]) -> int | None:
    """Add up the multiply-accumulates of an instance; None where those of a layer are not known."""
    counts = [row.macs for row in rows]
    certain = [count for count in counts if count is not None]
    return sum(certain) if len(certain) == len(counts) else None


def has_free_sizes(path: Path) -> bool:
    """Whether the size of an instance is left free (the length of a text), so that only its data say how much it costs."""
    import onnx

    graph = onnx.load(path, load_external_data=False).graph
    weights = {tensor.name for tensor in graph.initializer}
    axes = [value.type.tensor_type.shape.dim[1:] for value in graph.input if value.name not in weights]
    return any(dim.dim_value < 1 for dims in axes for dim in dims)


def precision_shares(rows: Iterable[LayerMacs]) -> dict[str, float]:
    """Return the share of all multiply-accumulates in each precision, which add up to 1; none where a layer's are not known."""
    totals: dict[str, int] = {}
    for row in rows:
        if row.macs is None or row.precision is None:
            return {}
        totals[row.precision] = totals.get(row.precision, 0) + row.macs
    whole = sum(totals.values())
    return {name: count / whole for name, count in sorted(totals.items())} if whole else {}


def _observe(
    model: Any, nodes: list[MatrixNode], others: Iterable[str], inputs: Mapping[str, Sequence[int]]
) -> dict[str, tuple[int, ...]]:
    """Run the graph on zeros and return the shapes that `_macs` needs, and those of `others`, by tensor. Changes `model`.

    `inputs` gives the sizes of axes that are free.
    """
    import onnx

    shapes = {tensor.name: tuple(tensor.dims) for tensor in model.graph.initializer}
    expected = {name for matrix in nodes for name in (matrix.node.input[0], matrix.node.output[0])} | set(others)
    for matrix in nodes:
        operand = matrix.node.input[WEIGHT_INPUT[matrix.node.op_type]]
        if matrix.weight:
            shapes[operand] = shapes[matrix.weight]
        expected.add(operand)
    feeds = {
        value.name: _zeros(value, inputs.get(value.name, ())) for value in model.graph.input if value.name not in shapes
    }
    shapes |= {name: array.shape for name, array in feeds.items()}
    if not expected - set(shapes):
        return shapes
    del model.graph.output[:]
    for name in sorted(expected - set(shapes)):
        model.graph.output.append(onnx.helper.make_empty_tensor_value_info(name))
    _empty_weights(model)
    session = open_session(model.SerializeToString(), optimize="none")
    names = [output.name for output in session.get_outputs()]
    arrays = zip(names, session.run(names, feeds), strict=True)
    return shapes | {name: array.shape for name, array in arrays}


def _empty_weights(model: Any) -> None:
    """Let large weights be made as zeros while the graph runs: shapes do not depend on them, and memory is spared."""
    import onnx

    uses: dict[str, set[str]] = {}
    for node in model.graph.node:
        for name in node.input:
            uses.setdefault(name, set()).add(node.op_type)
    for tensor in list(model.graph.initializer):
        small = math.prod(tensor.dims) < _LARGE
        if small or tensor.data_type not in _EMPTIABLE or not uses.get(tensor.name, {""}) <= _TAKES_ANY:
            continue
        shape = onnx.helper.make_tensor(f"{tensor.name}.shape", onnx.TensorProto.INT64, [len(tensor.dims)], tensor.dims)
        value = onnx.helper.make_tensor("value", tensor.data_type, [1], [0])
        node = onnx.helper.make_node("ConstantOfShape", [shape.name], [tensor.name], value=value)
        model.graph.initializer.remove(tensor)
        model.graph.initializer.append(shape)
        model.graph.node.insert(0, node)


def _zeros(value: Any, sizes: Sequence[int]) -> np.ndarray:
    import numpy as np
    import onnx

    kind = value.type.tensor_type
    lengths = dict(enumerate(sizes, 1))
    shape = [dim.dim_value or lengths.get(axis, 1) for axis, dim in enumerate(kind.shape.dim)]
    return np.zeros(shape, dtype=onnx.helper.tensor_dtype_to_np_dtype(kind.elem_type))


def _macs(node: Any, shapes: Mapping[str, tuple[int, ...]]) -> int:
    out, remaining = shapes[node.output[0]], shapes[node.input[0]]
    if node.op_type in CONVOLUTIONS:
        weight = shapes[node.input[WEIGHT_INPUT[node.op_type]]]
        return math.prod(remaining if node.op_type == "ConvTranspose" else out) * math.prod(weight[1:])
    if node.op_type == "MatMulNBits":
        return math.prod(out) * int(attribute(node, "K", 0))
    return math.prod(out) * (remaining[-2] if attribute(node, "transA", 0) else remaining[-1])


def _runs_otherwise(model: Any, nodes: Iterable[MatrixNode]) -> bool:
    """Whether the runtime may run the file's products in other than float32; if not, it need not be asked."""
    import onnx

    half = {t.name for t in model.graph.initializer if t.data_type == onnx.TensorProto.FLOAT16}
    return any(node.op_type in _QUANTIZED for node in model.graph.node) or any(
        half & set(matrix.node.input) for matrix in nodes
    )


class _Kernels:
    """The fate of a file's nodes when ONNX Runtime optimised it; without a file, all stay as they are."""

    def __init__(self, path: Path | None) -> None:
        self._by_weight: dict[str, list[_Kernel]] = {}
        self._by_name: dict[str, list[_Kernel]] = {}
        self._half = False
        if path is not None:
            self._read(path)

    def _read(self, path: Path) -> None:
        import onnx

        with tempfile.TemporaryDirectory() as folder:
            optimized = Path(folder) / "optimized.onnx"
            open_session(path, save_optimized=optimized, save_weights=False)
            graph = onnx.load(optimized, load_external_data=False).graph
        initializers = {tensor.name: tensor for tensor in graph.initializer}
        for node in graph.node:
            weight = node.input[WEIGHT_INPUT[node.op_type]] if node.op_type in WEIGHT_INPUT else None
            if node.op_type in INTEGER_KERNELS:
                kernel = _Kernel(str(node.op_type))
                self._by_name.setdefault(_RENAMED.sub("", node.name), []).append(kernel)
                if weight in initializers:
                    self._by_weight.setdefault(str(weight), []).append(kernel)
            elif weight in initializers:
                self._half |= initializers[weight].data_type == onnx.TensorProto.FLOAT16

    def of(self, matrix: MatrixNode) -> tuple[str, str]:
        """Return the kernel and its precision: the one of this node's name, else one that takes its weight."""
        operator = str(matrix.node.op_type)
        if operator == "MatMulNBits":
            return operator, f"int{attribute(matrix.node, 'bits', 4)}_weights"
        by_name = [] if not matrix.node.name else self._by_name.get(matrix.node.name, [])
        weighted = self._by_weight.get(matrix.weight or "", [])
        both = [kernel for kernel in by_name if kernel in weighted]
        kernel = next((kernel for kernel in (*both, *weighted, *by_name) if not kernel.in_use), None)
        if kernel is not None:
            kernel.in_use = True
            return kernel.operator, "int8"
        return operator, "float16" if self._half else "float32"


@dataclass(eq=False, slots=True)
class _Kernel:
    """An integer kernel of the graph that runs."""

    operator: str
    in_use: bool = False
    """Whether a node of the file is known to be run by it."""
