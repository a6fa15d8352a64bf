"""OpenVINO on the CPU."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Self

from ops.core.operation import Format
from pipeline.core.extras import install_command
from pipeline.core.machine.cpu_quota import cores
from pipeline.targets.api import CPU_CHANNELS, TargetError, needs_module, target

if TYPE_CHECKING:
    import numpy as np
    import openvino as ov

Precision = Literal["f32", "bf16", "f16"]
_INFO = ("layerType", "originalLayersNames", "primitiveType")
_MATRIX_LAYERS = ("Convolution", "Deconvolution", "FullyConnected", "MatMul")
_KERNELS = {"i8": "int8", "u8": "int8", "f32": "float32", "f16": "float16", "bf16": "bfloat16"}


@target("openvino")
class OpenVino:
    """OpenVINO's CPU device: latency hint, one stream, explicit threads, no silent change of precision."""

    name: ClassVar[str]
    accepts: ClassVar[Format] = Format.ONNX
    channel_multiple: ClassVar[int] = CPU_CHANNELS
    packages: ClassVar[tuple[str, ...]] = ("openvino",)
    clock: ClassVar[Literal["cpu", "wall"]] = "cpu"

    def __init__(self, *, precision: Precision = "f32") -> None:
        self._precision = precision

    def require(self) -> None:
        """Check that openvino is installed."""
        needs_module("openvino", install=install_command("openvino"))

    def describe(self) -> dict[str, Any]:
        """Version and options."""
        import openvino as ov

        return {"runtime": "openvino", "version": ov.__version__, "device": "CPU", **self._properties(threads=None)}

    def open(self, model: Path, *, threads: int) -> OpenVinoSession:
        """Open an ONNX file."""
        return OpenVinoSession(self._compile(model, threads or cores()), model)

    def kernels(self, model: Path) -> Mapping[str, float]:
        """Share of the MACs per precision, read off OpenVINO's execution graph by the names of the file's nodes."""
        precisions = _precisions(self._compile(model, 1))
        totals: dict[str, int] = {}
        for names, macs in _work(model):
            kind = next((precisions[name] for name in names if name in precisions), "unknown")
            totals[kind] = totals.get(kind, 0) + macs
        whole = sum(totals.values())
        return {kind: macs / whole for kind, macs in sorted(totals.items())} if whole else {}

    def _properties(self, *, threads: int | None) -> dict[str, Any]:
        # without the precision hint a CPU with bf16 units computes float models in bf16, and says nothing
        selection = {"PERFORMANCE_HINT": "LATENCY", "NUM_STREAMS": "1", "INFERENCE_PRECISION_HINT": self._precision}
        return selection if threads is None else {**selection, "INFERENCE_NUM_THREADS": threads}

    def _compile(self, model: Path, threads: int) -> ov.CompiledModel:
        self.require()
        import openvino as ov

        if not model.is_file():
            raise TargetError(f"{model}: there is no such ONNX file")
        try:
            core = ov.Core()
            return core.compile_model(core.read_model(model), "CPU", self._properties(threads=threads))
        except RuntimeError as error:
            raise TargetError(f"{model}: OpenVINO refuses the model: {_reason(error)}") from None


class OpenVinoSession:
    """An open model with one inference request."""

    def __init__(self, compiled: ov.CompiledModel, model: Path) -> None:
        self._request, self._model = compiled.create_infer_request(), model
        self.inputs = tuple(value.get_any_name() for value in compiled.inputs)
        self.outputs = tuple(value.get_any_name() for value in compiled.outputs)
        shapes = [value.get_partial_shape() for value in compiled.inputs]
        self.fixed_length = any(len(shape) == 2 and shape[1].is_static for shape in shapes)  # noqa: PLR2004 - texts

    def run(self, inputs: Mapping[str, np.ndarray]) -> tuple[np.ndarray, ...]:
        """Return the outputs, copied out of OpenVINO's own buffers, which the next run overwrites."""
        try:
            # shared inputs: a copied input cannot grow from one batch size to a larger one
            result = self._request.infer(dict(inputs), share_inputs=True)
        except (RuntimeError, TypeError, ValueError) as error:
            raise TargetError(f"{self._model}: OpenVINO fails: {_reason(error)}") from None
        return tuple(result.to_tuple())

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        del self._request


def _reason(error: Exception) -> str:
    """The last line of OpenVINO's trace of its own source files says what happened."""
    lines = [line for line in str(error).splitlines() if line.strip()]
    return lines[-1].strip() if lines else repr(error)


def _work(model: Path) -> list[tuple[tuple[str, ...], int]]:
    """Of every matrix product in the file: the names by which OpenVINO may call it, and its MACs; empty if one's are unknown."""
    import onnx

    from ops.onnx_graph.einsum import einsum_nodes
    from ops.onnx_graph.layers import matrix_nodes
    from ops.onnx_graph.macs import count_macs
    from ops.onnx_graph.recurrent import recurrent_nodes
    from pipeline.models.storage import input_sizes

    graph = onnx.load(model)
    nodes = [matrix.node for matrix in matrix_nodes(graph)] + [matrix.node for matrix in recurrent_nodes(graph)]
    nodes += einsum_nodes(graph)
    counts = [row.macs for row in count_macs(model, input_sizes(model))]
    known = [count for count in counts if count is not None]
    if len(known) < len(counts):
        return []
    return [((node.name, *node.output), count) for node, count in zip(nodes, known, strict=True)]


def _precisions(compiled: ov.CompiledModel) -> dict[str, str]:
    """Precision in which each node of the file is executed. Fused nodes share their kernel's."""
    result = {}
    for node in compiled.get_runtime_model().get_ops():
        info = {key: str(value.astype(str)) for key, value in node.get_rt_info().items() if key in _INFO}
        kernel = info.get("primitiveType", "").rpartition("_")[2].lower()
        if info.get("layerType") in _MATRIX_LAYERS and kernel in _KERNELS:
            for name in info.get("originalLayersNames", "").split(","):
                result[name.partition("/")[0]] = _KERNELS[kernel]
    return result
