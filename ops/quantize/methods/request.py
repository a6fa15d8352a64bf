"""Requests to the methods of `quantize`, and their reports."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from ops.core.operation import Context
from ops.onnx_graph.layers import matrix_nodes, rename_tensors
from ops.onnx_graph.session import open_session


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

    @property
    def activation_type(self) -> Literal["uint8", "int8"]:
        """The plan decides for the processor; without a plan uint8, which every runtime takes."""
        return "uint8" if self.activations == "auto" else self.activations

    @property
    def seven_bits(self) -> bool:
        """The plan decides for the processor; without a plan 7 bits, which are right on every one."""
        return True if self.reduce_range is None else self.reduce_range


@dataclass(frozen=True, slots=True)
class Product:
    """A node that multiplies matrices. (Not the node itself: it would keep the whole model in memory.)"""

    layer: str
    operator: str
    weight: str | None
    """Name of its weight; None if it multiplies two activations."""

    @property
    def constant(self) -> bool:
        """Whether one operand is a weight."""
        return self.weight is not None


@dataclass(frozen=True, slots=True)
class Request:
    """A graph whose matrix nodes bear their layers' names, and which of them to quantize."""

    work: Path
    """A folder for temporary files."""
    source: Path
    """The graph, in that folder, its weights beside it."""
    inputs: Sequence[str]
    products: Sequence[Product]
    layers: frozenset[str]
    """Names of layers."""
    settings: Settings
    ctx: Context
    result: Path
    """Where to write the model."""
    records: Mapping[str, Sequence[tuple[str, str]]] = field(default_factory=dict)
    """Layer -> what the exporter recorded of its module."""


@dataclass(slots=True)
class Report:
    """The report of a method on its result."""

    notes: dict[str, Any]
    exclusions: Mapping[str, str] = field(default_factory=dict)
    """Layer -> why it stays in float although it was chosen."""
    warnings: list[str] = field(default_factory=list)


def prepare_graph(request: Request) -> Path:
    """Let ONNX Runtime fold constants, and infer shapes, as its quantizers need; return the graph, weights beside it.

    What `onnxruntime.quantization.quant_pre_process` does, without holding the model beside the session. What the folding
    renamed gets its name back: nodes that of their layer, weights that of the layer's.
    """
    import onnx

    folded, prepared = request.work / "folded.onnx", request.work / "prepared.onnx"
    open_session(request.source, optimize="basic", save_optimized=folded, save_weights=False)
    model = onnx.load(folded, load_external_data=False)
    name_again(model, request.products)
    onnx.save(model, folded)
    onnx.shape_inference.infer_shapes_path(folded, prepared)
    return prepared


def name_again(model: Any, products: Sequence[Product]) -> None:
    """Give matrix nodes, in place, the names of the layers that they compute, and their weights those of the layers'."""
    by_name = {product.layer: product for product in products}
    by_weight: dict[str, list[str]] = {}
    for product in products:
        by_weight.setdefault(product.weight or "", []).append(product.layer)
    present = {tensor.name for tensor in model.graph.initializer}
    renamed: dict[str, str] = {}
    for matrix in matrix_nodes(model):
        node = matrix.node
        before = next((name for name in by_name if node.name == name or node.name.startswith(f"{name}/")), None)
        alone = by_weight.get(matrix.weight or "", []) if matrix.weight else []
        layer = before or (alone[0] if len(alone) == 1 else None)
        if layer is None:
            continue
        node.name = layer
        own = by_name[layer].weight
        if matrix.weight and own and matrix.weight != own and own not in present:
            renamed[matrix.weight] = own
            present.add(own)
    rename_tensors(model, renamed)
