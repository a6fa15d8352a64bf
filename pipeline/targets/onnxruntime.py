"""ONNX Runtime on the CPU."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from ops.core.operation import Format
from ops.onnx_graph.session import CPU, Optimization
from pipeline.targets._onnxruntime import (
    OrtSession,
    first_line,
    open_runtime_session,
    require_provider,
    runtime_errors,
    runtime_options,
)
from pipeline.targets.api import CPU_CHANNELS, NodeTime, TargetError, target

if TYPE_CHECKING:
    import numpy as np

_PROVIDER = CPU[0][0]


@target("onnxruntime")
class OnnxRuntime:
    """ONNX Runtime's CPU provider: explicit threads, no spinning, sequential execution, all graph optimisations."""

    name: ClassVar[str]
    accepts: ClassVar[Format] = Format.ONNX
    channel_multiple: ClassVar[int] = CPU_CHANNELS
    packages: ClassVar[tuple[str, ...]] = ("onnxruntime", "onnxruntime-gpu")
    clock: ClassVar[Literal["cpu", "wall"]] = "cpu"

    def __init__(self, *, optimization: Optimization = "all") -> None:
        self._optimization = optimization

    def require(self) -> None:
        """Check that onnxruntime is installed."""
        require_provider(_PROVIDER)

    def describe(self) -> dict[str, Any]:
        """Version and options."""
        import onnxruntime as ort

        return {
            "runtime": "onnxruntime",
            "version": ort.__version__,
            "provider": _PROVIDER,
            "optimization": self._optimization,
            "execution": "sequential",
            "inter_op_threads": 1,
            "spinning": False,
        }

    def open(self, model: Path, *, threads: int) -> OrtSession:
        """Open an ONNX file."""
        self.require()
        options = runtime_options(threads, self._optimization)
        return OrtSession(open_runtime_session(model, options, CPU), model)

    def node_times(
        self, model: Path, inputs: Mapping[str, np.ndarray], *, threads: int, folder: Path
    ) -> list[NodeTime]:
        """Time every node of the graph that ONNX Runtime makes of the file, under its profiler.

        Args:
            model: the ONNX file.
            inputs: one batch, by the graph's inputs.
            threads: those of the session.
            folder: where the profile is written meanwhile.

        Raises:
            MissingRuntimeError: ONNX Runtime is not installed.
        """
        from pipeline.targets._onnxruntime_profile import node_times

        self.require()
        return node_times(model, runtime_options(threads, self._optimization), CPU, inputs, folder)

    def kernels(self, model: Path) -> Mapping[str, float]:
        """Share of the MACs per precision, read off the graph that ONNX Runtime made of the file."""
        from ops.onnx_graph.macs import count_macs, precision_shares
        from pipeline.models.storage import input_sizes

        try:
            return precision_shares(count_macs(model, input_sizes(model)))
        except runtime_errors() as error:
            raise TargetError(f"{model}: ONNX Runtime refuses the model: {first_line(error)}") from None
