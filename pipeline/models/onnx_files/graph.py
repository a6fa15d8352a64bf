"""Graphs of other tools in the form that everything here expects: weights are initialisers, free axes have no size.

What a graph computes is left alone.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline.core.errors import reason
from pipeline.models.api import ModelError
from pipeline.models.onnx_files.external_data import external_files, read_graph, read_whole

if TYPE_CHECKING:
    from onnx import GraphProto, ModelProto, TensorProto, ValueInfoProto

_WEIGHTS_APART = 4
"""The first version of the format in which weights need not be inputs too."""
_USUAL_IR = 8
_LAYOUTS = {"com.microsoft.nchwc", "com.ms.internal.nhwc"}
"""Operators on blocks of channels, and on channels last, which ONNX Runtime puts in when it opens a file."""


def read_whole_graph(file: Path) -> tuple[ModelProto, bool]:
    """Read an ONNX file with its weights. Also returns whether some of them lie beside it.

    Raises:
        ModelError: in one line, if the file is missing, damaged, newer than the library, or lacks its weights.
    """
    model = read_graph(file)
    _check_version(model, file)
    beside = bool(external_files(model, file))
    _drop_repeated(model.graph, file)
    if beside:
        read_whole(model, file)
    return model, beside


def check_graph(model: ModelProto | Path, file: Path) -> None:
    """Check that a model, or a copy of it whose weights lie beside it, is what the standard says.

    Raises:
        ModelError: in one line that names `file`, if it is not.
    """
    import onnx

    try:
        onnx.checker.check_model(str(model) if isinstance(model, Path) else model)
    except (onnx.checker.ValidationError, OSError, ValueError) as error:
        raise ModelError(f"{file}: damaged or no ONNX model ({reason(error)})") from None


def without_functions(model: ModelProto, file: Path) -> ModelProto:
    """Return a model with the nodes of its functions in the place of their calls: what is inside is seen by nobody else.

    Raises:
        ModelError: in one line that names `file`, if functions call each other in a circle.
    """
    import onnx
    from onnx import inliner

    try:
        return inliner.inline_local_functions(model) if model.functions else model
    except (onnx.checker.ValidationError, RuntimeError, ValueError) as error:
        raise ModelError(f"{file}: damaged or no ONNX model ({reason(error)})") from None


def check_layout(model: ModelProto, file: Path) -> None:
    """Refuse a file that ONNX Runtime wrote for one kind of processor: its weights lie in blocks, filled up with zeros.

    Raises:
        ModelError: naming the file and the node.
    """
    node = next((node for node in model.graph.node if node.domain in _LAYOUTS), None)
    if node is not None:
        raise ModelError(
            f"{file}: was optimised by ONNX Runtime for one kind of processor ('{node.name or node.output[0]}' is a "
            f"{node.op_type} of {node.domain}); give the file before that, or optimise it to the level `extended` at most"
        )


def _check_version(model: ModelProto, file: Path) -> None:
    """Refuse a file of a newer format, or with newer operators, than the installed library knows."""
    import onnx

    operators = [entry.version for entry in model.opset_import if entry.domain in ("", "ai.onnx")]
    known_operators = onnx.defs.onnx_opset_version()
    for what, version, newest in (
        ("IR version", model.ir_version, onnx.IR_VERSION),
        ("operator set", max(operators, default=0), known_operators),
    ):
        if version > newest:
            raise ModelError(
                f"{file}: its {what} is {version}, and {newest} is the newest that the installed onnx {onnx.__version__} knows; "
                "save it with an older one, or update onnx and onnxruntime"
            )


def _drop_repeated(graph: GraphProto, file: Path) -> None:
    """Let what is defined twice alike be defined once.

    Raises:
        ModelError: if the definitions differ.
    """
    weights: dict[str, TensorProto] = {}
    for tensor in list(graph.initializer):
        before = weights.setdefault(tensor.name, tensor)
        if before is tensor:
            continue
        if before.SerializeToString() != tensor.SerializeToString():
            raise ModelError(f"{file}: '{tensor.name}' is defined twice, with different values")
        _remove(graph.initializer, tensor)
    for values in (graph.input, graph.value_info):
        described: dict[str, ValueInfoProto] = {}
        for value in list(values):
            if described.setdefault(value.name, value) is not value:
                _remove(values, value)


def _remove(items: Any, item: Any) -> None:
    """Remove one element itself: `remove` of protobuf takes the first that equals it."""
    place = next(index for index, other in enumerate(items) if other is item)
    del items[place]


def weights_apart(model: ModelProto) -> bool:
    """Turn weights that are inputs too, or lie in nodes, into plain initialisers. Returns whether there were any."""
    graph = model.graph
    weights = {tensor.name for tensor in graph.initializer}
    both = [value for value in graph.input if value.name in weights]
    for value in both:
        _remove(graph.input, value)
    inside = list(_constants(graph))
    for node, tensor in inside:
        graph.initializer.append(tensor)
        _remove(graph.node, node)
    if (both or inside) and model.ir_version < _WEIGHTS_APART:
        model.ir_version = _USUAL_IR
    return bool(both or inside)


def _constants(graph: GraphProto) -> Iterator[tuple[Any, TensorProto]]:
    """Yield the nodes that hold a weight, each with it: floats and 8-bit integers with at least one axis."""
    import numpy as np
    import onnx
    from onnx import numpy_helper

    kinds = onnx.TensorProto
    weight_types = {kinds.FLOAT, kinds.FLOAT16, kinds.BFLOAT16, kinds.DOUBLE, kinds.INT8, kinds.UINT8}
    results = {value.name for value in graph.output}
    for node in list(graph.node):
        if node.op_type != "Constant" or node.domain not in ("", "ai.onnx") or set(node.output) & results:
            continue
        for attribute in node.attribute:
            tensor = onnx.TensorProto()
            if attribute.name == "value":
                tensor.CopyFrom(attribute.t)
            elif attribute.name == "value_floats":
                tensor = numpy_helper.from_array(np.asarray(attribute.floats, np.float32))
            if node.output and tensor.dims and tensor.data_type in weight_types:
                tensor.name = node.output[0]
                yield node, tensor


def free_axes(graph: GraphProto) -> bool:
    """Let axes of size 0 or less, which other tools write for "any", have no size. Returns whether there were any."""
    changed = False
    for value in (*graph.input, *graph.output, *graph.value_info):
        for axis in value.type.tensor_type.shape.dim:
            if axis.HasField("dim_value") and axis.dim_value <= 0:
                axis.ClearField("dim_value")
                changed = True
    return changed
