"""A plug-in with a metric of each role; their names come before ours, so that the viewer chooses them first."""

import numpy as np

from pipeline.measure.metrics.api import Better, Estimate, MetricRole, ModelFiles, Predictions, Timings, metric
from pipeline.measure.metrics.estimates import mean, share


def confidence(predictions):
    """Softmax of the most likely class, per instance."""
    shifted = predictions.outputs["logits"] - predictions.outputs["logits"].max(axis=1, keepdims=True)
    return 1 / np.exp(shifted, dtype=np.float64).sum(axis=1)


@metric(unit="", format=".1%", better=Better.HIGHER, primary=True)
def above_third(predictions: Predictions) -> Estimate | None:
    """Share of instances whose label is among the three most likely classes."""
    logits, labels = predictions.outputs["logits"], predictions.targets["labels"]
    own = logits[np.arange(len(labels)), labels]
    return share((logits > own[:, None]).sum(axis=1) < 3)


@metric(unit="", better=Better.NEITHER)
def bolder(predictions: Predictions, base: Predictions) -> Estimate | None:
    """Mean growth of the confidence against the base's."""
    return mean(confidence(predictions) - confidence(base))


@metric(unit="ms", better=Better.LOWER, primary=True)
def average_time(timings: Timings) -> float:
    """Mean wall-clock time of a run."""
    return 1000 * float(timings.wall_seconds.mean())


@metric(unit="", format=".0f", better=Better.LOWER, primary=True)
def arrays(files: ModelFiles) -> float:
    """Number of tensors."""
    return len(files.layers)


@metric(unit="", better=Better.NEITHER, role=MetricRole.OTHER)
def answered(predictions: Predictions) -> float:
    """Number of instances."""
    return len(predictions.ids)
