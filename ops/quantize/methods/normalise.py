"""Bring an ONNX graph into the one form that quantizers understand, without changing what it computes.

ONNX Runtime's quantizer takes a Gemm's bias for one of its outputs whatever its shape and factor (beta 0.25 leaves a bias four
times as large: microsoft/onnxruntime#28130), gives a tensor that two nodes share the scale of the first, and cannot take the
bias of a transposed convolution in groups. Kernels are missing for other factors, and weights behind other nodes are not
seen as weights.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
from onnx import helper, numpy_helper

from ops.onnx_graph.control_flow import bodies, uses
from ops.onnx_graph.layers import WEIGHT_INPUT, attribute

_FOLDED = {"Constant", "Identity", "Transpose"}
_BIASED = {"Conv", "ConvTranspose", "Gemm"}
_BIAS = 2
"""Which input is the bias of those operators."""


def constants_to_weights(model: Any, *, turn: bool = True) -> None:
    """Make initialisers, in place, of the constants that reach matrix products and their biases through other nodes.

    Without `turn`, what a transposition lies before stays: a table that is also the last layer's weight would be stored twice.
    """
    graph = model.graph
    producers = {output: node for node in graph.node for output in node.output}
    tensors = {tensor.name: tensor for tensor in graph.initializer}
    for node in graph.node:
        if node.op_type not in WEIGHT_INPUT:
            continue
        for place, name in enumerate(node.input):
            array = _constant(name, producers, tensors, turn=turn)
            if array is not None and name not in tensors:
                _fold(model, node, place, array, _source(name, producers))
                tensors = {tensor.name: tensor for tensor in graph.initializer}
    _drop_unused(model)


def normalise(model: Any) -> None:
    """Rewrite, in place, Gemm and convolution nodes of float32 weights, which bear their layers' names.

    Afterwards a Gemm with a constant weight has factors of 1, an untransposed input, and no bias or one value per output; no
    two nodes share a bias, nor a weight that they use in two ways.
    """
    for node in list(model.graph.node):
        if node.op_type == "Gemm":
            _simplify(model, node)
        elif node.op_type == "ConvTranspose" and attribute(node, "group", 1) > 1:
            _bias_apart(model, node, axes=_spatial(model, node))
    tensors = {tensor.name: tensor for tensor in model.graph.initializer}
    counts = uses(model.graph)
    for node in model.graph.node:
        weight = tensors.get(node.input[1]) if node.op_type in ("Conv", "ConvTranspose") else None
        if weight is not None and _used_otherwise(model, node, weight.name):
            _own(model, node, 1, numpy_helper.to_array(weight))
        bias = node.input[_BIAS] if node.op_type in _BIASED and len(node.input) > _BIAS else ""
        if counts[bias] > 1 and bias in tensors:
            counts[bias] -= 1
            _own(model, node, _BIAS, numpy_helper.to_array(tensors[bias]))
    _drop_unused(model)


def _simplify(model: Any, node: Any) -> None:
    tensors = {tensor.name: tensor for tensor in model.graph.initializer}
    weight = tensors.get(node.input[1])
    if weight is not None and weight.data_type != onnx.TensorProto.FLOAT:
        return
    alpha, beta = (float(attribute(node, name, 1.0)) for name in ("alpha", "beta"))
    bias = node.input[_BIAS] if len(node.input) > _BIAS else ""
    if beta == 0 or not bias:
        del node.input[_BIAS:]
        bias = ""
    if attribute(node, "transA", 0):
        turned = f"{node.output[0]}_input"
        _insert(model, node, helper.make_node("Transpose", [node.input[0]], [turned], f"{node.name}.turn", perm=[1, 0]))
        node.input[0] = turned
        _set(node, "transA", 0)
    if bias:
        _simplify_bias(model, node, tensors.get(bias), beta, fold=weight is not None)
    _set(node, "beta", 1.0)
    if weight is None:
        return
    if alpha != 1 or _used_otherwise(model, node, weight.name):
        _own(model, node, 1, numpy_helper.to_array(weight) * np.float32(alpha))
    _set(node, "alpha", 1.0)


def _simplify_bias(model: Any, node: Any, tensor: Any, beta: float, *, fold: bool) -> None:
    """Bring a bias to one value per output, its factor folded in, or move it into an Add behind the product."""
    if tensor is not None and tensor.data_type == onnx.TensorProto.FLOAT:
        values = numpy_helper.to_array(tensor) * np.float32(beta)
        outputs = _outputs(model, node)
        if fold and values.size in (1, outputs) and values.shape[-1:] in ((), (values.size,)):
            _own(model, node, _BIAS, np.broadcast_to(values.reshape(-1), (outputs,)))
            return
        if beta != 1:
            _own(model, node, _BIAS, values)
        beta = 1.0
    _bias_apart(model, node, factor=beta)


def _outputs(model: Any, node: Any) -> int:
    """Return the number of outputs of a Gemm whose weight is constant, or 0."""
    weight = next((tensor for tensor in model.graph.initializer if tensor.name == node.input[1]), None)
    return 0 if weight is None else int(weight.dims[0 if _turned(node) else 1])


def _bias_apart(model: Any, node: Any, *, factor: float = 1.0, axes: int = 0) -> None:
    """Add a node's bias behind it; that of a convolution is spread over so many `axes`."""
    if len(node.input) <= _BIAS or not node.input[_BIAS]:
        return
    bias = str(node.input[_BIAS])
    del node.input[_BIAS:]
    if axes:
        tensor = next((tensor for tensor in model.graph.initializer if tensor.name == bias), None)
        if tensor is None:
            node.input.append(bias)
            return
        bias = _add(model, f"{node.name}.bias", numpy_helper.to_array(tensor).reshape(1, -1, *[1] * axes))
    result, node.output[0] = node.output[0], f"{node.output[0]}_product"
    output = [helper.make_node("Add", [node.output[0], bias], [result], f"{node.name}.add_bias")]
    if factor != 1:
        scaled = f"{result}_bias"
        scale = _add(model, f"{node.name}.beta", np.array(factor, np.float32))
        output[0].input[1] = scaled
        output.insert(0, helper.make_node("Mul", [bias, scale], [scaled], f"{node.name}.scale_bias"))
    place = _place(model, node)
    for offset, new in enumerate(output, 1):
        model.graph.node.insert(place + offset, new)


