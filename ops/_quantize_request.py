"""What the methods of `quantize` are given and give back."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from ops._onnx_layers import MatrixNode
from ops.api import Context


@dataclass(frozen=True, slots=True)
class Settings:
    """The parameters of `quantize` that its methods share out among themselves."""

    samples: int
    calibration: Literal["minmax", "entropy", "percentile"]
    percentile: float
    activations: Literal["auto", "uint8", "int8"]
    reduce_range: bool | None
    per_channel: bool
    bits: Literal[4, 8]
    block_size: int
    compute: Literal["float32", "float16"]


@dataclass(frozen=True, slots=True)
class Request:
    """A graph whose matrix nodes bear their layers' names, and which of them to quantize."""

    model: Any
    """onnx.ModelProto, the method's own copy."""
    nodes: Sequence[MatrixNode]
    chosen: frozenset[str]
    """Names of layers."""
    settings: Settings
    ctx: Context
    result: Path
    """Where to write the model."""


@dataclass(slots=True)
class Report:
    """What a method says about its result."""

    notes: dict[str, Any]
    left: Mapping[str, str] = field(default_factory=dict)
    """Layer -> why it stays in float although it was chosen."""
    warnings: list[str] = field(default_factory=list)


def prepare(request: Request) -> Path:
    """Let ONNX Runtime fold constants and infer shapes, which its quantizers need, and return the file."""
    import onnx
    from onnxruntime.quantization import quant_pre_process

    named, prepared = request.ctx.scratch / "named.onnx", request.ctx.scratch / "prepared.onnx"
    onnx.save(request.model, named)
    quant_pre_process(named, prepared, skip_symbolic_shape=True)
    named.unlink()
    return prepared
