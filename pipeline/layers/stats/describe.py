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


def statistics(folder: Path, model: Key) -> tuple[list[Layer], list[Distribution]]:
    """Return one Layer per parameter and one Distribution per parameter and buffer of the artifact in `folder`.

    Raises:
        LayerError: if the artifact is gone or damaged.
    """
    return statistics_of(tensors_of(folder), model)


def statistics_of(tensors: Sequence[StoredTensor], model: Key) -> tuple[list[Layer], list[Distribution]]:
    """Return one Layer per parameter and one Distribution per parameter and buffer.

    Raises:
        LayerError: if the values cannot be read.
    """
    from threadpoolctl import threadpool_limits

    layers, distributions = [], []
    # BLAS would share every block's sum between threads, and wait for them longer than it sums
    with threadpool_limits(1, user_api="blas"):
        for position, tensor in enumerate(tensors):
            values = tensor.read()
            summary = summarize(values)
            distributions.append(_distribution(model, tensor, position, values, summary))
            if tensor.role == "parameter":
                layers.append(_layer(model, tensor, summary))
    return layers, distributions


def activation_records(
    model: Key,
    samples: Sequence[SiteSample],
    tensors: Mapping[str, StoredTensor],
    instances: int,
    folds: Mapping[str, str],
) -> list[Distribution]:
    """Return what is recorded of layers' outputs.

    Args:
        model: the model.
        samples: of its layers' outputs.
        tensors: the model's, by name.
        instances: number of instances that were run.
        folds: of a file whose normalisations were folded: convolution -> normalisation, which stands for it.
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
            macs=_macs(tensors.get(f"{_weighted(sample, behind)}.weight"), sample, instances),
            **_columns(sample.summary),
        )
        for sample in samples
    ]


def _weighted(sample: SiteSample, behind: Mapping[str, str]) -> str:
    return behind.get(sample.site, sample.site) if sample.stage == "onnx" else sample.site


def _macs(weight: StoredTensor | None, sample: SiteSample, instances: int) -> int | None:
    """Every output value of a convolution or linear layer is a sum of as many products."""
    if weight is None or len(weight.shape) < 2 or sample.module_type.startswith("Gather"):  # noqa: PLR2004 - a matrix
        return None
    if "Embedding" in sample.module_type or "ConvTranspose" in sample.module_type:
        return None
    return sample.summary.count // instances * weight.products


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
        rows = np.moveaxis(values, tensor.output_axis, 0)
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


def _columns(summary: Summary) -> dict[str, Any]:
    columns = {field.name: getattr(summary, field.name) for field in fields(summary) if field.name != "histogram"}
    histogram = summary.histogram
    return {**columns, "low": histogram.low, "high": histogram.high, "counts": list(histogram.counts)}


def summary_of(record: Distribution) -> Summary:
    """Return the summary that a record was made from."""
    columns = {field.name: getattr(record, field.name) for field in fields(Summary) if field.name != "histogram"}
    return Summary(**columns, histogram=Histogram(record.low, record.high, tuple(record.counts)))
