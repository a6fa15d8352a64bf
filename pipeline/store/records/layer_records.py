"""What is inside models: facts about tensors and layers. Part of `records`.

`counts` are values per row of a histogram; `low` and `high` are the limits of the bins between its outer rows.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

from pipeline.store.records.columns import Int32, Sql, record_table


@record_table("layer", model_key="model")
@dataclass(frozen=True, slots=True)
class Layer:
    """Statistics of one tensor of one model. Histograms and comparisons are tables of their own."""

    model_key: Annotated[str, "The model."]
    tensor: Annotated[str, "Name of the tensor: module and parameter."]
    module: Annotated[str, "Path of the module in the code."]
    module_type: Annotated[str, "Class of the module, or operator of the graph."]
    parameter: Annotated[str, "weight, bias, ..."]
    shape: Annotated[Sequence[int], "List of dimensions."]
    dtype: Annotated[str, "Type as stored."]
    bits: Annotated[float, "Bits per value as stored."]
    size: Annotated[int, "Number of values."]
    nonzeros: Annotated[int, "Values other than zero."]
    bytes: Annotated[int, "Bytes as stored."]
    minimum: Annotated[float | None, "Smallest value."]
    maximum: Annotated[float | None, "Largest value."]
    mean: Annotated[float | None, "Mean."]
    std: Annotated[float | None, "Standard deviation."]
    abs_sum: Annotated[float | None, "Sum of absolute values."]
    macs: Annotated[
        int | None, "Multiply-accumulates of its layer for one instance, where they were stored with it."
    ] = None


@record_table("distribution", model_key="model")
@dataclass(frozen=True, slots=True)
class Distribution:
    """How the values of one tensor, or of one layer's output, are distributed. Moments are over the finite values."""

    model_key: Annotated[str, "The model."]
    place: Annotated[
        str,
        Sql(values=("parameter", "buffer", "activation")),
        "parameter, buffer (running statistics) or activation (outputs on a fixed sample of the evaluation split).",
    ]
    stage: Annotated[str, "Of activations: torch (the network) or onnx (the file that is deployed); empty for tensors."]
    site: Annotated[str, "Name of the tensor, or of the layer."]
    module: Annotated[str, "Path of the module in the code."]
    module_type: Annotated[str, "Class of the module, or operator of the graph."]
    position: Annotated[Int32, "Place along the network, from 0."]
    shape: Annotated[Sequence[int], "List of dimensions of a tensor."]
    count: Annotated[int, "Number of values."]
    zeros: Annotated[int, "Values that are exactly zero."]
    nans: Annotated[int, "Values that are not a number."]
    infs: Annotated[int, "Infinite values."]
    minimum: Annotated[float | None, "Smallest finite value."]
    maximum: Annotated[float | None, "Largest finite value."]
    mean: Annotated[float | None, "Mean of the finite values."]
    std: Annotated[float | None, "Standard deviation of the finite values."]
    abs_sum: Annotated[float, "Sum of absolute finite values."]
    square_sum: Annotated[float, "Sum of squares of the finite values."]
    channels: Annotated[int | None, "Output channels."]
    dead_channels: Annotated[
        int | None,
        "Channels whose weights are all zero; of activations those that never move, or never pass the ReLU behind them.",
    ]
    saturated: Annotated[
        float | None,
        "Share of values outside what their quantized type can represent; NULL without quantization.",
    ]
    low: Annotated[float, "Lower limit of the histogram."]
    high: Annotated[float, "Upper limit of the histogram."]
    counts: Annotated[Sequence[int], "Values below the limits, in equal bins, above the limits, and exactly zero."]
    macs: Annotated[int | None, "Of activations: multiply-accumulates of the layer for one instance."] = None


@record_table("change", model_key="model", reference_key="model")
@dataclass(frozen=True, slots=True)
class Change:
    """One tensor, or one layer's output, compared with the same of a reference model."""

    model_key: Annotated[str, "The model."]
    reference_key: Annotated[str, "The model that it is compared with."]
    place: Annotated[str, "parameter, buffer or activation."]
    stage: Annotated[str, "Of activations: torch or onnx, of the model."]
    reference_stage: Annotated[str, "Of activations: torch or onnx, of the reference."]
    site: Annotated[str, "Name of the tensor, or of the layer."]
    module: Annotated[str, "Path of the module in the code."]
    position: Annotated[Int32, "Place along the network, from 0."]
    status: Annotated[
        str,
        Sql(values=("compared", "gone", "new", "incomparable")),
        "compared, gone (not in this model), new (not in the reference) or incomparable.",
    ]
    reason: Annotated[str, "Why it was not compared."]
    how: Annotated[Sequence[str], "List of what was done to compare it: int8 dequantized, factors multiplied, ..."]
    count: Annotated[int, "Number of pairs of values; of activations at fixed places."]
    nonfinite: Annotated[int, "Pairs in which a value is not finite: counted here, left out of everything else."]
    zero_both: Annotated[int, "Zero in both."]
    zero_here: Annotated[int, "Zero in the model only."]
    zero_there: Annotated[int, "Zero in the reference only."]
    mean_abs_change: Annotated[float | None, "Mean of |model - reference|."]
    relative_change: Annotated[float | None, "Sum of |model - reference| over the sum of |reference|."]
    sqnr_db: Annotated[
        float | None,
        "10 log10 of the reference's energy over that of the difference: inf where nothing changed, -inf where the reference is zero.",
    ]
    cosine: Annotated[float | None, "Cosine of the angle between the two, as vectors."]
    low: Annotated[float | None, "Lower limit of the bins of counts."]
    high: Annotated[float | None, "Upper limit of the bins of counts."]
    counts: Annotated[
        Sequence[int],
        "Value (rows as in distributions) by relative change (none, to 1 %, to 10 %, to 50 %, below 100 %, 100 % or more), row by row.",
    ]
    counted: Annotated[int, "Pairs behind counts; fewer than count for large tensors."]


@record_table("layer_time", model_key="model", device="device")
@dataclass(frozen=True, slots=True)
class LayerTime:
    """What one layer of a deployed file takes for one instance."""

    model_key: Annotated[str, "The model."]
    target: Annotated[str, "The runtime."]
    device: Annotated[str, "The machine."]
    module: Annotated[str, "Path of the module in the code; empty: everything that belongs to none."]
    kernels: Annotated[Sequence[str], "List of the operators that the runtime runs for it."]
    position: Annotated[Int32, "Place in the order in which layers run, from 0."]
    seconds: Annotated[
        float,
        "Seconds for one instance, the shortest of the runs. A profiler takes time itself, and other work may run: "
        "for latencies see timings.",
    ]
    runs: Annotated[Int32, "Number of runs."]
    threads: Annotated[Int32, "Threads of the runtime."]


@record_table("finding", model_key="model")
@dataclass(frozen=True, slots=True)
class Finding:
    """Something conspicuous in a model's layers, in words, with what to do about it."""

    model_key: Annotated[str, "The model."]
    reference_key: Annotated[str, "The model that it was compared with."]
    kind: Annotated[
        str,
        "What was found: flattened_norm, over_pruned, dead_channels, saturated, diverges, not_finite, outliers.",
    ]
    site: Annotated[str, "The layer or tensor."]
    weight: Annotated[float, "How much it matters, from 0 to 1."]
    text: Annotated[str, "The finding."]
    proposal: Annotated[str, "Recipe lines to copy; empty if nothing in a recipe helps."]
