"""Raise the operator set of a graph, where an operation needs operators that are newer than the graph."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Literal

from ops.core.errors import OperationError
from ops.core.operation import Context, OnnxModel

if TYPE_CHECKING:
    import numpy as np

NEEDED = 13
"""The first operator set in which QuantizeLinear and DequantizeLinear have a scale per channel."""
_IR = 8
_SPLITS: tuple[Literal["calibration", "train"], ...] = ("calibration", "train")
_TOLERANCE = 1e-4
"""Largest difference over the largest output: the same operators may run as other kernels."""


def read_supported_graph(model: OnnxModel, ctx: Context) -> Any:
    """Read a graph (onnx.ModelProto) with its weights, in the operators that quantization needs.

    What was converted is noted. On instances of the data, the outputs must stay what they were.

    Raises:
        OperationError: if the file is damaged, or cannot be converted, with the reason.
    """
    import onnx
    from google.protobuf.message import DecodeError  # type: ignore[import-untyped]  # comes with onnx, without types

    try:
        graph = onnx.load(model.path)
    except (DecodeError, OSError, ValueError) as error:
        raise OperationError(f"{model.path} is damaged: it cannot be read as an ONNX model ({error})") from None
    if not graph.graph.output:
        raise OperationError(f"{model.path} is damaged: the graph has no outputs")
    old = opset_of(graph)
    if old >= NEEDED:
        return graph
    newer = with_operators(graph, _instances(model, ctx))
    ctx.note("operator_set", {"was": old, "is": NEEDED})
    return newer


def _instances(model: OnnxModel, ctx: Context) -> dict[str, np.ndarray]:
    """Inputs of two instances of the data, to try a graph on; zeros where there are none."""
    import numpy as np

    for split in _SPLITS:
        for batch in ctx.data.batches(split, batch_size=2, samples=2):
            return dict(batch.inputs)
    return {name: np.zeros((2, *shape), dtype) for name, (dtype, shape) in model.architecture.inputs.items()}


def with_operators(model: Any, inputs: Mapping[str, np.ndarray]) -> Any:
    """Convert an onnx.ModelProto to the operator set that quantization needs.

    Args:
        model: of an older operator set.
        inputs: of a few instances, by name: the outputs on them must stay what they were.

    Raises:
        OperationError: if it cannot be converted, with the reason.
    """
    import onnx
    from onnx import version_converter

    request = f"The file's operator set is {opset_of(model)}, quantizing needs {NEEDED}, and it cannot be converted"
    older = onnx.ModelProto()
    older.CopyFrom(model)
    older.ir_version = max(model.ir_version, _IR)
    try:
        newer = version_converter.convert_version(older, NEEDED)
    except Exception as error:  # noqa: BLE001 - boundary: the converter raises anything
        lines = [line.strip() for line in str(error).splitlines() if line.strip()]
        cause = lines[-1] if lines else type(error).__name__
        raise OperationError(
            f"{request}: {cause}. Export the network again with opset_version={NEEDED} or newer"
        ) from None
    _compare(model, newer, inputs, request)
    return newer


def opset_of(model: Any) -> int:
    """The operator set of ONNX' own operators."""
    return max((entry.version for entry in model.opset_import if entry.domain in ("", "ai.onnx")), default=NEEDED)


def _compare(before: Any, after: Any, inputs: Mapping[str, np.ndarray], request: str) -> None:
    import numpy as np

    from ops.onnx_graph.session import open_session

    names = [value.name for value in before.graph.output]
    try:
        runs = [_outputs(open_session(graph.SerializeToString()), names, inputs) for graph in (before, after)]
    except Exception as error:  # noqa: BLE001 - boundary: ONNX Runtime's errors share no base class
        raise OperationError(f"{request}: {str(error).strip().splitlines()[0]}") from None
    for name, old, new in zip(names, *runs, strict=True):
        if getattr(old, "dtype", None) is None or old.dtype.kind != "f":
            continue
        largest = max(float(np.abs(old).max(initial=0.0)), 1e-6)
        difference = float(np.abs(old - new).max(initial=0.0))
        if not difference <= _TOLERANCE * largest:
            raise OperationError(
                f"{request}: output '{name}' would change by {difference:.3g}, where the largest is {largest:.3g}. Export the "
                f"network again with opset_version={NEEDED} or newer"
            )


def _outputs(session: Any, names: list[str], inputs: Mapping[str, np.ndarray]) -> list[Any]:
    in_use = {value.name: inputs[value.name] for value in session.get_inputs()}
    return list(session.run(names, in_use))
