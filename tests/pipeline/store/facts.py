"""Small facts for the store's tests."""

from datetime import UTC, datetime, timedelta

import numpy as np

from pipeline.store.records import run_records

START = datetime(2026, 1, 1, tzinfo=UTC)
RUN = run_records.Run("run1", "study", {"seed": 0}, {"python": "3.11"}, {"cpu": "test"}, "abc", START)
DEVICE = run_records.Device("laptop", {"cpu": "test"})
DATA = run_records.DatasetInfo("data1", "digits", "image-classification", ["cat", "dog"], {"evaluation": 4}, {})
ACCURACY = run_records.Metric("accuracy", "", ".1%", "higher", True, "Share of right answers.", "quality", "instances")
LATENCY = run_records.Metric("latency", "ms", ".3g", "lower", True, "Median time of a run.", "cost", "wall_time")
INSTANCES = run_records.Instances(
    "data1", "evaluation", ["a", "b", "c", "d"], ["cat", "dog", "cat", "dog"], {"sex": ["f", "m", "f", "m"]}
)
GROUND = [RUN, DEVICE, DATA, ACCURACY, LATENCY]


def model(name, parent=None, *, op="prune", recipe="study", **params):
    return run_records.Model(name, parent, name, "", recipe, op, 1, op, "torch", params)


def step(path, *, outcome="done", run="run1", recipe_op="prune", seconds=1.0, job="operation", **rest):
    return run_records.Step(
        run, path, job, path, None, recipe_op, recipe_op, {}, outcome, seconds, finished_at=START, **rest
    )


def measurement(name, metric, value, *, target="ort", device="", data="", days=0, run="run1", **rest):
    found = {"low": None, "high": None, "count": None, "evidence_key": f"{name}-{metric}-{days}", **rest}
    return run_records.Measurement(
        model_key=name, target=target, device=device, dataset_key=data, metric=metric, value=value, run_id=run,
        measured_at=START + timedelta(days=days), **found,
    )  # fmt: skip


def predictions(name, probabilities, *, target="ort", data="data1", labels=(0, 1, 0, 1)):
    probabilities = np.asarray(probabilities, np.float32)
    rows, best = np.arange(len(probabilities)), probabilities.argmax(axis=1)
    correct = best == np.asarray(labels)
    return run_records.PredictionSet(
        name, target, data, [("cat", "dog")[at] for at in best], probabilities[rows, best],
        probabilities[rows, list(labels)], correct, correct.astype(np.float32), probabilities,
    )  # fmt: skip


def values(name, metric, numbers, *, target="ort", data="data1", evidence="e"):
    numbers = np.asarray(numbers, np.float32)
    return run_records.InstanceValues(name, target, "", data, metric, numbers, evidence)


def layer(name, tensor, *, nonzeros=5):
    return run_records.Layer(
        name, tensor, "net", "Conv2d", "weight", [5, 2], "float32", 32.0, 10, nonzeros, 40, -1.0, 1.0, 0.0, 0.5, 4.0
    )
