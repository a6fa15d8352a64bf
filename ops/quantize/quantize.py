"""Quantization of an ONNX model for ONNX Runtime."""

from __future__ import annotations

import shutil
from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field

from ops.core.errors import OperationError
from ops.core.operation import (
    Ancestry,
    Context,
    Exclude,
    Format,
    Include,
    Kind,
    OnnxModel,
    Processor,
    Requirement,
    Uses,
    operation,
)
from ops.quantize.methods.request import Product, Report, Request, Settings

if TYPE_CHECKING:
    from ops.onnx_graph.layers import MatrixNode

Method = Literal["static", "dynamic", "weight_only", "float16", "bfloat16"]
_DEFAULT = {
    "static": ("conv", "linear", "embedding"),
    "dynamic": ("linear", "embedding"),
    "weight_only": ("linear", "embedding"),
}
_ABLE = {"static": (), "dynamic": ("conv", "linear", "embedding"), "weight_only": ("linear", "embedding")}
_FIXED_BITS = {"static": 8, "dynamic": 8, "float16": 16, "bfloat16": 16}
"""What a method gives, whatever `bits` says; at its default it asks for nothing."""
_DEFAULT_BITS = 8
_RECURRENT = "a recurrent layer, which `quantize` leaves in float"
_MOST_TOLD = 5
"""Layers that a warning names."""
_SLOW_SHARE = 0.8  # below it, conversions between float and int8 may cost more than the integer kernels save


def _refuse(ancestry: Ancestry, params: Mapping[str, Any]) -> str | None:
    method, bits = params["method"], params["bits"]
    before = [earlier["method"] for name, earlier in ancestry.operations if name == "quantize"]
    if method == "static" and "static" in before:
        return (
            "a step above has quantized with `method: static`, which takes all its layers at once: name them in that step, or "
            "take another method for the others"
        )
    if before and params["compute"] == "float16":
        return "`compute: float16` converts the whole graph, and a step above has quantized parts of it"
    if method in _FIXED_BITS and bits != _DEFAULT_BITS:
        return (
            f"`bits: {bits}` is for `method: weight_only`; `{method}` always gives {_FIXED_BITS[method]} bits. Set "
            "`method: weight_only`, or leave `bits` out"
        )
    return None


def processor() -> Processor:
    """Return the integer arithmetic of this machine's CPU."""
    from ops.quantize.methods.cpu_features import integer_arithmetic

    return integer_arithmetic()


def _settle(params: Mapping[str, Any], cpu: Processor) -> dict[str, Any]:
    """Decide for the processor of the plan, so that any worker makes the same model of the same key."""
    settled: dict[str, Any] = {}
    if params["method"] == "static" and params["activations"] == "auto":
        settled["activations"] = cpu.activations
    if params["method"] in ("static", "dynamic") and params["reduce_range"] is None:
        settled["reduce_range"] = cpu.reduce_range
    return settled


