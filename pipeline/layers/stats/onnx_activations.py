"""Outputs of an ONNX graph's layers: the graph is given more outputs, batch by batch.

ONNX Runtime runs it without optimisations, node by node as the file says, so that every value exists. Quantized nodes
then compute what their QuantizeLinear/DequantizeLinear pairs define; fused integer kernels differ from it by rounding.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from ops.core.operation import Batch
from ops.onnx_graph.layers import CONVOLUTIONS, attribute, matrix_nodes
from ops.onnx_graph.session import open_session
from pipeline.layers.stats.activation_sampling import Saturation, Scene, Site, SiteSample
from pipeline.layers.tensors.graph_values import GraphValues

STAGE = "onnx"
_NORMS = {"LayerNormalization", "SimplifiedLayerNormalization", "RMSNormalization", "SkipLayerNormalization"}
_CHANNEL_NORMS = {"BatchNormalization", "InstanceNormalization", "GroupNormalization"}
_INTEGER = {"MatMulInteger", "ConvInteger"}
_LOOKUPS = {"Gather": "axis", "GatherBlockQuantized": "gather_axis"}
"""Operators that look up in a table -> their attribute for the axis that is looked along."""
_FLATTENS = {"Reshape", "Flatten"}
_KEEPS_SHAPE = {"QuantizeLinear", "DequantizeLinear", "DynamicQuantizeLinear", "Cast", "Identity"}
_KEEPS_RANGE = {"Relu", "Clip", "Identity"}


@dataclass(frozen=True, slots=True)
class ValuePlace:
    """A value of the graph that is a layer's output."""

    site: str
    operator: str
    value: str
    axis: int
    rectified: bool
    saturation: Saturation | None
    whole: str | None = None
    """A value that was flattened to a matrix for the layer: it has the axes of the instances and of their parts."""


def onnx_activations(path: Path, batches: Iterable[Batch], scene: Scene, folds: Mapping[str, str]) -> list[SiteSample]:
    """Return what every layer with parameters gave, in the order of the graph.

    Args:
        path: the ONNX file.
        batches: instances, by the graph's inputs.
        scene: settings that all layers share.
        folds: convolution -> the batch normalisation that it contains: its output is then that one's.
    """
    import onnx

    model = onnx.load(path)
    order = {output: index for index, node in enumerate(model.graph.node) for output in node.output}
    first: dict[
        str, ValuePlace
    ] = {}  # of a layer that runs several times; a table that is also the last layer's weight is that
    for place in _places(model, folds):
        first.setdefault(place.site, place)
    places = sorted(first.values(), key=lambda place: order[place.value])
    output_names = {output.name for output in model.graph.output}
    inputs = [value.name for value in model.graph.input]
    values = (value for place in places for value in (place.value, place.whole))
    names = list(dict.fromkeys(value for value in values if value is not None))
    for value in names:
        if value not in {*output_names, *inputs}:
            model.graph.output.append(onnx.helper.make_empty_tensor_value_info(value))
    session = open_session(model.SerializeToString(), optimize="none")
    del model
    sites: dict[str, Site] = {}
    watched = [name for name in names if name not in inputs]
    for batch in batches:
        feed = {name: batch.inputs[name] for name in inputs}
        outputs = {**feed, **dict(zip(watched, session.run(watched, feed), strict=True))}
        for place in places:
            output = _output(place, outputs, len(batch))
            if output is None:
                continue
            if place.site not in sites:
                sites[place.site] = Site(
                    scene,
                    place.site,
                    STAGE,
                    position=len(sites),
                    module_type=place.operator,
                    axis=place.axis,
                    rectified=place.rectified,
                    saturation=place.saturation,
                )
            sites[place.site].add(output)
    return [site.result() for site in sites.values()]


def _output(place: ValuePlace, values: Mapping[str, np.ndarray], count: int) -> np.ndarray | None:
    """What a layer gave to `count` instances, or None where it is not known which rows are which instance's."""
    output = values[place.value]
    if place.whole is not None and len(output) != count:
        output = _unflattened(output, values[place.whole].shape)
    return output if output.ndim > 1 and len(output) == count and output.dtype.kind == "f" else None


