"""Lints of operations that did next to nothing: success is not that nothing failed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pipeline.measure.lints.api import Finding, Subject, lint
from pipeline.measure.metrics.size import file_bytes, parameters, sparsity

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
    if subject.kind not in _COMPRESSING or subject.params.get("include") or subject.params.get("exclude"):
        return None  # a person chose
    if any(isinstance(value, Mapping) for value in subject.params.values()):
        return None  # a strength for each layer
    if subject.kind == "quantize" and subject.parent is not None and subject.parent.kind == "quantize":
        return None  # mixed precision: it takes what the step above has left in float
    cuts = subject.kind == "prune" and "ratio" in subject.params
    values, total = _removed(subject) if cuts else _changed(subject)
    if not values or not total:
        return None
    share, requested = values / total, _requested(subject)
    if share >= _ENOUGH.get(subject.kind, _FRACTION * (1.0 if requested is None else requested)):
        return None
    goal = "" if requested is None else f", where {_requested_words(subject, requested)}"
    return Finding(
        f"`{subject.op}` {'removed' if cuts else 'changed'} {values:,} of {total:,} values ({share:.1%}){goal}",
        "Most of this network lies in layers that the operation leaves alone by default: see the model's notes, and name them with "
        "`include`, or take an operation that changes them",
        {"removed" if cuts else "changed": values, "values": total, "requested": requested},
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


def _removed(subject: Subject) -> tuple[int, int]:
    """Return how many of its parent's values a model lacks, and how many these are.

    A tensor that lost one channel counts as changed altogether, which says nothing of how much was cut.
    """
    after, before = subject.value(parameters), subject.parent.value(parameters) if subject.parent else None
    return (0, 0) if after is None or before is None else (int(before - after), int(before))


def _requested(subject: Subject) -> float | None:
    """Share of the values that the parameters ask to change or to remove; None where no parameter says.

    A sparsity is the share of zeros afterwards: what the parent has already need not be done again. Channels are a share of
    those that are there, and with them goes at least that share of the values.
    """
    zeros = _zeros_afterwards(subject.params)
    if zeros is not None:
        present = subject.parent.value(sparsity) if subject.parent else None
        return max(0.0, zeros - (present or 0.0))
    return _number(subject.params.get("ratio")) if subject.kind == "prune" else None


def _requested_words(subject: Subject, requested: float) -> str:
    zeros = _zeros_afterwards(subject.params)
    if zeros is None or zeros == requested:
        return f"{requested:.0%} was asked for"
    return f"{zeros:.0%} zeros were asked for and the parent has {zeros - requested:.0%}"


def _zeros_afterwards(params: Mapping[str, Any]) -> float | None:
    if "n" in params and "m" in params:
        return 1 - float(params["n"]) / float(params["m"])
    return _number(params.get("sparsity"))


def _number(value: object) -> float | None:
    return float(value) if isinstance(value, int | float) else None
