"""Kinds of operations, directions and roles of metrics that a models.json does not give, by the words in their names."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TypeVar

from pipeline.core.metric_kinds import MetricRole

_Meaning = TypeVar("_Meaning", bound=str)
_KINDS = {
    "prune": r"prun|sparsi",
    "quantize": r"quant|int\d|fp\d|bf16",
    "cluster": r"cluster|palett",
    "factorize": r"factor|low.?rank|svd",
    "calibrate": r"calibrat",
    "restore": r"restor",
    "finetune": r"train|tun|distil",
}
_BETTER = {
    "lower": r"latency|time|size|bytes|loss|memory|error|flops|macs|param|energy|perplexity|divergence|std",
    "higher": r"accura|top.?\d|\bf1\b|exact|\bem\b|precision|recall|auc|score|bleu|rouge|\bm?iou\b|\bmap\b|throughput",
}
_ROLES = {
    MetricRole.COST: r"latency|time|second|\bms\b|throughput|flops|macs|energy|memory",
    MetricRole.SIZE: r"size|bytes|param|sparsi",
    MetricRole.CHANGE: r"divergence|agree|flip|drop",
    MetricRole.QUALITY: f"{_BETTER['higher']}|error|loss|perplexity",
}
"""In the order in which they are tried: throughput is cost, though higher is better."""


def operation_kind(operation: str, *, is_root: bool) -> str:
    """The kind of an operation, `other` if its name tells nothing."""
    return "base" if is_root else _first(_KINDS, operation) or "other"


def better_of(metric: str) -> str:
    """`higher`, `lower`, or `neither` if the name tells nothing (sparsity, epochs)."""
    return _first(_BETTER, metric) or "neither"


def role_of(metric: str) -> str:
    """The role of a metric (`pipeline.core.metric_kinds`), `other` if its name tells nothing (epochs)."""
    return (_first(_ROLES, metric) or MetricRole.OTHER).value


def _first(words: Mapping[_Meaning, str], name: str) -> _Meaning | None:
    return next((meaning for meaning, pattern in words.items() if re.search(pattern, name.casefold())), None)
