"""Lints of operations that did next to nothing: success is not that nothing failed."""

from __future__ import annotations

from collections.abc import Mapping

from pipeline.measure.lints.api import Finding, Subject, lint
from pipeline.measure.metrics.size import file_bytes

_COMPRESSING = ("prune", "quantize", "factorize", "cluster")
_CHANGING = (*_COMPRESSING, "calibrate", "finetune", "restore")
_ENOUGH = {"quantize": 0.5, "factorize": 0.05}
_FRACTION = 0.1
"""Share of what was asked of the whole network below which an operation missed most of it."""
_LARGER = 1.005


@lint
def nothing_done(subject: Subject) -> Finding | None:
    """An operation left every value of its parent as it was."""
    values, total = _changed(subject)
    if subject.kind not in _CHANGING or values or not total:
        return None
    return Finding(
        f"`{subject.op}` changed none of the {total:,} values",
        "Look at `unchanged` and `layers_in_float` in the model's notes for the reason; name the layers that it can change with "
        "`include`, ask for more than earlier steps have done already, or leave the step out",
        {"changed": values, "values": total},
    )


@lint
def little_done(subject: Subject) -> Finding | None:
    """An operation for the whole network changed a small part of it."""
    values, total = _changed(subject)
    if subject.kind not in _COMPRESSING or not values or not total:
        return None
    if subject.params.get("include") or subject.params.get("exclude"):
        return None  # a person chose
    share, requested = values / total, _requested(subject)
    if share >= _ENOUGH.get(subject.kind, _FRACTION * requested):
        return None
    return Finding(
        f"`{subject.op}` changed {values:,} of {total:,} values ({share:.1%}), where {requested:.0%} was asked for",
        "Most of this network lies in layers that the operation leaves alone by default: see the model's notes, and name them with "
        "`include`, or take an operation that changes them",
        {"changed": values, "values": total, "requested": requested},
    )


@lint
def larger_than_parent(subject: Subject) -> Finding | None:
    """An operation that is to make a model smaller made its file larger."""
    parent = subject.parent
    size, before = subject.value(file_bytes), parent.value(file_bytes) if parent else None
    if subject.kind not in _COMPRESSING or not size or not before or size <= _LARGER * before:
        return None
    return Finding(
        f"The file has {size:,.0f} bytes, that of its parent {before:,.0f} ({size / before:.2f} times)",
        "Leave the step out. What a small network gains is less than what scales and further nodes cost; a weight that layers "
        "share is stored once for each form that it is used in",
        {file_bytes.__name__: size, f"{file_bytes.__name__}_of_parent": before},
    )


def _changed(subject: Subject) -> tuple[int, int]:
    counts = subject.notes.get("changed")
    if not isinstance(counts, Mapping):
        return 0, 0
    return int(counts.get("values", 0)), int(counts.get("of", 0))


def _requested(subject: Subject) -> float:
    """Share of the values that the parameters ask to change; all of them where no parameter says."""
    if "n" in subject.params and "m" in subject.params:
        return 1 - float(subject.params["n"]) / float(subject.params["m"])
    strength = subject.params.get("sparsity")
    return float(strength) if isinstance(strength, int | float) else 1.0
