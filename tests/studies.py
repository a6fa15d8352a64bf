"""Studies in the prototype's models.json schema, for tests: shaped like real ones, with invented metrics."""

from __future__ import annotations

import random
from typing import Any

Study = dict[str, Any]

METRICS: list[dict[str, Any]] = [
    {"name": "Top-1 Accuracy", "primary": True, "format": ".2%", "min": 0, "max": 1},
    {"name": "Top-5 Accuracy", "primary": True, "format": ".2%", "min": 0, "max": 1},
    {"name": "Latency", "primary": True, "unit": "ms", "format": ".3~s", "min": 0, "max": None},
    {"name": "Model Size", "primary": True, "format": ".3~s", "min": 0, "max": None},
    {"name": "Sparsity", "primary": True, "format": ".2%", "min": 0, "max": 1},
    {"name": "Epochs", "primary": True, "min": 0, "max": None},
]


def study(models: int = 52) -> Study:
    """Two trees, ResNet50 and MobileNetV2: 26 float models, each with one int8 child; or the first `models` of them."""
    trees = _Trees(random.Random(52))
    trees.resnet50()
    trees.mobilenetv2()
    for float_model in list(trees.models):
        trees.add(f"{float_model['id']}-int8", float_model["id"], "quantize", amount="int8", method="quantize")
    operations = [
        {"name": "train", "parameters": ["epochs"]},
        {"name": "magnitude prune", "parameters": ["amount"]},
        {"name": "gradient prune", "parameters": ["amount"]},
        {"name": "calibrate", "parameters": ["data"]},
        {"name": "quantize", "parameters": ["amount", "method"]},
    ]
    return {"operations": operations, "metrics": METRICS, "models": trees.models[:models]}


def synthetic_study(models: int, seed: int = 0) -> Study:
    """One tree of `models` models: every one is made by one of 7 kinds of operation, at most 6 steps from the root."""
    rng = random.Random(seed)
    trees = _Trees(rng)
    trees.add("base", None, "train", epochs=90)
    depth = {"base": 0}
    while len(trees.models) < models:
        parent = rng.choice([name for name, steps in depth.items() if steps < 6])
        op = rng.choice(list(_SYNTHETIC))
        name = f"model-{len(trees.models)}"
        trees.add(name, parent, op, amount=rng.choice(_SYNTHETIC[op]))
        depth[name] = depth[parent] + 1
    operations = [{"name": "train", "parameters": ["epochs"]}]
    operations += [{"name": op, "parameters": ["amount"]} for op in _SYNTHETIC]
    return {"operations": operations, "metrics": METRICS, "models": trees.models[:models]}


_SYNTHETIC: dict[str, list[float | str]] = {
    "magnitude prune": [0.25, 0.5, 0.75, 0.9],
    "gradient prune": [0.25, 0.5, 0.75],
    "channel prune": [0.3, 0.5],
    "quantize": ["int8", "int4"],
    "calibrate": ["train batch"],
    "retrain": [1, 5, 30],
    "factorize": [0.25, 0.5],
}


class _Trees:
    """Models under construction; a child's metrics follow from its parent's."""

    def __init__(self, rng: random.Random) -> None:
        self.models: list[dict[str, Any]] = []
        self._by_id: dict[str, dict[str, Any]] = {}
        self._rng = rng

    def resnet50(self) -> None:
        self.add("resnet50trained", None, "train", epochs=90)
        for op in ("magnitude prune", "gradient prune"):
            for amount in (0.5, 0.75, 0.9):
                name = f"resnet50trained-{op.replace(' ', '')[:3]}{amount:.0%}".replace("%", "")
                self._pruned(name, "resnet50trained", op, amount)
        self._pruned("resnet50trained-iterative50", "resnet50trained-mag50-retrained", "magnitude prune", 0.5)

    def mobilenetv2(self) -> None:
        self.add("mobilenetv2trained", None, "train", epochs=300)
        self._pruned("mobilenetv2trained-mag25", "mobilenetv2trained", "magnitude prune", 0.25)

    def add(self, name: str, base: str | None, op: str, **parameters: Any) -> None:
        parent = self._by_id[base]["metrics"] if base else None
        tag = ", ".join(f"{key}: {value}" for key, value in parameters.items())
        model = {
            "id": name,
            "base": base,
            "operation": {"name": op, "parameters": parameters},
            "tag": f"{op.capitalize()} ({tag})",
            "metrics": self._child(parent, op, parameters) if parent else self._root(name),
        }
        self.models.append(model)
        self._by_id[name] = model

    def _pruned(self, name: str, base: str, op: str, amount: float) -> None:
        self.add(name, base, op, amount=amount)
        self.add(f"{name}-calibrated", name, "calibrate", data="train batch")
        self.add(f"{name}-retrained", name, "train", epochs=30)

    def _root(self, name: str) -> dict[str, Any]:
        large = not name.startswith("mobile")
        top1, top5, latency, size = (0.803, 0.951, 17320.0, 94_000_000) if large else (0.721, 0.903, 4210.0, 12_900_000)
        epochs = 90 if large else 300
        return {
            "Top-1 Accuracy": top1, "Top-5 Accuracy": top5, "Latency": latency, "Model Size": size, "Sparsity": 0.0,
            "Epochs": epochs,
        }  # fmt: skip

    def _child(self, parent: dict[str, Any], op: str, parameters: dict[str, Any]) -> dict[str, Any]:
        made = dict(parent)
        amount = parameters.get("amount")
        if "prune" in op and isinstance(amount, float):
            damage = amount**4 * (2.0 if "gradient" in op else 1.0)
            made["Sparsity"] = max(parent["Sparsity"], 1 - (1 - parent["Sparsity"]) * (1 - amount))
            made["Model Size"] = round(parent["Model Size"] * (1 - 0.9 * amount))
            made["Top-1 Accuracy"] = max(0.001, parent["Top-1 Accuracy"] * (1 - min(damage, 0.99)))
        elif op == "quantize":
            made["Latency"] = parent["Latency"] / 7.4
            made["Model Size"] = round(parent["Model Size"] / 3.8)
            made["Top-1 Accuracy"] = max(0.001, parent["Top-1 Accuracy"] - 0.006)
        elif op in ("train", "retrain", "calibrate"):
            gain = 0.35 if op == "calibrate" else 0.8
            made["Top-1 Accuracy"] = parent["Top-1 Accuracy"] + gain * max(0.0, 0.8 - parent["Top-1 Accuracy"])
            made["Epochs"] = parent["Epochs"] + parameters.get("epochs", 0)
        made["Top-5 Accuracy"] = min(1.0, made["Top-1 Accuracy"] * 1.15 + 0.02)
        made["Latency"] *= self._rng.uniform(0.96, 1.04)
        return made
