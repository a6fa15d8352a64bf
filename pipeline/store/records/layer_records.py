"""What is inside models: facts about tensors and layers. Part of `records`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Layer:
    """Statistics of one tensor of one model. Histograms and comparisons are tables of their own."""

    model_key: str
    tensor: str
    module: str
    module_type: str
    parameter: str
    shape: Sequence[int]
    dtype: str
    bits: float
    size: int
    nonzeros: int
    bytes: int
    minimum: float | None
    maximum: float | None
    mean: float | None
    std: float | None
    abs_sum: float | None
    macs: int | None = None


@dataclass(frozen=True, slots=True)
class Distribution:
    """How the values of one tensor, or of one layer's output, are distributed. Moments are over the finite values."""

    model_key: str
    place: str
    """`parameter`, `buffer` or `activation`."""
    stage: str
    """Of activations: `torch` (the network) or `onnx` (the file that is deployed); empty for tensors."""
    site: str
    """Name of the tensor, or of the layer."""
    module: str
    module_type: str
    position: int
    """Place along the network."""
    shape: Sequence[int]
    """Of the tensor; of an activation empty."""
    count: int
    zeros: int
    nans: int
    infs: int
    minimum: float | None
    maximum: float | None
    mean: float | None
    std: float | None
    abs_sum: float
    square_sum: float
    channels: int | None
    dead_channels: int | None
    """Channels whose weights are all zero; of activations those that never move, or never pass the ReLU behind them."""
    saturated: float | None
    """Share of values outside what their quantized type can represent."""
    low: float
    high: float
    """Limits of the histogram."""
    counts: Sequence[int]
    """Below the limits, equal bins, above the limits, exactly zero."""
    macs: int | None = None
    """Of activations: multiply-accumulates of the layer for one instance."""


@dataclass(frozen=True, slots=True)
class Change:
    """One tensor, or one layer's output, compared with the same of a reference model."""

    model_key: str
    reference_key: str
    place: str
    stage: str
    reference_stage: str
    site: str
    module: str
    position: int
    status: str
    """`compared`, `gone` (not in this model), `new` (not in the reference) or `incomparable`."""
    reason: str
    """Why it was not compared."""
    how: Sequence[str]
    """What was done to compare it, in words: `int8 dequantized`."""
    count: int
    nonfinite: int
    zero_both: int
    zero_here: int
    zero_there: int
    mean_abs_change: float | None
    relative_change: float | None
    sqnr_db: float | None
    cosine: float | None
    low: float | None
    high: float | None
    counts: Sequence[int]
    """Value (rows as in the model's Distribution) by class of relative change, row by row."""
    counted: int
    """Pairs behind `counts`; fewer than `count` for large tensors."""


@dataclass(frozen=True, slots=True)
class LayerTime:
    """What one layer of a deployed file takes for one instance."""

    model_key: str
    target: str
    device: str
    module: str
    """Path of the module in the code; empty: all nodes that belong to none."""
    kernels: Sequence[str]
    """Operators that the runtime runs for it."""
    position: int
    """Place in the order in which layers run."""
    seconds: float
    """The shortest of the profiled runs."""
    runs: int
    threads: int


@dataclass(frozen=True, slots=True)
class Finding:
    """Something conspicuous in a model's layers, in words, with what to do about it."""

    model_key: str
    reference_key: str
    kind: str
    site: str
    weight: float
    """How much it matters, from 0 to 1."""
    text: str
    proposal: str
    """Recipe lines to copy; empty if nothing in a recipe helps."""
