"""Columns of the matrix: an operation with parameters, and how its result is checked by hand."""

from __future__ import annotations

from ops.core.model import TorchModel
from scripts.bench.matrix.check_files import check_export, check_quantized
from scripts.bench.matrix.check_pruning import (
    check_activation,
    check_channels,
    check_gradient,
    check_magnitude,
    check_pattern,
    check_sparsegpt,
)
from scripts.bench.matrix.check_recovery import (
    check_biases,
    check_factors,
    check_finetune,
    check_load,
    check_palette,
    check_reconstruction,
    check_restore,
    check_smooth,
    check_statistics,
    check_train,
)
from scripts.bench.matrix.data import INSTANCES
from scripts.bench.matrix.subjects import STEP, Column, Stranger

_MASKED = ("load", "magnitude_prune")


def _after_pruning(stranger: Stranger) -> TorchModel:
    return stranger.pruned


COLUMNS: tuple[Column, ...] = (
    Column("load", check_load),
    Column("load_onnx", check_export),
    Column("train", check_train, {**STEP, "zero_init_residual": False}),
    Column("magnitude_prune", check_magnitude, {"sparsity": 0.5}),
    Column("gradient_prune", check_gradient, {"sparsity": 0.5, "samples": INSTANCES}),
    Column("activation_prune", check_activation, {"sparsity": 0.5, "samples": INSTANCES}, "wanda"),
    Column(
        "activation_prune", check_sparsegpt, {"sparsity": 0.5, "samples": INSTANCES, "method": "sparsegpt"}, "sparsegpt"
    ),
    Column("nm_prune", check_pattern),
    Column("channel_prune", check_channels, {"ratio": 0.5, "round_to": 1}),
    Column("factorize", check_factors, {"ratio": 0.5}),
    Column("palettize", check_palette),
    Column("smooth", check_smooth, {"samples": INSTANCES}),
    Column("finetune", check_finetune, {**STEP, "clip_norm": None}, after=_after_pruning, before=_MASKED),
    Column(
        "calibrate", check_statistics, {"samples": INSTANCES}, "batch_norm", after=_after_pruning, before=_MASKED
    ),
    Column(
        "calibrate", check_biases, {"samples": INSTANCES, "method": "bias_correction"}, "bias_correction",
        after=_after_pruning, before=_MASKED,
    ),
    Column(
        "calibrate", check_reconstruction, {"samples": INSTANCES, "method": "reconstruct"}, "reconstruct",
        after=_after_pruning, before=_MASKED,
    ),
    Column("restore", check_restore, {"include": ["head"]}, after=_after_pruning, before=_MASKED),
    Column("quantize", check_quantized("static"), {"samples": INSTANCES}, "static"),
    Column("quantize", check_quantized("dynamic"), {"method": "dynamic"}, "dynamic"),
    Column("quantize", check_quantized("weight_only"), {"method": "weight_only", "bits": 4}, "weight_only"),
    Column("quantize", check_quantized("float16"), {"method": "float16"}, "float16"),
    Column("quantize", check_quantized("bfloat16"), {"method": "bfloat16"}, "bfloat16"),
)  # fmt: skip
