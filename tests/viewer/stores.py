"""Published results for the viewer's tests, made from the studies through the real writer."""

from __future__ import annotations

import hashlib
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from pipeline.store.records import run_records
from pipeline.store.writer import Store

START = datetime(2026, 1, 1)
_BETTER = {"Latency": "lower", "Model Size": "lower", "Epochs": "neither"}
_ROLE = {"Latency": "cost", "Model Size": "size", "Sparsity": "size"}
_UNIT = {"Latency": "ms", "Model Size": "B"}
_FORMAT = {"Latency": ".1f", "Model Size": ".3g", "Epochs": ".0f"}
_SPREAD = {"Latency": 0.03, "Top-1 Accuracy": 0.004, "Top-5 Accuracy": 0.002}
DEVICE_BOUND = {"Latency"}


def key_of(name: str) -> str:
    return hashlib.sha256(name.encode()).hexdigest()


def publish(path: Path, study: dict[str, Any], *, failures: int = 0, run: str = "run-1") -> Store:
    """Write a study and publish it; `failures` steps fail, each with one skipped step below it."""
    store = Store(path)
    store.write(_records(study, run))
    if failures:
        store.write(_failed(study, run, failures))
    store.publish()
    return store


def _records(study: dict[str, Any], run: str) -> list[run_records.Record]:
    kinds = {
        "train": "finetune",
        "retrain": "finetune",
        "calibrate": "calibrate",
        "quantize": "quantize",
        "factorize": "factorize",
    }
    found: list[run_records.Record] = [
        run_records.Run(run, "study", {}, {"python": "3.11"}, {"cpu": "test"}, None, START),
        run_records.RunEnd(run, START + timedelta(hours=1), 0),
        run_records.Device("d1", {"cpu": "Test CPU"}),
        run_records.DatasetInfo("set1", "photos", "image-classification", ["a", "b"], {"evaluation": 10}, {}),
    ]
    for metric in study["metrics"]:
        name = metric["name"]
        found.append(
            run_records.Metric(
                name,
                _UNIT.get(name, ""),
                _FORMAT.get(name, ".1%"),
                _BETTER.get(name, "higher"),
                bool(metric.get("primary")),
                f"About {name}.",
                _ROLE.get(name, "quality" if "Accuracy" in name else "other"),
            )
        )
    for number, model in enumerate(study["models"]):
        key = key_of(model["id"])
        op = model["operation"]["name"]
        parent = model["base"]
        found.append(
            run_records.Model(
                key,
                key_of(parent) if parent else None,
                model["id"],
                model.get("title", ""),
                "study",
                op,
                1,
                "base" if not parent else kinds.get(op, "prune"),
                "torch",
                model["operation"]["parameters"],
            )
        )
        found.append(
            run_records.Step(
                run,
                model["id"],
                "operation",
                key,
                key_of(parent) if parent else None,
                op,
                "prune",
                model["operation"]["parameters"],
                "done",
                1.0,
                finished_at=START + timedelta(seconds=number),
            )
        )
        for name, value in model["metrics"].items():
            if value is None:
                continue
            spread = _SPREAD.get(name)
            low, high = (value * (1 - spread), value * (1 + spread)) if spread else (None, None)
            bound = name in DEVICE_BOUND
            found.append(
                run_records.Measurement(
                    key,
                    "onnxruntime" if bound or spread else "",
                    "d1" if bound else "",
                    "set1" if "Accuracy" in name else "",
                    name,
                    float(value),
                    low,
                    high,
                    100 if spread else None,
                    run,
                    START + timedelta(hours=1),
                    f"{key[:8]}-{name}",
                )
            )
    return found


def _failed(study: dict[str, Any], run: str, failures: int) -> list[run_records.Record]:
    found: list[run_records.Record] = []
    for number, model in enumerate(study["models"][1 : failures + 1]):
        parent, failed, below = key_of(model["id"]), key_of(f"failed-{number}"), key_of(f"below-{number}")
        name = f"{model['id']}/broken-{number}"
        found.append(
            run_records.Step(
                run,
                name,
                "operation",
                failed,
                parent,
                "channel prune",
                "prune",
                {"ratio": 0.5},
                "failed",
                2.0,
                error="RuntimeError: shapes do not match in layer conv1",
                finished_at=START + timedelta(hours=1),
            )
        )
        found.append(
            run_records.Step(
                run,
                f"{name}/int8",
                "operation",
                below,
                failed,
                "quantize",
                "quantize",
                {"amount": "int8"},
                "skipped",
                error=f"{name} failed",
                finished_at=START + timedelta(hours=1),
            )
        )
    return found