def _unflattened(rows: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """Give the rows of a matrix (N, channels) the first axes of what they were flattened from, as far as these make N rows."""
    for count in range(len(shape), 0, -1):
        if math.prod(shape[:count]) == len(rows):
            return rows.reshape(*shape[:count], *rows.shape[1:])
    return rows


def _places(model: Any, folds: Mapping[str, str]) -> Iterator[ValuePlace]:
    graph = _Graph(model.graph)
    for matrix in matrix_nodes(model):
        if not matrix.weight:
            continue
        layer, node = matrix.layer.name, matrix.node
        conv = node.op_type in CONVOLUTIONS
        site = folds.get(layer, layer) if conv else layer
        whole = None if conv else graph.flattened(str(node.input[0]))
        yield replace(graph.place(site, node.op_type, graph.end(node, layer), 1 if conv else -1), whole=whole)
    for node in model.graph.node:
        name: str | None
        if node.op_type in _NORMS | _CHANNEL_NORMS and len(node.input) > 1:
            name = graph.constant(node.input[1])
        elif node.op_type in _LOOKUPS and attribute(node, _LOOKUPS[node.op_type], 0) == 0:
            name = graph.constant(node.input[0])
        else:
            continue
        if name and "." in name:
            axis = 1 if node.op_type in _CHANNEL_NORMS else -1
            yield graph.place(name.rpartition(".")[0], node.op_type, graph.widened(node.output[0]), axis)


class _Graph(GraphValues):
    """The outputs of layers among a graph's values."""

    def widened(self, value: str) -> str:
        """Return the float value that integers become: rows of an int8 table are dequantized after the lookup."""
        users = self.users.get(value, [])
        return str(users[0].output[0]) if users and users[0].op_type == "DequantizeLinear" else value

    def flattened(self, value: str) -> str | None:
        """Return what a value was flattened from, also where it is rounded after that; None if it was not."""
        producer = self.producers.get(value)
        while producer is not None and producer.op_type in _KEEPS_SHAPE:
            producer = self.producers.get(producer.input[0])
        return str(producer.input[0]) if producer is not None and producer.op_type in _FLATTENS else None

    def end(self, node: Any, layer: str) -> str:
        """Return the value that is the layer's output: after the scaling of integer products, and after its bias."""
        value = str(node.output[0])
        while True:
            bias = self.added_bias(value, layer)
            if bias is not None:
                return str(bias[0].output[0])
            user = self.only_user(value)
            if user is None or node.op_type not in _INTEGER or user.op_type not in {"Cast", "Mul"}:
                return value
            value = str(user.output[0])

    def place(self, site: str, operator: str, value: str, axis: int) -> ValuePlace:
        """Describe a layer's output by what is done with it."""
        users = self.users.get(value, [])
        rectified = bool(users) and all(user.op_type == "Relu" for user in users)
        return ValuePlace(site, operator, value, axis, rectified, self._saturation(value))

    def _saturation(self, value: str) -> Saturation | None:
        """Return the range of the quantized type that the output is rounded to, through a ReLU if there is one."""
        rectified = False
        for _ in range(3):  # the output itself, behind an activation, behind a second one
            users = self.users.get(value, [])
            quantizer = next((user for user in users if user.op_type == "QuantizeLinear"), None)
            if quantizer is not None:
                return self._range(quantizer, rectified)
            if len(users) != 1 or users[0].op_type not in _KEEPS_RANGE:
                return None
            rectified = True
            value = users[0].output[0]
        return None

    def _range(self, quantizer: Any, rectified: bool) -> Saturation | None:
        from onnx import numpy_helper

        if not {quantizer.input[1], *quantizer.input[2:3]} <= set(self.initializers) or len(quantizer.input) < 3:  # noqa: PLR2004
            return None
        scale = numpy_helper.to_array(self.initializers[quantizer.input[1]]).astype(np.float64)
        zero = numpy_helper.to_array(self.initializers[quantizer.input[2]])
        if scale.size != 1 or zero.dtype.kind not in "iu":
            return None
        limits = np.iinfo(zero.dtype)
        low = (limits.min - int(zero.reshape(-1)[0]) - 0.5) * float(scale.reshape(-1)[0])
        high = (limits.max - int(zero.reshape(-1)[0]) + 0.5) * float(scale.reshape(-1)[0])
        # where the range starts at zero, what is cut below it is the ReLU's doing
        return Saturation(None if rectified or low >= -float(scale.reshape(-1)[0]) else low, high)
