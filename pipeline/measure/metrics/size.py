"""Metrics of how large a model is. Each size has its own name: a pruned file is not smaller until it is compressed."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pipeline.measure.metrics.api import Better, MetricRole, ModelFiles, metric

ZSTD_LEVEL = 3
_CHUNK = 1 << 20


@metric(unit="B", format=",.0f", better=Better.LOWER, primary=True)
def file_bytes(files: ModelFiles) -> float:
    """Size of what would be deployed, with external weights."""
    return sum(file.stat().st_size for file in _all_files(files.file))


@metric(unit="B", format=",.0f", better=Better.LOWER)
def compressed_bytes(files: ModelFiles) -> float:
    """Size of the deployed file after zstd (level 3): what a download costs."""
    import zstandard

    total = 0
    for file in _all_files(files.file):
        compressor = zstandard.ZstdCompressor(level=ZSTD_LEVEL).compressobj(size=file.stat().st_size)
        with file.open("rb") as stream:
            while chunk := stream.read(_CHUNK):
                total += len(compressor.compress(chunk))
        total += len(compressor.flush())
    return total


@metric(unit="B", format=",.0f", better=Better.LOWER)
def ideal_sparse_bytes(files: ModelFiles) -> float | None:
    """Bytes of the weights if zeros were not stored: non-zeros x bits + index, or dense where that is smaller."""
    return sum(_ideal(layer) for layer in files.layers) if files.layers else None


@metric(unit="", format=",.0f", better=Better.LOWER)
def parameters(files: ModelFiles) -> float | None:
    """Number of weights."""
    return sum(int(layer["size"]) for layer in files.layers) if files.layers else None


@metric(unit="", format=",.0f", better=Better.LOWER)
def nonzeros(files: ModelFiles) -> float | None:
    """Number of weights that are not zero."""
    return sum(int(layer["nonzeros"]) for layer in files.layers) if files.layers else None


@metric(unit="", format=".1%", better=Better.HIGHER, primary=True)
def sparsity(files: ModelFiles) -> float | None:
    """Share of the weights that are zero."""
    total = sum(int(layer["size"]) for layer in files.layers)
    return 1 - sum(int(layer["nonzeros"]) for layer in files.layers) / total if total else None


@metric(unit="", format=",.0f", better=Better.LOWER, role=MetricRole.COST)
def macs(files: ModelFiles) -> float | None:
    """Multiply-accumulate operations of one instance, zeros included; of a text at the length of the data set's inputs."""
    return files.macs


@metric(unit="", format=".1%", better=Better.HIGHER, role=MetricRole.COST, runtime=True)
def integer_mac_share(files: ModelFiles) -> float | None:
    """Share of the MACs that the target runs in integer kernels, after its own optimisation."""
    if not files.kernels:
        return None  # the target does not say
    return files.kernels.get("int8", 0.0)  # weight-only kinds (`int4_weights`) multiply in float


@metric(unit="", format=",.0f", better=Better.LOWER, role=MetricRole.COST)
def unfused_batch_norms(files: ModelFiles) -> float | None:
    """Batch normalisations left beside quantized layers: the file was not pre-processed. None of float files."""
    if files.file.suffix != ".onnx":
        return None
    import onnx

    kinds = Counter(node.op_type for node in onnx.load(files.file, load_external_data=False).graph.node)
    quantized = any(kinds[kind] for kind in ("QuantizeLinear", "DequantizeLinear", "QLinearConv", "QLinearMatMul"))
    return kinds["BatchNormalization"] if quantized else None


@metric(unit="", format=",.0f", better=Better.NEITHER)
def fixed_length(files: ModelFiles) -> float | None:
    """Number of tokens that every text must be padded to; none where a file takes any length."""
    if files.file.suffix != ".onnx":
        return None
    import onnx

    from ops.onnx_graph.layers import fixed_length as length_of

    return length_of(onnx.load(files.file, load_external_data=False))


def _all_files(path: Path) -> list[Path]:
    """A file with the external weights beside it (`model.onnx.data`), or all files of an artifact folder."""
    if path.is_dir():
        return sorted(file for file in path.rglob("*") if file.is_file() and file.name != "manifest.json")
    return [path, *sorted(path.parent.glob(f"{path.name}*.data"))]


def _ideal(layer: Mapping[str, Any]) -> int:
    """The index is a bitmap, or one position per non-zero, whichever is smaller."""
    size, nonzeros, bits = int(layer["size"]), int(layer["nonzeros"]), float(layer["bits"])
    position = math.ceil(math.log2(size)) if size > 1 else 1
    sparse = nonzeros * bits + min(size, nonzeros * position)
    return math.ceil(min(size * bits, sparse) / 8)
