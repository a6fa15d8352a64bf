"""Results whose models can be looked into, for tests: hostile names, known numbers, made through the real writer."""

from __future__ import annotations

import math
from datetime import datetime
from pathlib import Path

import numpy as np

from pipeline.store.records import run_records as facts
from pipeline.store.writer import Store

HOSTILE = '<img src=x onerror="window.hurt=1">'
CLASSES = ["cat", HOSTILE, "dog", "it's; DROP TABLE model; --"]
SITES = ["stem.conv.weight", "stem.norm.weight", f"block.{HOSTILE}.weight", "head.weight", "head.bias"]
START = datetime(2026, 1, 1)
MODELS = {"base": None, "pruned": "base", "int8": "pruned", "other": "base"}


def publish(path: Path, *, instances: int = 240, compared: bool = True) -> Store:
    """A base and three models below it; `pruned` breaks what the base gets right of the second class."""
    store = Store(path)
    rng = np.random.default_rng(0)
    labels = np.arange(instances) % len(CLASSES)
    found: list[facts.Record] = [
        facts.Run("r1", "study", {"workspace": str(path.parent / "gone")}, {}, {}, None, START),
        facts.RunEnd("r1", START, 0),
        facts.DatasetInfo("d1", "pictures", "image-classification", CLASSES, {"evaluation": instances}, {"dataset": "no such"}),
        facts.Instances(
            "d1", "evaluation", [f"i{at:04d}{HOSTILE if at == 5 else ''}" for at in range(instances)],
            [CLASSES[label] for label in labels],
            {"sex": [("f", "m")[at % 2] for at in range(instances)], "age": [HOSTILE if at % 3 else "old" for at in range(instances)]},
        ),
        facts.Metric("accuracy", "", ".1%", "higher", True, "Share of right answers.", "quality", "instances"),
    ]  # fmt: skip
    for number, (name, parent) in enumerate(MODELS.items()):
        found.append(
            facts.Model(
                name,
                parent,
                name,
                "",
                "study",
                "prune" if parent else "train",
                1,
                "prune" if parent else "base",
                "torch",
                {},
            )
        )
        found.append(
            facts.Measurement(
                name, "ort", "", "d1", "accuracy", 0.9 - number / 10, None, None, None, "r1", START, f"e{name}"
            )
        )
        found.append(_predictions(name, labels, rng))
        found.extend(_layers(name, compared=compared and name != "base"))
        if name != "int8":
            found.extend(_times(name))
    store.write(found)
    store.publish()
    return store


def _predictions(name: str, labels: np.ndarray, rng: np.random.Generator) -> facts.PredictionSet:
    rows, count = np.arange(len(labels)), len(CLASSES)
    answered = labels.copy()
    if name == "pruned":
        answered[labels == 1] = 0
    elif name != "base":
        answered[rows % 5 == 0] = (labels[rows % 5 == 0] + 1) % count
    table = np.full((len(labels), count), 0.02, np.float32)
    table[rows, answered] = 1 - 0.02 * (count - 1)
    correct = answered == labels
    return facts.PredictionSet(
        name, "ort", "d1", [CLASSES[at] for at in answered], table[rows, answered], table[rows, labels], correct,
        correct.astype(np.float32), table,
    )  # fmt: skip


def _layers(name: str, *, compared: bool) -> list[facts.Record]:
    found: list[facts.Record] = []
    for at, site in enumerate(SITES):
        if name == "int8" and "norm" in site:
            found.extend(_change(name, at, site, status="gone") if compared else [])
            continue
        for place, stage, label in (("parameter", "", site), ("activation", "torch", site.rpartition(".")[0])):
            found.append(_distribution(name, at, label, place, stage))
            if compared:
                found.extend(_change(name, at, label, place=place, stage=stage))
    if compared:
        found.append(
            facts.Finding(
                name,
                "base",
                "flattened_norm",
                SITES[1],
                0.9,
                f"The scale of {HOSTILE} was flattened",
                "exclude: [norm]",
            )
        )
    return found


def _times(name: str) -> list[facts.Record]:
    found: list[facts.Record] = [facts.Device("cpu", {})]
    for at, (module, seconds) in enumerate({"stem.conv": 1e-3, "stem.norm": 2.5e-4, "head": 3.75e-3}.items()):
        found.append(facts.LayerTime(name, "ort", "cpu", module, ["Conv"], at, seconds, 5, 1))
    return found


def _distribution(name: str, at: int, site: str, place: str, stage: str) -> facts.Distribution:
    counts = [0, *[10 * (at + 1)] * 32, 1, 5]
    return facts.Distribution(
        name, place, stage, site, site if place == "activation" else site.rpartition(".")[0], "BatchNorm2d" if "norm" in site else "Conv2d", at, [8, 40],
        sum(counts), 5, 1 if at == 3 else 0, 0, -1.0, 1.0, 0.0, 0.5, 80.0, 60.0, 8, at, None, -1.0, 1.0, counts,
        1000 * (at + 1) if place == "activation" and at < 2 and name != "int8" else None,
    )  # fmt: skip


def _change(
    name: str, at: int, site: str, *, place: str = "parameter", stage: str = "", status: str = "compared"
) -> list[facts.Change]:
    table = np.zeros((35, 6), int)
    table[1:33, at % 6] = 10
    told = status == "compared"
    return [
        facts.Change(
            name, "base", place, stage, stage, site, site.rpartition(".")[0], at, status, "" if told else "not in this model: folded into 'stem.conv'",
            ["int8 dequantized"] if name == "int8" else [], 320 if told else 0, 0, 5, at, 1, 0.01 * (at + 1) if told else None,
            0.1 * (at + 1) if told else None, (math.inf if at == 0 else 40.0 - at) if told else None, 0.99 if told else None,
            -1.0, 1.0, table.reshape(-1).tolist() if told else [], 320 if told else 0,
        )
    ]  # fmt: skip
