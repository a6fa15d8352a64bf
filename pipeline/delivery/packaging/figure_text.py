"""Figures of results as people read them: in a readable multiple of their unit."""

from __future__ import annotations

from pipeline.core.units import multiples, readable_multiple
from pipeline.store.queries.model_facts import MeasuredFigure

__all__ = ["figure_text"]


def figure_text(value: float, figure: MeasuredFigure) -> str:
    """Write a value as its metric is written: 96.7%, 319.4 kB, 0.344 nat."""
    if len(multiples(figure.unit)) > 1:
        multiple = readable_multiple(value, figure.unit)
        return f"{value / multiple.divisor:.4g} {multiple.unit}"
    try:
        return f"{value:{figure.format or '.4g'}} {figure.unit}".rstrip()
    except ValueError:  # an imported metric may have a format of d3's
        return f"{value:.4g} {figure.unit}".rstrip()
