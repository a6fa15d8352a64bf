"""Description of a model by its tensors alone: one record of sizes and one distribution per tensor."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.core.keys import Key
from pipeline.layers.stats.activation_sampling import SiteSample
from pipeline.layers.stats.histogram import Histogram, Summary, summarize
from pipeline.layers.tensors.open import tensors_of
from pipeline.layers.tensors.tensor import StoredTensor
from pipeline.store.records.run_records import Distribution, Layer

_TURNED = "Conv1D"
"""What transformers calls GPT-2's linear layer, whose weight is (inputs, outputs). Torch's convolution is `Conv1d`."""


def statistics(folder: Path, model: Key) -> tuple[list[Layer], list[Distribution]]:
    """Return one Layer per parameter and one Distribution per parameter and buffer of the artifact in `folder`.

    Raises:
        LayerError: if the artifact is gone or damaged.
    """
    from threadpoolctl import threadpool_limits

    layers, distributions = [], []
    # BLAS would share every block's sum between threads, and wait for them longer than it sums
    with threadpool_limits(1, user_api="blas"):
        for position, tensor in enumerate(tensors_of(folder)):
            values = tensor.read()
            summary = summarize(values)
            distributions.append(_distribution(model, tensor, position, values, summary))
            if tensor.role == "parameter":
                layers.append(_layer(model, tensor, summary))
    return layers, distributions


def activation_records(
    model: Key,
    samples: Sequence[SiteSample],
    shapes: Mapping[str, tuple[int, ...]],
    instances: int,
    folds: Mapping[str, str],
) -> list[Distribution]:
    """Return what is recorded of layers' outputs; `shapes` are those of the model's tensors.

    In a file whose normalisations were folded (convolution -> normalisation), these stand for their convolutions.
    """
    behind = {norm: conv for conv, norm in folds.items()}
    return [
        Distribution(
            model_key=model,
            place="activation",
            stage=sample.stage,
            site=sample.site,
            module=sample.site,
            module_type=sample.module_type,
            position=sample.position,
            shape=[],
            channels=sample.channels,
            dead_channels=sample.dead,
            saturated=sample.saturated,
            macs=_macs(shapes.get(f"{_weighted(sample, behind)}.weight"), sample, instances),
            **_columns(sample.summary),
        )
        for sample in samples
    ]


def _weighted(sample: SiteSample, behind: Mapping[str, str]) -> str:
    return behind.get(sample.site, sample.site) if sample.stage == "onnx" else sample.site


def _macs(shape: tuple[int, ...] | None, sample: SiteSample, instances: int) -> int | None:
    """Every output value of a convolution or linear layer is a product of a row of weights, of GPT-2's layers a column."""
    if shape is None or len(shape) < 2 or sample.module_type.startswith("Gather"):  # noqa: PLR2004 - a matrix
        return None
    if "Embedding" in sample.module_type or "ConvTranspose" in sample.module_type:
        return None
    inputs = shape[:1] if sample.module_type == _TURNED else shape[1:]
    return sample.summary.count // instances * int(np.prod(inputs))


def _layer(model: Key, tensor: StoredTensor, summary: Summary) -> Layer:
    return Layer(
        model_key=model,
        tensor=tensor.name,
        module=tensor.module,
        module_type=tensor.module_type,
        parameter=tensor.parameter,
        shape=list(tensor.shape),
        dtype=tensor.dtype,
        bits=tensor.bits,
        size=summary.count,
        nonzeros=summary.count - summary.zeros,
        bytes=tensor.bytes,
        minimum=summary.minimum,
        maximum=summary.maximum,
        mean=summary.mean,
        std=summary.std,
        abs_sum=summary.abs_sum,
    )


def _distribution(
    model: Key, tensor: StoredTensor, position: int, values: np.ndarray, summary: Summary
) -> Distribution:
    channels = dead = None
    if values.ndim > 1:
        rows = np.moveaxis(values, _channel_axis(tensor), 0)
        channels = len(rows)
        dead = channels - int(np.count_nonzero(rows.reshape(channels, -1).any(axis=1)))
    return Distribution(
        model_key=model,
        place=tensor.role,
        stage="",
        site=tensor.name,
        module=tensor.module,
        module_type=tensor.module_type,
        position=position,
        shape=list(tensor.shape),
        channels=channels,
        dead_channels=dead,
        saturated=None,
        **_columns(summary),
    )


def _channel_axis(tensor: StoredTensor) -> int:
    """Return along which axis a stored weight has its outputs; of a transposed convolution those of one group."""
    turned = tensor.module_type == _TURNED or tensor.module_type.startswith("ConvTranspose")
    return int(turned and tensor.parameter == "weight")


def _columns(summary: Summary) -> dict[str, Any]:
    columns = {field.name: getattr(summary, field.name) for field in fields(summary) if field.name != "histogram"}
    histogram = summary.histogram
    return {**columns, "low": histogram.low, "high": histogram.high, "counts": list(histogram.counts)}


def summary_of(record: Distribution) -> Summary:
    """Return the summary that a record was made from."""
    columns = {field.name: getattr(record, field.name) for field in fields(Summary) if field.name != "histogram"}
    return Summary(**columns, histogram=Histogram(record.low, record.high, tuple(record.counts)))