@operation(
    kind=Kind.QUANTIZE,
    version=7,
    consumes=Format.ONNX,
    uses={Uses.DATA},
    refuse=_refuse,
    settle=_settle,
    libraries=("onnxruntime",),
    needs=lambda params: Requirement.INSTANCES if params["method"] == "static" else None,
)
def quantize(
    model: OnnxModel,
    ctx: Context,
    *,
    method: Method = "static",
    include: Include = (),
    exclude: Exclude = (),
    samples: Annotated[int, Field(ge=1)] = 256,
    calibration: Literal["minmax", "entropy", "percentile"] = "minmax",
    percentile: Annotated[float, Field(gt=50, le=100)] = 99.99,
    activations: Literal["auto", "uint8", "int8"] = "auto",
    reduce_range: bool | None = None,
    per_channel: bool = True,
    bits: Literal[8, 4] = 8,
    block_size: Literal[16, 32, 64, 128, 256] = 64,
    compute: Literal["float32", "float16"] = "float32",
) -> OnnxModel:
    """Round weights, and with some methods activations, to few bits.

    `static` (int8, ranges of activations from calibration samples) is the fast one for convolutional networks and good for
    transformers; `dynamic` (int8, ranges found while running) needs no data and is for transformers: a batch is rounded with
    one scale, so such a model is judged one instance at a time, as it is served; `weight_only` (blocks of 8 or 4 bits, linear
    layers) and `float16` / `bfloat16` shrink the file and run no faster on CPUs. Recurrent layers stay in float. Recorded:
    what was chosen, which layers stay in float and why, and the share of multiply-accumulates in integer kernels of the graph
    that ONNX Runtime runs; a warning where float would be faster; and how near the outputs and every layer's are to the float
    file's on calibration instances, in decibels.

    Mixed precision is a chain: a second step takes the layers that are in float still, with another method or other bits
    (`static` for convolutions, then `weight_only` with 4 bits for linear layers, the head excluded). Distances are to the
    step's parent.

    Args:
        model: stays as it is.
        ctx: gives calibration instances to `static`; no other split is read.
        method: what is rounded, and when.
        include: layers to quantize, by their torch names; default: convolutions (not with `dynamic`, `weight_only`), linear
            layers and embedding tables. The group `attention` adds the products of two activations (with `static`).
        exclude: layers to leave in float.
        samples: of `static`: calibration instances.
        calibration: of `static`: ranges from the extremes (`minmax`), from all but the rarest values (`percentile`), or
            those that lose least information (`entropy`).
        percentile: of `calibration: percentile`.
        activations: of `static`: their type; `auto`: uint8 on x86, int8 on ARM, decided in the plan.
        reduce_range: of `static` and `dynamic`: weights of 7 bits, so that x86 without VNNI does not saturate; null: as the
            processor needs on which the run is planned.
        per_channel: of `static` and `dynamic`: a scale per output channel instead of one per tensor.
        bits: of `weight_only`.
        block_size: of `weight_only`: inputs that share a scale.
        compute: of `float16`: `float32` stores 16 bits and widens them on opening; `float16` converts the whole graph, for
            runtimes with such kernels.

    Raises:
        OperationError: the calibration split is empty or has NaN, a pattern matches no layer, or there is nothing to
            quantize.

    Jacob et al., "Quantization and Training of Neural Networks for Efficient Integer-Arithmetic-Only Inference", CVPR 2018.
    """
    settings = Settings(
        samples, calibration, percentile, activations, reduce_range, per_channel, bits, block_size, compute
    )
    request = _prepare(model, ctx, settings, method=method, include=include, exclude=exclude)
    report = _apply(request, method)
    from ops.quantize.methods.fidelity import note_distance

    report.warnings.extend(_saturation(report.notes))
    _name_result(request)
    if method in _DEFAULT:
        from ops.quantize.methods.embeddings import quantize_embeddings

        report.notes["embeddings_quantized"] = quantize_embeddings(request.result, request.layers)
    ctx.note("method", method)
    for name, value in report.notes.items():
        ctx.note(name, value)
    sizes = {name: shape for name, (_, shape) in model.architecture.inputs.items()}
    _note_kernels(ctx, request, report, method, sizes)
    note_distance(request, model, method)
    shutil.rmtree(request.work)
    return OnnxModel(request.result, model.architecture)


def _saturation(notes: Mapping[str, Any]) -> list[str]:
    """Say whether this processor cannot run the result as it is meant: it was then planned for another one."""
    eight_bits = (
        notes.get("weight_type") == "int8" and notes.get("reduce_range") is False
    )  # blocks of weights have none
    if not (eight_bits and processor().reduce_range):
        return []
    return [
        "The weights have 8 bits, as the plan says, but the processor that made this model has no VNNI: there, sums of "
        "8-bit products saturate and answers differ. Set reduce_range: true for such machines"
    ]


def _prepare(
    model: OnnxModel,
    ctx: Context,
    settings: Settings,
    *,
    method: Method,
    include: Sequence[str],
    exclude: Sequence[str],
) -> Request:
    """Name nodes after layers, choose layers, and write the graph where the methods take it up."""
    from ops.onnx_graph.layers import drop_records, layer_records, matrix_nodes, name_after_layers
    from ops.onnx_graph.opset import read_supported_graph
    from ops.onnx_graph.rewrite import save_apart
    from ops.quantize.methods.normalise import constants_to_weights, normalise

    proto = read_supported_graph(model, ctx)
    constants_to_weights(proto, turn=method in _DEFAULT)
    name_after_layers(proto)
    nodes = _float_nodes(proto, matrix_nodes(proto))
    selection = frozenset(_choose(proto, nodes, method, include, exclude))
    if method in _DEFAULT:
        normalise(proto)
    weights_of = {matrix.node.name: matrix.weight for matrix in matrix_nodes(proto)}
    products = [Product(matrix.layer.name, matrix.node.op_type, weights_of.get(matrix.layer.name)) for matrix in nodes]
    records = layer_records(proto)
    drop_records(proto)
    weights = {tensor.name for tensor in proto.graph.initializer}
    inputs = [value.name for value in proto.graph.input if value.name not in weights]
    work = ctx.scratch / "quantizing"
    shutil.rmtree(work, ignore_errors=True)  # left by a run that was killed
    work.mkdir()
    save_apart(proto, work / "named.onnx")
    result = ctx.scratch / "quantized.onnx"
    return Request(work, work / "named.onnx", inputs, products, selection, settings, ctx, result, records)


def _name_result(request: Request) -> None:
    """Let the file say of which layer each of its products is: as the one it was made from did, or by the layer's name."""
    import onnx

    from ops.onnx_graph.layers import matrix_nodes, record_of, restore_records

    model = onnx.load(request.result)
    restore_records(model, request.records)
    layers = {product.layer for product in request.products}
    lost = {
        matrix.node.name: record_of(matrix.node.name, matrix.node.op_type)
        for matrix in matrix_nodes(model)
        if matrix.node.name in layers and matrix.layer.name != matrix.node.name
    }
    restore_records(model, lost)
    if lost or any(request.records.values()):
        onnx.save(model, request.result)


