"""Guesses for what a models.json does not say: kinds of operations and directions of metrics, by the words in their names."""

from __future__ import annotations

import re

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


def kind_of(operation: str, *, is_root: bool) -> str:
    """The kind of an operation, `other` if its name tells nothing."""
    return "base" if is_root else _first(_KINDS, operation) or "other"


def better_of(metric: str) -> str:
    """`higher`, `lower`, or `neither` if the name tells nothing (sparsity, epochs)."""
    return _first(_BETTER, metric) or "neither"


def _first(words: dict[str, str], name: str) -> str | None:
    return next((meaning for meaning, pattern in words.items() if re.search(pattern, name.casefold())), None)
