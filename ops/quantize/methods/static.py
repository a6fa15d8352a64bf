"""Static int8: ranges of activations from calibration samples, rounded with QuantizeLinear/DequantizeLinear pairs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ops.calibration.batches import calibration_batches, sample_count
from ops.onnx_graph.control_flow import uses
from ops.onnx_graph.layers import CONVOLUTIONS, attribute, matrix_nodes
from ops.onnx_graph.session import quiet_tools
from ops.quantize.methods.request import Report, Request, prepare_graph

if TYPE_CHECKING:
    import numpy as np

_READ = 32
_MATRIX = ("Conv", "ConvTranspose", "Gemm", "MatMul")
_BETWEEN_CONVOLUTIONS = (
    "Add",
    "AveragePool",
    "Clip",
    "Concat",
    "Flatten",
    "GlobalAveragePool",
    "LeakyRelu",
    "MaxPool",
    "Mul",
    "Pad",
    "Relu",
    "Reshape",
    "Resize",
    "Sigmoid",
    "Slice",
    "Split",
    "Squeeze",
    "Transpose",
    "Unsqueeze",
)
_ROUNDED_BY_RUNTIME = {"Conv", "ConvTranspose", "Gemm"}
_FLOAT = ".float"
_METHODS = {"minmax": "MinMax", "entropy": "Entropy", "percentile": "Percentile"}


def quantize_static(request: Request) -> Report:
    """Write an int8 model that ONNX Runtime runs in integer kernels.

    Weights are symmetric int8 (zero stays zero), per channel; activations are as the plan says. In convolutional
    networks what stands between convolutions is quantized too, so that activations stay 8-bit; in transformers only the
    matrix products are, and softmax, normalisation and residual sums keep float. Outputs of linear layers are not
    rounded: kernels that give float are as fast, and a classifier's logits keep their order.
    """
    settings = request.settings
    activations, reduce_range = settings.activation_type, settings.seven_bits
    convolutional = 2 * sum(product.operator in CONVOLUTIONS for product in request.products) > len(request.products)
    operators = list(_MATRIX + _BETWEEN_CONVOLUTIONS if convolutional else _MATRIX)
    with quiet_tools(request.work):
        prepared = prepare_graph(request)
        ranges = _find_ranges(request, prepared, operators)
        _round(request, prepared, ranges, operators, activations=activations, reduce_range=reduce_range)
    notes = {
        "activation_type": activations,
        "weight_type": "int8",
        "reduce_range": reduce_range,
        "per_channel": settings.per_channel,
        "calibration": settings.calibration,
        "samples": sample_count(request.ctx, settings.samples),
    }
    return Report(notes)


def _find_ranges(request: Request, prepared: Path, operators: list[str]) -> Path:
    """Run calibration samples and write the ranges of the tensors around `operators`.

    Apart from rounding, so that the two never hold the model at the same time. Samples go one by one, merged after each:
    the calibrators keep all activations of a batch.
    """
    from onnxruntime.quantization import CalibrationMethod, create_calibrator, save_tensors_data

    settings, ranges = request.settings, request.work / "ranges.json"
    calibrator = create_calibrator(
        prepared,
        operators,
        augmented_model_path=str(request.work / "watched.onnx"),
        calibrate_method=CalibrationMethod[_METHODS[settings.calibration]],
        use_external_data_format=True,
        extra_options={"percentile": settings.percentile} if settings.calibration == "percentile" else {},
    )
    calibrator.model = None  # the session has its own
    samples = sample_count(request.ctx, settings.samples)
    for done, feed in enumerate(_feeds(request), 1):
        calibrator.collect_data(_Once(feed))
        request.ctx.progress(done, samples, "calibration")
    save_tensors_data(calibrator.compute_data(), ranges)
    return ranges


def _round(
    request: Request, prepared: Path, ranges: Path, operators: list[str], *, activations: str, reduce_range: bool
) -> None:
    from onnxruntime.quantization import CalibrationMethod, QuantFormat, QuantType, quantize_static

    types = {"uint8": QuantType.QUInt8, "int8": QuantType.QInt8}
    quantize_static(
        prepared,
        request.result,
        None,
        quant_format=QuantFormat.QDQ,
        op_types_to_quantize=operators,
        nodes_to_exclude=_left_alone(prepared, request.layers),
        per_channel=request.settings.per_channel,
        reduce_range=reduce_range,
        activation_type=types[activations],
        weight_type=QuantType.QInt8,
        calibrate_method=CalibrationMethod[_METHODS[request.settings.calibration]],
        calibration_cache_path=ranges,
        extra_options={"OpTypesToExcludeOutputQuantization": ["MatMul", "Gemm"]},
    )
    _keep_in_float(request.result)


def _keep_in_float(path: Path) -> None:
    """Let layers with float weights run in float, whatever stands around them.

    ONNX Runtime rounds the weights of a convolution or Gemm itself where it finds the layer between a DequantizeLinear and a
    QuantizeLinear; and of an average pool there it makes one in integers, which counts cells outside of the picture where the
    last window hangs over its edge. So such a layer reads its input by the same arithmetic in other operators:
    (x - zero point) * scale.
    """
    import onnx

    model = onnx.load(path)
    weights = {tensor.name: tensor for tensor in model.graph.initializer}
    dequantized = {node.output[0] for node in model.graph.node if node.op_type == "DequantizeLinear"}
    widened: set[str] = set()
    for node in model.graph.node:
        if node.input and node.input[0] in dequantized and _computes_in_float(node, weights):
            widened.add(node.input[0])
            node.input[0] += _FLOAT
    if not widened:
        return
    needed = uses(model.graph).keys() | {value.name for value in model.graph.output}
    nodes = list(model.graph.node)
    del model.graph.node[:]
    for node in nodes:
        if node.output[0] not in widened or node.output[0] in needed:
            model.graph.node.append(node)
        if node.output[0] in widened:
            model.graph.node.extend(_plain_arithmetic(model.graph, node, weights))
    onnx.save(model, path)


def _computes_in_float(node: Any, weights: Mapping[str, Any]) -> bool:
    """Whether ONNX Runtime would make something else of a node that is to compute in float."""
    import onnx

    if node.op_type == "AveragePool":
        return bool(attribute(node, "ceil_mode", 0) and attribute(node, "count_include_pad", 0))
    if node.op_type not in _ROUNDED_BY_RUNTIME or node.input[1] not in weights:
        return False
    return bool(weights[node.input[1]].data_type == onnx.TensorProto.FLOAT)


def _plain_arithmetic(graph: Any, rounding: Any, weights: Mapping[str, Any]) -> Iterator[Any]:
    """Yield the nodes that compute what a DequantizeLinear does, for a tensor with one scale."""
    import onnx

    name, (values, scale, zero) = rounding.output[0], rounding.input
    point = onnx.numpy_helper.to_array(weights[zero]).astype("float32")
    graph.initializer.append(onnx.numpy_helper.from_array(point, f"{name}{_FLOAT}.zero_point"))
    steps = [f"{name}{_FLOAT}.{part}" for part in ("cast", "shifted")]
    parts: tuple[tuple[str, list[str], str, dict[str, Any]], ...] = (
        ("Cast", [values], steps[0], {"to": onnx.TensorProto.FLOAT}),
        ("Sub", [steps[0], f"{name}{_FLOAT}.zero_point"], steps[1], {}),
        ("Mul", [steps[1], scale], f"{name}{_FLOAT}", {}),
    )
    for operator, inputs, output, attributes in parts:
        yield onnx.helper.make_node(operator, inputs, [output], name=f"{output}.{operator}", **attributes)


def _left_alone(prepared: Path, names: frozenset[str]) -> list[str]:
    import onnx

    return [
        matrix.node.name
        for matrix in matrix_nodes(onnx.load(prepared, load_external_data=False))
        if matrix.node.name not in names
    ]


class _Once:
    """A single feed, as `onnxruntime.quantization` reads calibration data."""

    def __init__(self, feed: Mapping[str, np.ndarray]) -> None:
        self._feed: Mapping[str, np.ndarray] | None = feed

    def get_next(self) -> Mapping[str, np.ndarray] | None:
        """Return the feed once, then None."""
        feed, self._feed = self._feed, None
        return feed


def _feeds(request: Request) -> Iterator[dict[str, np.ndarray]]:
    """Yield instances one by one, by input name; a graph with other names than the data's takes them in order."""
    for batch in calibration_batches(request.ctx, samples=request.settings.samples, batch_size=_READ):
        inputs = dict(batch.inputs)
        if not set(request.inputs) <= set(inputs):
            inputs = dict(zip(request.inputs, inputs.values(), strict=True))
        for row in range(len(batch)):
            yield {name: inputs[name][row : row + 1] for name in request.inputs}
