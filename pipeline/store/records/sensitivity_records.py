"""What one change to one layer does to a model, and what a choice of such changes was predicted to do. Part of `records`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any

from pipeline.store.records.columns import Int32, Sql, record_table


@record_table("sensitivity", model_key="model")
@dataclass(frozen=True, slots=True)
class Sensitivity:
    """One candidate applied to one layer alone: damage on calibration instances, and what it saves."""

    evidence_key: Annotated[str, "The candidate's measurement: model, operation, parameters and data."]
    model_key: Annotated[str, "The model whose layer it is."]
    candidate: Annotated[str, "The operation and its strength, in words."]
    op: Annotated[str, "The operation."]
    params: Annotated[Mapping[str, Any], "JSON: its parameters in full, for all layers."]
    layer: Annotated[str, "The layer, or the first of those that can only change together."]
    members: Annotated[Sequence[str], Sql("VARCHAR[]"), "All layers that change together."]
    position: Annotated[Int32, "Place of the layer in the network, from 0."]
    score: Annotated[float | None, "Estimate of kl from gradients, in nats; none where the operation allows none."]
    kl: Annotated[float | None, "Mean divergence of probabilities from the model's; none where it was not run."]
    kl_se: Annotated[float | None, "Standard error of kl over the instances."]
    loss: Annotated[float | None, "Mean change of the loss."]
    loss_se: Annotated[float | None, "Standard error of loss."]
    flips: Annotated[float | None, "Share of instances whose answer changes."]
    flips_se: Annotated[float | None, "Standard error of flips."]
    weight_bytes: Annotated[int, "Bytes of the weights as they are written out: how many fewer."]
    compressed_weight_bytes: Annotated[int, "The same after zstd (level 3), tensor by tensor: how many fewer."]
    macs: Annotated[int, "Multiply-accumulates of one instance: how many fewer."]
    before: Annotated[
        Mapping[str, float],
        "JSON: the whole model's weight_bytes, compressed_weight_bytes and macs (0 where the candidate leaves them).",
    ]
    reason: Annotated[str, "Why the candidate does not go with this layer; empty where it does."]
    instances: Annotated[Int32, "How many instances the damage is a mean over."]
    seconds: Annotated[float, "Time that the measurement of this layer took."]
    score_seconds: Annotated[float, "Time that the estimate took, the layer's share of all layers'."]


@record_table("sensitivity_time", model_key="model", device="device")
@dataclass(frozen=True, slots=True)
class SensitivityTime:
    """Time of a layer with and without a candidate, by the runtime's own profiler, in turn."""

    evidence_key: Annotated[str, "The candidate's timing."]
    model_key: Annotated[str, "The model."]
    candidate: Annotated[str, "The operation and its strength, in words."]
    layer: Annotated[str, "The layer; empty: everything that belongs to none."]
    target: Annotated[str, "The runtime."]
    device: Annotated[str, "The machine."]
    before_seconds: Annotated[float, "Of the layer in the model."]
    saved_seconds: Annotated[float, "How much less it takes where all layers have the candidate."]
    saved_se: Annotated[float, "Standard error of saved_seconds over the rounds."]
    whole_seconds: Annotated[
        float | None, "How much less the whole model takes where this layer alone has it; only of a sample."
    ]
    whole_se: Annotated[float | None, "Standard error of whole_seconds."]
    rounds: Annotated[Int32, "How often both were profiled, in turn."]


@record_table("allocation", model_key="model", parent_key="model")
@dataclass(frozen=True, slots=True)
class Allocation:
    """A candidate for each layer, chosen under budgets: what was predicted, and what came out."""

    model_key: Annotated[str, "The model that has all changes."]
    parent_key: Annotated[str, "The model whose layers were measured."]
    request: Annotated[Mapping[str, Any], "JSON: as the recipe asked."]
    choices: Annotated[Mapping[str, str], "JSON: layer -> candidate; layers that stay are left out."]
    damage: Annotated[str, Sql(values=("kl", "loss", "flips")), "The damage that was kept small."]
    predicted_damage: Annotated[float, "Sum over the layers' own."]
    predicted_se: Annotated[float, "Its standard error, of layers that err independently."]
    measured_damage: Annotated[float | None, "Of the model, on the same calibration instances."]
    measured_se: Annotated[float | None, "Standard error of measured_damage."]
    predicted: Annotated[Mapping[str, float], "JSON: the costs that were predicted."]
    measured: Annotated[Mapping[str, float], "JSON: the costs of the model."]
    before: Annotated[Mapping[str, float], "JSON: those of the parent."]
