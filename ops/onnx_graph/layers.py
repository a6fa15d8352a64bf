"""Layers of the network behind the nodes of an ONNX graph, so that one selector serves torch and ONNX models."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ops.core.selector import Layer
from ops.onnx_graph.control_flow import graphs
from ops.onnx_graph.metadata import recorded_names
from ops.onnx_graph.recurrent import GATES, recurrent_nodes

WEIGHT_INPUT = {
    "Conv": 1,
    "ConvInteger": 1,
    "ConvTranspose": 1,
    "DynamicQuantizeMatMul": 1,
    "FusedConv": 1,
    "FusedGemm": 1,
    "FusedMatMul": 1,
    "Gemm": 1,
    "MatMul": 1,
    "MatMulInteger": 1,
    "MatMulIntegerToFloat": 1,
    "MatMulNBits": 1,
    "QGemm": 3,
    "QLinearConv": 3,
    "QLinearMatMul": 3,
}
"""Operators that multiply matrices -> which input is the weight, where it is a constant."""
CONVOLUTIONS = {"Conv", "ConvInteger", "ConvTranspose", "FusedConv", "QLinearConv"}
_PASSES_ON = {"DequantizeLinear", "QuantizeLinear", "Cast", "Identity", "Transpose"}
_SUFFIX = re.compile(r"(_[tT]ransposed(_\d+)?)?(_quantized|_Q\d+|_float16|_bfloat16)?$")
_SCOPES, _CLASSES = "pkg.torch.onnx.name_scopes", "pkg.torch.onnx.class_hierarchy"
_LAYER_RECORDS = {_SCOPES, _CLASSES}
"""Where torch's exporter keeps a node's modules: their names and their classes, outermost first, the operator last."""


@dataclass(frozen=True, slots=True)
class MatrixNode:
    """A node that multiplies matrices."""

    node: Any
    """onnx.NodeProto."""
    layer: Layer
    weight: str | None
    """Name of the initialiser that is its weight; None if both operands are activations (attention)."""


def matrix_nodes(model: Any) -> list[MatrixNode]:
    """Return the nodes of an onnx.ModelProto that multiply matrices, in graph order.

    A layer is named after the torch module that the exporter recorded, else after its weight, else after its node.
    """
    graph = model.graph
    initializers = {tensor.name: tensor for tensor in graph.initializer}
    producers = {output: node for node in graph.node for output in node.output}
    weights = {
        id(node): _constant(node.input[WEIGHT_INPUT[node.op_type]], initializers, producers)
        for node in graph.node
        if node.op_type in WEIGHT_INPUT
    }
    heads = _heads(graph, {id(node) for node in graph.node if weights.get(id(node)) or node.op_type in GATES})
    uses = Counter(name for name in weights.values() if name)
    used: Counter[str] = Counter()
    results = []
    for node in graph.node:
        if node.op_type not in WEIGHT_INPUT:
            continue
        weight = weights[id(node)]
        name, classes, around = _place(node, weight, shared=uses[weight] > 1 if weight else False)
        used[name] += 1
        unique = name if used[name] == 1 else f"{name}#{used[name]}"
        groups = _groups(node, weight, classes, initializers) | ({"head"} if id(node) in heads else set())
        parameters = (weight,) if weight else ()
        layer = Layer(unique, frozenset(groups), (*classes, node.op_type), (node.name, *around), parameters)
        results.append(MatrixNode(node, layer, weight))
    return results


def layer_records(model: Any) -> dict[str, list[tuple[str, str]]]:
    """Return what the exporter recorded of the matrix nodes' modules, by the node's name."""
    return {
        node.name: [(entry.key, entry.value) for entry in node.metadata_props if entry.key in _LAYER_RECORDS]
        for node in model.graph.node
        if node.op_type in WEIGHT_INPUT
    }


def record_of(layer: str, operator: str) -> list[tuple[str, str]]:
    """Return what an exporter would record of a node that is a layer of this name, of a network that says no more of it."""
    return [(_SCOPES, str(["", layer, operator])), (_CLASSES, str([operator] * 3))]


def restore_records(model: Any, records: Mapping[str, Sequence[tuple[str, str]]]) -> None:
    """Write records back to the matrix nodes of those names, in place, where they have none."""
    for node in model.graph.node:
        if node.op_type in WEIGHT_INPUT and not module_names(node):
            for key, value in records.get(node.name, ()):
                entry = node.metadata_props.add()
                entry.key, entry.value = key, value


def name_after_layers(model: Any) -> None:
    """Rename in place: matrix nodes after their layers, and weights that the exporter folded to `<layer>.weight`.

    ONNX Runtime's optimiser drops the exporter's records but keeps names, so afterwards a layer can be found by them.
    """
    in_use = {tensor.name for tensor in model.graph.initializer}
    renamed: dict[str, str] = {}
    for matrix in matrix_nodes(model):
        matrix.node.name = matrix.layer.name
        expected = f"{matrix.layer.name}.weight"
        if matrix.weight and "." not in matrix.weight and expected not in in_use:
            renamed.setdefault(matrix.weight, expected)
    for recurrent in recurrent_nodes(model):
        recurrent.node.name = recurrent.layer if not recurrent.level else f"{recurrent.layer}#{recurrent.level + 1}"
        renamed |= {name: expected for name, expected in recurrent.parts if "." not in name and expected not in in_use}
    rename_tensors(model, renamed)


def drop_records(model: Any, *, keep_layers: bool = False) -> None:
    """Remove in place what torch's exporter recorded: with source lines and their paths it outweighs small models.

    `keep_layers` leaves to matrix nodes what `matrix_nodes` reads: their modules' names and classes.
    """
    graph = model.graph
    for described in (model, graph, *graph.input, *graph.output, *graph.value_info, *graph.initializer):
        del described.metadata_props[:]
    for node in graph.node:
        remaining = [entry for entry in node.metadata_props if entry.key in _LAYER_RECORDS]
        del node.metadata_props[:]
        if keep_layers and node.op_type in (WEIGHT_INPUT.keys() | GATES.keys()):
            node.metadata_props.extend(remaining)


def fixed_length(model: Any) -> int | None:
    """Number of tokens that every text must have in an onnx.ModelProto; None if any will do, or there are none."""
    import onnx

    whole = (onnx.TensorProto.INT32, onnx.TensorProto.INT64)
    shapes = [
        value.type.tensor_type.shape.dim for value in model.graph.input if value.type.tensor_type.elem_type in whole
    ]
    lengths = [int(axes[1].dim_value) for axes in shapes if len(axes) == 2]  # noqa: PLR2004 - instances, tokens
    return max(lengths, default=0) or None


def module_names(node: Any) -> list[str]:
    """Names of the modules that a node was exported from, outermost (empty) first, the operator last; [] if unknown."""
    return recorded_names(node, _SCOPES)


def rename_tensors(model: Any, names: Mapping[str, str]) -> None:
    """Rename initialisers wherever they are used."""
    for tensor in model.graph.initializer:
        tensor.name = names.get(tensor.name, tensor.name)
    for graph in graphs(model.graph):
        for node in graph.node:
            for index, values in enumerate(node.input):
                if values in names:
                    node.input[index] = names[values]
    # shape records would still speak of the old names
    remaining = [value for value in model.graph.value_info if value.name not in names]
    del model.graph.value_info[:]
    model.graph.value_info.extend(remaining)


def rename_values(model: Any, names: Mapping[str, str]) -> None:
    """Give values of a graph other names, wherever they stand. A value that has one of the new names makes room.

    Bodies of `If` and `Loop` use the values of the graph around them, so they are followed.
    """
    in_use = {name for graph in graphs(model.graph) for node in graph.node for name in (*node.input, *node.output)}
    expected = {old: new for old, new in names.items() if old != new}
    for new in (set(expected.values()) & in_use) - set(expected):
        expected[new] = _free(f"{new}_inner", in_use)
    for graph in graphs(model.graph):
        for node in graph.node:
            for names_of in (node.input, node.output):
                for place, name in enumerate(names_of):
                    names_of[place] = expected.get(name, name)
        for value in (*graph.input, *graph.output, *graph.value_info, *graph.initializer):
            value.name = expected.get(value.name, value.name)


def _free(name: str, in_use: Collection[str]) -> str:
    while name in in_use:
        name += "_"
    return name


def attribute(node: Any, name: str, default: Any) -> Any:
    """Return the value of a node's attribute."""
    import onnx

    return next((onnx.helper.get_attribute_value(a) for a in node.attribute if a.name == name), default)


