"""Lints of quantized files: int8 in name only."""

from __future__ import annotations

from pipeline.measure.lints.api import Finding, Subject, lint
from pipeline.measure.metrics.size import integer_mac_share, unfused_batch_norms

_ENOUGH = 0.8


@lint
def low_integer_share(subject: Subject) -> Finding | None:
    """A model quantized to int8 computes much of its work in float."""
    share = subject.value(integer_mac_share)
    if subject.kind != "quantize" or subject.params.get("method", "static") not in ("static", "dynamic"):
        return None
    if share is None or share >= _ENOUGH:
        return None
    return Finding(
        f"Only {share:.0%} of the MACs run in integer kernels on {subject.target}",
        "See layers_in_float in the model's notes; quantize the layers between the quantized ones too, and use uint8 "
        "activations on x86",
        {integer_mac_share.__name__: share},
    )


@lint
def quantized_without_preprocessing(subject: Subject) -> Finding | None:
    """Batch normalisation stands unfused among quantized layers."""
    unfused = subject.value(unfused_batch_norms)
    if not unfused:
        return None
    return Finding(
        f"{unfused:.0f} batch normalisations stand unfused in the quantized file: each costs a trip from int8 to float and back",
        "Pre-process before quantizing (onnxruntime.quantization.shape_inference.quant_pre_process), or let `quantize` do it",
        {unfused_batch_norms.__name__: unfused},
    )