def _float_nodes(proto: Any, nodes: Sequence[MatrixNode]) -> list[MatrixNode]:
    """Leave out what is quantized already."""
    import onnx

    floats = {t.name for t in proto.graph.initializer if t.data_type == onnx.TensorProto.FLOAT}
    remaining = [result for result in nodes if result.weight is None or result.weight in floats]
    if not any(result.weight for result in remaining):
        kinds = {t.name: onnx.TensorProto.DataType.Name(t.data_type).lower() for t in proto.graph.initializer}
        others = sorted({kinds[result.weight] for result in nodes if result.weight in kinds})
        reason = (
            f"its weights are {' and '.join(others)}; give the file in float32"
            if set(others) & {"float16", "bfloat16", "double"}
            else "it is quantized already, or has no layers that `quantize` knows"
        )
        raise OperationError(f"The model has no convolution or linear layer with float32 weights: {reason}")
    return remaining


def _choose(
    proto: Any, nodes: Sequence[MatrixNode], method: Method, include: Sequence[str], exclude: Sequence[str]
) -> list[str]:
    from ops.core.selector import choose
    from ops.quantize.methods.embeddings import embedding_layers
    from ops.quantize.methods.half import storable

    able, default = _ABLE.get(method, ()), _DEFAULT.get(method, ())
    # products of two activations have no weight: only static quantization can take them, when asked to
    layers = [matrix.layer for matrix in nodes if matrix.weight or method == "static"] + embedding_layers(proto)
    if method in ("float16", "bfloat16"):
        layers = storable(proto, nodes)
    return [layer.name for layer in choose(layers, include, exclude, default=default, able=able)]


def _apply(request: Request, method: Method) -> Report:
    if method == "static":
        from ops.quantize.methods.static import quantize_static

        return quantize_static(request)
    if method == "dynamic":
        from ops.quantize.methods.dynamic import quantize_dynamic

        return quantize_dynamic(request)
    if method == "weight_only":
        from ops.quantize.methods.weight_only import quantize_weight_only

        return quantize_weight_only(request)
    from ops.quantize.methods.half import quantize_half

    return quantize_half(request, method)


def _note_kernels(
    ctx: Context, request: Request, report: Report, method: Method, sizes: Mapping[str, Sequence[int]]
) -> None:
    """Record what ONNX Runtime makes of the result: by layer, and as shares of the multiply-accumulates.

    Args:
        ctx: takes the notes.
        request: what was asked for, and the result.
        report: what the method says of it.
        method: its name.
        sizes: of an instance, by the name of the input.
    """
    from ops.onnx_graph.macs import count_macs, precision_shares
    from ops.onnx_graph.recurrent import GATES

    every = count_macs(request.result, sizes)
    shares = precision_shares(every)
    rows = [row for row in every if row.precision is not None]
    kernels = {row.layer for row in rows if row.precision and row.precision.startswith("int")}
    integer = [product.layer for product in request.products if product.layer in kernels]
    body_layers = [row.layer for row in every if row.precision is None]
    ctx.note("mac_shares", shares)
    if not body_layers:
        ctx.note("integer_mac_share", shares.get("int8", 0.0))
    if method in _DEFAULT:
        ctx.note("layers_quantized", integer)
        recurrent = {row.layer: _RECURRENT for row in rows if row.operator in GATES and row.precision != "int8"}
        ctx.note("layers_in_float", _reasons(request, report, integer) | recurrent)
    warnings = list(report.warnings)
    if body_layers:
        warnings.append(
            "Products in the bodies of If, Loop and Scan are left as they are, and how often they run is not known: "
            + ", ".join(body_layers[:_MOST_TOLD])
            + (f" and {len(body_layers) - _MOST_TOLD} more" if len(body_layers) > _MOST_TOLD else "")
        )
    elif method == "static" and shares.get("int8", 0.0) < _SLOW_SHARE:
        warnings.append(
            f"Only {shares.get('int8', 0.0):.0%} of the multiply-accumulates run in integer kernels: the model may be no "
            "faster than float"
        )
    if warnings:
        ctx.note("warnings", warnings)


def _reasons(request: Request, report: Report, integer: Collection[str]) -> dict[str, str]:
    reasons = {}
    for product in request.products:
        name = product.layer
        if name in integer:
            continue
        if name in report.exclusions:
            reasons[name] = report.exclusions[name]
        elif name in request.layers:
            reasons[name] = "ONNX Runtime has no integer kernel for it here"
        elif not product.constant:
            reasons[name] = "a product of two activations; include it by name or with the group attention"
        else:
            reasons[name] = "not chosen"
    return reasons