def _constant(name: str, initializers: Mapping[str, Any], producers: Mapping[str, Any]) -> str | None:
    """Follow quantization and casts back to the initialiser behind a tensor."""
    while name not in initializers:
        node = producers.get(name)
        if node is None or node.op_type not in _PASSES_ON:
            return None
        name = node.input[0]
    return name


def _place(node: Any, weight: str | None, *, shared: bool) -> tuple[str, tuple[str, ...], tuple[str, ...]]:
    """Return the layer's name, the class names of it and what contains it, and the names of what contains it."""
    scopes, classes = module_names(node), recorded_names(node, _CLASSES)
    inner = [name.rpartition(".")[2] for name in classes[-2::-1]]
    tensor = _SUFFIX.sub("", weight or "")
    # where the exporter folded a normalisation into the node, its records are those of the normalisation
    if len(scopes) > 1 and inner and "Norm" not in inner[0] and scopes[-2]:
        around = tuple(name for name in scopes[-3::-1] if name)
        owner = tensor.rpartition(".")[0]
        if owner.startswith(f"{scopes[-2]}."):  # a part that is never called: attention takes its projections' weights
            return owner, ("Linear", *inner), (scopes[-2], *around)
        if weight:
            return scopes[-2], tuple(inner), around
        return f"{scopes[-2]}.matmul", tuple(inner), (scopes[-2], *around)
    if "." in tensor and not (shared and node.name):  # a weight of several layers names none of them
        name = tensor.removesuffix(".weight")
        return name, (), tuple(prefixes(name))
    return node.name or node.output[0], (), ()


def prefixes(name: str) -> Iterator[str]:
    """Yield the dotted names that contain `name`, innermost first."""
    while "." in name:
        name = name.rpartition(".")[0]
        yield name


def _groups(node: Any, weight: str | None, classes: tuple[str, ...], initializers: Mapping[str, Any]) -> set[str]:
    if weight is None:
        return {"attention"}
    if node.op_type in CONVOLUTIONS:
        alone = list(initializers[weight].dims)[1:2] == [1] and attribute(node, "group", 1) > 1
        return {"conv", "depthwise"} if alone else {"conv"}
    return {"linear", "attention"} if any("Attention" in name for name in classes) else {"linear"}


def _heads(graph: Any, weighted: set[int]) -> set[int]:
    """Weighted nodes from which no other weighted node is reached: they give the outputs."""
    consumers: dict[str, list[Any]] = {}
    for node in graph.node:
        for name in node.input:
            consumers.setdefault(name, []).append(node)
    followed: dict[int, bool] = {}
    for node in reversed(graph.node):  # graph order is topological
        after = [other for name in node.output for other in consumers.get(name, [])]
        followed[id(node)] = any(id(other) in weighted or followed.get(id(other), False) for other in after)
    return {node for node in weighted if not followed[node]}
