"""Facts by instance: the instances of a data set, what models answered to them, and metrics of each. Part of `records`.

These records hold columns of many instances and become two tables each (`set_tables`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Annotated

import numpy as np

from pipeline.store.records.columns import Each, Int32, set_tables


@set_tables("instance_set", "instance", unique=("dataset_key", "split"), recorded=False)
@dataclass(frozen=True, slots=True)
class Instances:
    """All instances of one split of a data set."""

    dataset_key: Annotated[str, "Fingerprint of the data set."]
    split: Annotated[str, "evaluation, calibration or train."]
    ids: Annotated[Sequence[str], Each("VARCHAR", "instance_id"), "Stable id of the instance within the data set."]
    labels: Annotated[
        Sequence[str],
        Each("VARCHAR", "label"),
        "The label as people read it: a class name, or the accepted answers.",
    ]
    attributes: Annotated[
        Mapping[str, Sequence[str]],
        Each("MAP(VARCHAR, VARCHAR)"),
        "Map of attribute name -> value, for groups: attributes['sex']; what an instance has no value of is not in it.",
    ]
    """An empty text stands for no value."""
    size: Annotated[Int32, "Number of instances."] = field(init=False, default=0)
    """Of the row: the store counts them."""


@set_tables("prediction_set", "prediction")
@dataclass(frozen=True, slots=True)
class PredictionSet:
    """Predictions of one model on one target for one split, in the order of the split's instances."""

    model_key: Annotated[str, "The model."]
    target: Annotated[str, "The runtime that ran the model; empty if it does not matter."]
    dataset_key: Annotated[str, "Fingerprint of the data set."]
    predicted: Annotated[Sequence[str], Each("VARCHAR"), "The answer: the most likely class, or the text."]
    confidence: Annotated[np.ndarray, Each("FLOAT", optional=True), "Probability of the answer."]
    """float32 (N,); NaN where the outputs are not numbers."""
    label_probability: Annotated[
        np.ndarray, Each("FLOAT", optional=True), "Probability of the label; NULL where it has none."
    ]
    """float32 (N,); NaN where it has none."""
    correct: Annotated[np.ndarray, Each("BOOLEAN"), "Whether the answer is right."]
    """bool (N,)."""
    score: Annotated[
        np.ndarray,
        Each("FLOAT", optional=True),
        "Quality from 0 to 1: 1 or 0 for classification, token F1 for question answering.",
    ]
    """float32 (N,)."""
    probabilities: Annotated[
        np.ndarray | None,
        Each("SMALLINT[]", "log_probabilities", optional=True),
        "1000 x ln p of each class, rounded, never below -32767 (p = 6e-15): two bytes each, exact to 0.05 %, and more exact "
        "than 16-bit floats where a model is nearly sure.",
    ]
    """Probabilities, float32 (N, classes), or None where the task has no classes."""
    split: Annotated[str, "evaluation, unless stated otherwise."] = "evaluation"
    instance_set: Annotated[Int32, "Number of the instances' set."] = field(init=False, default=0)
    """Of the row: the store looks it up."""


@set_tables("value_set", "instance_value", model_key="model", dataset_key="dataset", metric="metric", device="device")
@dataclass(frozen=True, slots=True)
class InstanceValues:
    """Values of one metric by instance, whose mean is the measurement of the same identity and evidence."""

    model_key: Annotated[str, "The model."]
    target: Annotated[str, "The runtime that ran the model; empty if it does not matter."]
    device: Annotated[str, "The machine; empty if the numbers do not depend on one."]
    dataset_key: Annotated[str, "Fingerprint of the data set."]
    metric: Annotated[str, "The metric."]
    values: Annotated[
        np.ndarray,
        Each("FLOAT", "value", optional=True),
        "The instance's number, in the unit of the metric; NULL if it does not count.",
    ]
    """float32 (N,), in the order of the evaluation split; NaN for instances that do not count."""
    instance_set: Annotated[Int32, "Number of the instances' set."] = field(init=False, default=0)
    """Of the row: the store looks it up."""
    evidence_key: Annotated[str, "The artifact that the numbers were computed from."]
