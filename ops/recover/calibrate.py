"""Compensation without labels: statistics, biases or weights adjusted on the calibration split."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import Field

from ops.core.operation import (
    Ancestry,
    Context,
    Exclude,
    Include,
    Kind,
    ModelRef,
    Requirement,
    TorchModel,
    Uses,
    operation,
)
from ops.core.order import palette_lost

_WITHOUT_BATCH_NORM = {
    "albert",
    "bart",
    "beit",
    "bert",
    "convnext",
    "convnextv2",
    "deberta",
    "deberta-v2",
    "deit",
    "distilbert",
    "electra",
    "gpt2",
    "roberta",
    "swin",
    "swinv2",
    "t5",
    "vit",
    "xlm-roberta",
}
"""Architectures of Hugging Face transformers that have layer normalisation only."""


def _refuse(ancestry: Ancestry, params: Mapping[str, Any]) -> str | None:
    architecture = ancestry.model.get("architecture")
    if params["method"] == "batch_norm" and architecture in _WITHOUT_BATCH_NORM:
        return (
            f"architecture '{architecture}' has no batch normalisation to estimate. Use `method: bias_correction` or "
            "`method: reconstruct`"
        )
    if params["method"] == "reconstruct":
        return palette_lost(ancestry, params)
    return None


@operation(kind=Kind.CALIBRATE, version=4, uses={Uses.DATA}, refuse=_refuse, needs=lambda _: Requirement.INSTANCES)
def calibrate(
    model: TorchModel,
    ctx: Context,
    *,
    method: Literal["batch_norm", "bias_correction", "reconstruct"] = "batch_norm",
    samples: Annotated[int, Field(ge=1)] = 512,
    reference: ModelRef = "base",
    include: Include = (),
    exclude: Exclude = (),
) -> TorchModel:
    """Adjust a compressed model to what it has lost, from calibration instances without their labels.

    `batch_norm` estimates the statistics of batch normalisation anew: the first thing to do after pruning a convolutional
    network, cheap and strong. `bias_correction` gives every channel the mean that it has in the reference.
    `reconstruct` solves every layer's remaining weights for the reference's outputs; pruned weights stay zero.

    Args:
        model: stays as it is.
        ctx: gives calibration instances and the reference.
        method: what is adjusted.
        samples: calibration instances.
        reference: the model to be like, for `bias_correction` and `reconstruct`.
        include: default: all batch normalisations; all layers with biases; all convolutions and linear layers.
        exclude: layers to leave alone.

    Raises:
        OperationError: the model has no batch normalisation, the reference has other layers, a pattern matches nothing, or
            the calibration split is empty or has NaN.
    """
    if method == "batch_norm":
        from ops.recover.methods.batch_norm import estimate_statistics

        return estimate_statistics(model, ctx, samples=samples, include=include, exclude=exclude)
    if method == "bias_correction":
        from ops.recover.methods.bias_correction import correct_biases as adjust
    else:
        from ops.recover.methods.reconstruct import reconstruct_layers as adjust
    from ops.core.network.parametrized import plain_weights

    return adjust(model, plain_weights(ctx.load(reference))[0], ctx, samples=samples, include=include, exclude=exclude)