def _spatial(model: Any, node: Any) -> int:
    weight = next((tensor for tensor in model.graph.initializer if tensor.name == node.input[1]), None)
    return 0 if weight is None else len(weight.dims) - 2


def _used_otherwise(model: Any, node: Any, name: str) -> bool:
    """Whether a body, or an earlier node in another way (operator, axis of its outputs), takes the same weight."""
    if any(name in inner.input for body in bodies(model.graph) for inner in body.node):
        return True
    for other in model.graph.node:
        if other is node or other == node:
            return False
        if name in other.input and (other.op_type, _turned(other)) != (node.op_type, _turned(node)):
            return True
    return False


def _turned(node: Any) -> bool:
    """Whether the outputs of a Gemm lie along the first axis of its weight."""
    return bool(attribute(node, "transB", 0))


def _own(model: Any, node: Any, place: int, values: np.ndarray) -> None:
    """Give a node a constant of its own."""
    old = node.input[place]
    if uses(model.graph)[old] > 1:
        node.input[place] = _add(model, f"{node.name}.{'bias' if place == _BIAS else 'weight'}", values)
        return
    tensor = next(tensor for tensor in model.graph.initializer if tensor.name == old)
    tensor.CopyFrom(numpy_helper.from_array(np.ascontiguousarray(values), old))
    _forget_shapes(model, old)


def _add(model: Any, name: str, values: np.ndarray) -> str:
    in_use = {tensor.name for tensor in model.graph.initializer}
    in_use |= {output for node in model.graph.node for output in node.output}
    unique = (
        name
        if name not in in_use
        else next(f"{name}_{n}" for n in range(2, len(in_use) + 3) if f"{name}_{n}" not in in_use)
    )
    model.graph.initializer.append(numpy_helper.from_array(np.ascontiguousarray(values), unique))
    return unique


def _source(name: str, producers: dict[str, Any]) -> str:
    """Return the initialiser that a folded constant comes from, or its own name."""
    while (node := producers.get(name)) is not None and node.op_type in _FOLDED and node.input:
        name = node.input[0]
    return name


def _constant(name: str, producers: dict[str, Any], tensors: dict[str, Any], *, turn: bool) -> np.ndarray | None:
    if name in tensors:
        return np.asarray(numpy_helper.to_array(tensors[name]))
    node = producers.get(name)
    if node is None or node.op_type not in _FOLDED:
        return None
    if node.op_type == "Constant":
        value = attribute(node, "value", None)
        return None if value is None else np.asarray(numpy_helper.to_array(value))
    if node.op_type == "Transpose" and not turn:
        return None
    array = _constant(node.input[0], producers, tensors, turn=turn)
    if array is None or node.op_type == "Identity":
        return array
    return np.transpose(array, attribute(node, "perm", None))


def _fold(model: Any, node: Any, place: int, array: np.ndarray, source: str) -> None:
    """Let a node take a constant directly, under the name of where it comes from if nothing else uses that."""
    users = [other for other in model.graph.node if source in other.input]
    alone = (
        len(users) == 1
        and users[0].op_type in _FOLDED
        and uses(model.graph)[source] == uses(model.graph)[node.input[place]] == 1
    )
    if alone:
        tensor = next(tensor for tensor in model.graph.initializer if tensor.name == source)
        tensor.CopyFrom(numpy_helper.from_array(np.ascontiguousarray(array), source))
        _forget_shapes(model, source)
        model.graph.node.remove(users[0])
        node.input[place] = source
    else:
        node.input[place] = _add(model, f"{node.input[place]}_constant", array)


def _drop_unused(model: Any) -> None:
    used = uses(model.graph).keys() | {value.name for value in model.graph.output}
    for node in [node for node in model.graph.node if node.op_type in _FOLDED]:
        if not used & set(node.output):
            model.graph.node.remove(node)
    for tensor in [tensor for tensor in model.graph.initializer if tensor.name not in used]:
        model.graph.initializer.remove(tensor)


def _forget_shapes(model: Any, name: str) -> None:
    for value in [value for value in model.graph.value_info if value.name == name]:
        model.graph.value_info.remove(value)


def _set(node: Any, name: str, value: float) -> None:
    for entry in [entry for entry in node.attribute if entry.name == name]:
        node.attribute.remove(entry)
    if value != (0 if name.startswith("trans") else 1):
        node.attribute.append(helper.make_attribute(name, value))


def _place(model: Any, node: Any) -> int:
    return next(index for index, other in enumerate(model.graph.node) if other is node or other == node)


def _insert(model: Any, node: Any, new: Any) -> None:
    model.graph.node.insert(_place(model, node), new)
