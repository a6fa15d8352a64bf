"""A quantized file beside the float file that it was made from: outputs, and every layer's."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ops.calibration.fidelity import INSTANCES, Distances, note_fidelity, sampled
from ops.calibration.sample_inputs import sample_batch
from ops.core.errors import OperationError
from ops.core.operation import OnnxModel
from ops.onnx_graph.layers import WEIGHT_INPUT, matrix_nodes
from ops.onnx_graph.session import open_session
from ops.quantize.methods.request import Request

if TYPE_CHECKING:
    import numpy as np

_PLAUSIBLE = {"static": 10.0, "dynamic": 10.0, "weight_only": 3.0, "float16": 40.0, "bfloat16": 20.0}
"""Decibels of the outputs. Sound int8 models are at 20 and more, blocks of 4 bits at 6, bfloat16 at 40."""
_SAME = 50.0
"""Decibels above which two float graphs compute the same."""
_HOPS = 3
"""How many nodes may stand between a product and the value that both files have: scales, a bias, an activation."""
Samples = dict[str, list["np.ndarray"]]


def note_distance(request: Request, model: OnnxModel, method: str) -> None:
    """Record how near the result is to the float file on calibration instances, layer by layer.

    Raises:
        OperationError: the float graph that was brought into a form for quantizers does not compute what the file does.
    """
    feeds = _feeds(request, model)
    places = _places(request)
    expected = _run(model.path, feeds)
    before = _watched(request.source, request.work, "float.onnx", feeds, places.values())
    _check_same(expected, before)
    rounded = _rounded(request, places.values())
    watched = _watched(request.result, request.work, "rounded.onnx", feeds, rounded.values())
    layers = _compare(watched, before, places, rounded)
    outputs = Distances()
    for name, arrays in _run(request.result, feeds).items():
        for values, reference in zip(arrays, expected[name], strict=True):
            outputs.add(name, values, reference)
    plausible = _PLAUSIBLE[method]
    note_fidelity(request.ctx, outputs, layers, plausible=plausible, instances=len(feeds))


def _feeds(request: Request, model: OnnxModel) -> list[dict[str, np.ndarray]]:
    batch = sample_batch(model.architecture, request.ctx, count=INSTANCES)
    values = dict(batch)
    if not set(request.inputs) <= set(values):
        values = dict(zip(request.inputs, values.values(), strict=True))
    count = len(next(iter(values.values())))
    return [{name: values[name][row : row + 1] for name in request.inputs} for row in range(count)]


def _places(request: Request) -> dict[str, str]:
    """Return of every layer the first value from its output on that both files have, in the order of computation."""
    import onnx

    before = onnx.load(request.source, load_external_data=False)
    after = onnx.load(request.result, load_external_data=False)
    present = {name for node in after.graph.node for name in node.output}
    users: dict[str, list[Any]] = {}
    for node in before.graph.node:
        for name in node.input:
            users.setdefault(name, []).append(node)
    result: dict[str, str] = {}
    for matrix in matrix_nodes(before):
        value = _shared(str(matrix.node.output[0]), users, present)
        if value is not None:
            result[matrix.node.name] = value
    return result


def _rounded(request: Request, values: Iterable[str]) -> dict[str, str]:
    """Return by value what the quantized file makes of it: where it is rounded, the rounding is a ReLU's or a Clip's part."""
    import onnx

    graph = onnx.load(request.result, load_external_data=False).graph
    users = {name: node for node in reversed(graph.node) for name in node.input}
    result: dict[str, str] = {}
    for value in values:
        result[value] = value
        for operator in ("QuantizeLinear", "DequantizeLinear"):
            node = users.get(result[value])
            if node is None or node.op_type != operator:
                break
            result[value] = str(node.output[0])
        else:
            continue
        result[value] = value
    return result


def _shared(value: str, users: Mapping[str, Sequence[Any]], present: set[str]) -> str | None:
    for _ in range(_HOPS):
        if value in present:
            return value
        after = users.get(value, [])
        if len(after) != 1 or after[0].op_type in WEIGHT_INPUT:
            return None
        value = str(after[0].output[0])
    return value if value in present else None


def _watched(
    path: Path, work: Path, name: str, feeds: Sequence[Mapping[str, np.ndarray]], values: Iterable[str]
) -> Samples:
    """Run a file node by node and return what its outputs and these values were."""
    import onnx

    model = onnx.load(path, load_external_data=False)
    present = {output.name for output in model.graph.output}
    for value in dict.fromkeys(values):
        if value not in present:
            model.graph.output.append(onnx.helper.make_empty_tensor_value_info(value))
    copy = work / name  # beside the weights
    onnx.save(model, copy)
    return _run(copy, feeds, optimize=False)


def _run(path: Path, feeds: Sequence[Mapping[str, np.ndarray]], *, optimize: bool = True) -> Samples:
    session = open_session(path, optimize="all" if optimize else "none")
    names = [output.name for output in session.get_outputs()]
    result: Samples = {name: [] for name in names}
    for feed in feeds:
        for name, value in zip(names, session.run(names, dict(feed)), strict=True):
            if value.dtype.kind == "f":
                result[name].append(sampled(value))
    return {name: arrays for name, arrays in result.items() if arrays}


def _compare(
    values: Samples, reference: Samples, places: Mapping[str, str], rounded: Mapping[str, str]
) -> dict[str, float]:
    distances = Distances()
    for layer, name in places.items():
        for mine, theirs in zip(values.get(rounded[name], []), reference.get(name, []), strict=False):
            distances.add(layer, mine, theirs)
    return distances.decibels()


def _check_same(expected: Samples, actual: Samples) -> None:
    distances = Distances()
    for name, arrays in expected.items():
        for reference, values in zip(arrays, actual[name], strict=True):
            distances.add(name, values, reference)
    odd = [name for name, value in distances.decibels().items() if value < _SAME]
    if odd:
        raise OperationError(
            f"quantize: '{odd[0]}' changed while the graph was brought into a form for quantizers; give the file as it is "
            "written by another exporter, or quantize it with `method: float16`"
        )
