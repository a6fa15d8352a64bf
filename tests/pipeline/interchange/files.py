"""Invented models.json files with the oddities of real ones."""

import json

QUIRKS = {
    "models": [
        {"id": "child", "base": "root", "operation": {"name": "Prune", "parameters": {"amount": 0.6000000000000001}},
         "tag": "", "metrics": {"F1": 71.5, "Sparsity": None, "Latency": 17320, "Size": 1}},
        {"id": "retrained", "base": "child", "operation": {"name": "Retrain", "parameters": {"layers": ["norm", "query"]}},
         "metrics": {"F1": 80, "Undeclared": 3}, "loader": {"path": "x.pt"}},
        {"id": "root", "metrics": {"F1": 90.25, "Sparsity": 0.0, "Latency": 20000.5, "Size": 2}},
        {"id": "other root", "base": None, "operation": None, "tag": "again", "metrics": {}},
        {"id": "trained", "base": None, "operation": {"name": "train", "parameters": None}, "tag": "again", "metrics": {}},
        {"id": "odd/<b>\u00e9,#&?", "base": "trained", "operation": {"name": "Prune"}, "tag": None,
         "metrics": {"F1": float("nan"), "Latency": -1.5e300}},
    ],
    "note": {"not": "ours"},
    "metrics": [
        {"name": "F1", "primary": True, "unit": "%", "min": 0, "max": 100.0},
        {"name": "Sparsity", "format": ".2%", "max": None},
        {"name": "Latency", "primary": True, "unit": "ms", "format": ".3~s", "min": 0, "max": None},
        {"name": "Size", "format": "00"},
    ],
    "operations": [
        {"name": "Prune", "parameters": {"sparsity": {"type": "continuous", "min": 0, "max": 1, "format": ".0%"},
                                         "method": {"type": "nominal", "method": ["Magnitude"]}}},
        {"name": "train", "parameters": ["epochs"]},
        {"name": "unused"},
    ],
}  # fmt: skip


def write(path, study):
    path.write_text(json.dumps(study), encoding="utf-8")
    return path
