"""Statistics of a model's tensors, one tensor in memory at a time."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ops.api import Format, TorchModel
from pipeline import formats
from pipeline.keys import Key
from pipeline.store.records import Layer

if TYPE_CHECKING:
    import onnx

_QUANTIZED = "_quantized"
_CONSTANTS = ("_scale", "_zero_point", "_QuantizeLinear_Input", "_DequantizeLinear_Output")
_ZERO_POINT = 2  # which input of DequantizeLinear it is
_SMALL = 1  # scalars are constants of the graph, not parameters


def layers_of(folder: Path, model: Key) -> list[Layer]:
    """Return one record per parameter tensor of the artifact in `folder`."""
    found = _torch_tensors(folder) if formats.format_of(folder) is Format.TORCH else _onnx_tensors(folder)
    return [_statistics(model, tensor) for tensor in found]


@dataclass(frozen=True, slots=True)
class _Tensor:
    name: str
    module_type: str
    dtype: str
    """As stored."""
    values: np.ndarray
    """In float."""
    bits: float
    bytes: int


def _torch_tensors(folder: Path) -> Iterator[_Tensor]:
    model = formats.load(folder)
    assert isinstance(model, TorchModel)
    types = {name: type(part).__name__ for name, part in model.module.named_modules()}
    for name, parameter in model.module.named_parameters():
        values = parameter.detach().float().numpy()
        kind, dtype = types.get(name.rpartition(".")[0], ""), str(parameter.dtype).removeprefix("torch.")
        yield _Tensor(name, kind, dtype, values, 8 * parameter.element_size(), parameter.nbytes)


def _onnx_tensors(folder: Path) -> Iterator[_Tensor]:
    import onnx
    from onnx import numpy_helper

    graph = onnx.load(folder / formats.ONNX_FILE).graph
    tensors = {tensor.name: tensor for tensor in graph.initializer}
    users = {name: node.op_type for node in graph.node for name in node.input}
    dequantizers = {node.input[0]: node for node in graph.node if node.op_type == "DequantizeLinear"}
    readers = {node.output[0]: users.get(node.output[0], "") for node in dequantizers.values()}
    for name, tensor in tensors.items():
        raw = numpy_helper.to_array(tensor)
        if raw.size <= _SMALL or name.endswith(_CONSTANTS):
            continue
        dtype, bits = str(raw.dtype), 8 * raw.itemsize
        if name in dequantizers:
            node = dequantizers[name]
            values = _dequantized(raw, node, tensors)
            yield _Tensor(name.removesuffix(_QUANTIZED), readers[node.output[0]], dtype, values, bits, raw.nbytes)
        elif raw.dtype.kind == "f":
            yield _Tensor(name, users.get(name, ""), dtype, raw.astype(np.float32), bits, raw.nbytes)


def _dequantized(raw: np.ndarray, node: onnx.NodeProto, tensors: dict[str, Any]) -> np.ndarray:
    from onnx import numpy_helper

    scale = numpy_helper.to_array(tensors[node.input[1]]).astype(np.float32)
    zero = np.float32(0)
    if len(node.input) > _ZERO_POINT and node.input[_ZERO_POINT] in tensors:
        zero = numpy_helper.to_array(tensors[node.input[_ZERO_POINT]]).astype(np.float32)
    axis = next((attribute.i for attribute in node.attribute if attribute.name == "axis"), 1)
    shape = [-1 if index == axis else 1 for index in range(raw.ndim)] if scale.ndim else []
    values: np.ndarray = (raw.astype(np.float32) - zero.reshape(shape)) * scale.reshape(shape)
    return values


def _statistics(model: Key, tensor: _Tensor) -> Layer:
    """Moments over the finite values, in float64: a float32 sum of millions of small values loses them."""
    module, _, parameter = tensor.name.rpartition(".")
    values = tensor.values
    finite = values[np.isfinite(values)].astype(np.float64)
    some = finite.size > 0
    return Layer(
        model_key=model,
        tensor=tensor.name,
        module=module,
        module_type=tensor.module_type,
        parameter=parameter,
        shape=list(values.shape),
        dtype=tensor.dtype,
        bits=tensor.bits,
        size=values.size,
        nonzeros=int(np.count_nonzero(values)),
        bytes=tensor.bytes,
        minimum=float(finite.min()) if some else None,
        maximum=float(finite.max()) if some else None,
        mean=float(finite.mean()) if some else None,
        std=float(finite.std()) if some else None,
        abs_sum=float(np.abs(finite).sum()) if some else None,
    )
