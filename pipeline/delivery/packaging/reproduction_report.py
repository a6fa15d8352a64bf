"""What a reproduction came to, for a terminal and for a program."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator

from pipeline.delivery.packaging.figure_text import figure_text
from pipeline.delivery.packaging.reproduction import FigureComparison, Reproduction, ReproductionOutcome, StepComparison

__all__ = ["reproduction_json", "reproduction_text"]

_WORDS = {ReproductionOutcome.AGREES: "agrees", ReproductionOutcome.DIFFERS: "differs"}


def reproduction_text(report: Reproduction) -> str:
    """Return lines for a terminal: what has changed, what failed, each model of the lineage, each figure that differs."""
    return "\n".join(_lines(report))


def reproduction_json(report: Reproduction) -> str:
    """Return the report as one JSON object; figures in the units of the results."""
    weights = report.weights
    content = {
        "outcome": _WORDS[report.outcome],
        "model": report.name,
        "changes": list(report.changes),
        "failures": list(report.failures),
        "steps": [{"path": step.path, "identical": _identical(step), "files": step.files} for step in report.steps],
        "weights": None
        if weights is None
        else {
            "differing": weights.tensors,
            "total": weights.total,
            "largest": None if math.isnan(weights.largest) else weights.largest,
        },
        "figures": [
            {
                "metric": each.figure.metric,
                "then": each.figure.value,
                "now": each.value,
                "beyond_noise": each.beyond_noise,
                "unit": each.figure.unit,
            }
            for each in report.figures
        ],
    }
    return json.dumps(content, indent=2, allow_nan=False) + "\n"


def _identical(step: StepComparison) -> bool | None:
    return all(step.files.values()) if step.files else None


def _lines(report: Reproduction) -> Iterator[str]:
    yield f"{report.name}, made anew"
    yield from (f"  changed    {each}" for each in report.changes)
    yield from (f"  failed     {each}" for each in report.failures)
    for step in report.steps:
        yield f"  {_step(step)}"
    if report.weights is not None:
        yield f"  weights    {report.weights.tensors} of {report.weights.total} tensors differ{_largest(report)}"
    same = [each for each in report.figures if each.value == each.figure.value]
    if same:
        yield f"  figures    {len(same)} are the same"
    for each in report.figures:
        if each.value not in (None, each.figure.value):
            yield f"  {_figure(each)}"
    absent = [each.figure.metric for each in report.figures if each.value is None]
    if absent:
        yield f"  unknown    not measured anew: {', '.join(absent)}"
    yield f"reproduction: {_WORDS[report.outcome]}"


def _step(step: StepComparison) -> str:
    if not step.files:
        return f"unknown    {step.path}: no digests to compare"
    if _identical(step):
        return f"identical  {step.path}: {len(step.files)} files, bit for bit"
    return f"differs    {step.path}: {', '.join(name for name, same in step.files.items() if not same)}"


def _largest(report: Reproduction) -> str:
    largest = math.nan if report.weights is None else report.weights.largest
    return "" if math.isnan(largest) else f", a number by at most {largest:.3g}"


def _figure(each: FigureComparison) -> str:
    figure, value = each.figure, each.value or 0.0
    word = {True: "differs", False: "in noise", None: "differs"}[each.beyond_noise]
    doubt = {
        True: "more than chance",
        False: "no more than chance",
        None: "no interval is known",
    }[each.beyond_noise]
    return f"{word:10} {figure.metric}: {figure_text(figure.value, figure)} then, {figure_text(value, figure)} now ({doubt})"
