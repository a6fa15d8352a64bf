"""Lints of size: a sweep that does not go where it should."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pipeline.measure.lints.api import Finding, Subject, lint
from pipeline.measure.metrics.size import file_bytes

_STRENGTHS = {"sparsity": None, "ratio": "prune"}
"""Parameters of which more means a smaller model -> the kind of operation where that is so; None: all. The ratio of a
factorization is the share of weights that stays."""
_LARGER = 1.005
_CLEARLY = 1.05
"""Between two of many intervals a small gap comes by chance."""


@lint
def larger_at_higher_ratio(subject: Subject) -> Finding | None:
    """The same operation with a higher ratio made a larger file, or a slower model."""
    for strength, kind in _STRENGTHS.items():
        if kind not in (None, subject.kind):
            continue
        weaker = [sibling for sibling in subject.siblings if _differs_only(subject.params, sibling.params, strength)]
        if not weaker:
            continue
        nearest = max(weaker, key=lambda sibling: float(sibling.params[strength]))
        finding = _larger(subject, nearest, strength) or _slower(subject, nearest, strength)
        if finding:
            return finding
    return None


def _differs_only(params: Mapping[str, Any], others: Mapping[str, Any], strength: str) -> bool:
    mine, theirs = params.get(strength), others.get(strength)
    if not isinstance(mine, int | float) or not isinstance(theirs, int | float) or theirs >= mine:
        return False
    return {**params, strength: None} == {**others, strength: None}


def _larger(subject: Subject, weaker: Subject, strength: str) -> Finding | None:
    size, before = subject.value(file_bytes), weaker.value(file_bytes)
    if not size or not before or size <= _LARGER * before:
        return None
    return Finding(
        f"{size / 1e6:.3g} MB at {strength} {subject.params[strength]}, {before / 1e6:.3g} MB at {weaker.params[strength]}",
        "Look at the notes of both models for layers that were left alone",
        {file_bytes.__name__: size, "file_bytes_at_lower_ratio": before, "compared_with": weaker.model_key},
    )


def _slower(subject: Subject, weaker: Subject, strength: str) -> Finding | None:
    mine, theirs = subject.speedups.get("base"), weaker.speedups.get("base")
    if mine is None or theirs is None or mine.high is None or theirs.low is None or _CLEARLY * mine.high >= theirs.low:
        return None
    return Finding(
        f"{mine.ratio:.2f}x as fast as the base at {strength} {subject.params[strength]}, "
        f"{theirs.ratio:.2f}x at {weaker.params[strength]}",
        "Choose sizes that suit the processor: `round_to: 8` for channels, larger blocks for N:M and block sparsity",
        {
            "speedup": mine.ratio,
            "speedup_at_lower_ratio": theirs.ratio,
            "compared_with": weaker.model_key,
            "evidence_key": mine.evidence_key,
        },
    )
