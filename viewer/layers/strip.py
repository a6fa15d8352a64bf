"""The heat strip of the Layers page: models by layers, one line per model under it, findings at their layers. Pure.

All of it stands on one axis, the layers in the order of the network, so that what is above a place is of that layer.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from viewer.layers.page import LayerPage
from viewer.layers.queries import Found
from viewer.layers.table import NUMBERS, show_number

__all__ = ["MOST_COLUMNS", "FittedAxis", "fitted_axis", "strip"]

MOST_COLUMNS = 300
"""Layers that are drawn; the filter chooses others."""
_MOST_CELLS = 2400
"""Each is an element that can be clicked: of very many models the first are drawn."""
_FEWEST_ROWS = 4
_WIDEST, _NARROWEST, _WIDTH = 44, 14, 980
ROW, LINES, GAP = 22, 120, 8
"""Heights of a model's row, of the lines under them, and of the space between."""
_LABEL, _LETTER = 16, 7.2
"""An upright name takes so much of the axis; a letter of it so much of its length."""
_LONGEST = 26
_IDENTICAL = 160.0
_STEPS = (1, 2, 2.5, 5, 10)
_OF_TAB = {"weights": "relative_change", "sparsity": "sparsity", "activations": "sqnr_db"}
_OF_PAIR = frozenset({"relative_change", "mean_abs_change", "sqnr_db", "cosine"})
_LESS_IS_WORSE = frozenset({"sqnr_db", "cosine"})


@dataclass(frozen=True, slots=True)
class FittedAxis:
    """Round ends around some values."""

    low: float
    high: float

    def share(self, value: float) -> float:
        """Return where a value lies, from 0 to 1; what is beyond an end is at it."""
        return max(0.0, min(1.0, (value - self.low) / (self.high - self.low)))


def fitted_axis(values: Sequence[float]) -> FittedAxis:
    """Return the tightest axis with round ends that holds all finite values."""
    finite = [value for value in values if math.isfinite(value)]
    if not finite:
        return FittedAxis(0.0, 1.0)
    low, high = min(finite), max(finite)
    if low == high:
        low, high = (low, low + 1) if low == 0 else (min(low, 0.0), max(high, 0.0))
    size = (high - low) / 8
    power = 10.0 ** math.floor(math.log10(size))
    step = next((part * power for part in _STEPS if part * power >= size), 10 * power)
    return FittedAxis(math.floor(low / step) * step, math.ceil(high / step) * step)


def strip(page: LayerPage, findings: Sequence[Found]) -> dict[str, Any] | None:
    """Return what the template draws; None where nothing is known of any layer.

    Args:
        page: the drawing of the page: its models, layers and numbers.
        findings: of its models.
    """
    name = _OF_TAB.get(page.state.layers.show, page.state.layers.by)
    sites = page.sites[:MOST_COLUMNS]
    able = [model for model in page.models if name not in _OF_PAIR or model != page.base]
    models = able[: max(_FEWEST_ROWS, _MOST_CELLS // max(1, len(sites)))]
    table = {model: {site: page.number(model, site, name) for site in sites} for model in models}
    values = [value for row in table.values() for value in row.values() if value is not None]
    if not values:
        return None
    axis = fitted_axis([_on_axis(name, value) for value in values if not _identical(name, value)])
    wide = max(_NARROWEST, min(_WIDEST, _WIDTH // len(sites)))
    return {
        "number": NUMBERS[name][0],
        "rows": [_row(page, model, table[model], (name, axis)) for model in models],
        "width": wide,
        "whole": wide * len(sites),
        "row": ROW,
        "lines_top": ROW * len(models) + GAP,
        "lines_height": LINES,
        "lines": _lines(page, table, wide, (name, axis)),
        "floor": _floor(name, axis, ROW * len(models) + GAP),
        "marks": _marks(page, models, sites, findings),
        "labels": _labels(sites, wide),
        "labels_height": round(min(_LONGEST, max(map(len, sites))) * _LETTER) + 14,
        "ends": [show_number(name, axis.high), show_number(name, axis.low)],
        "worse": "low" if name in _LESS_IS_WORSE else "high",
        "left_out": len(page.sites) - len(sites),
        "models_left_out": len(able) - len(models),
        "is_divergence": name == "sqnr_db",
        "open": page.state.layers.site,
    }


def _on_axis(name: str, value: float) -> float:
    """Of a signal without any noise, that of one that cannot be told from it."""
    return min(value, _IDENTICAL) if name == "sqnr_db" else value


def _identical(name: str, value: float) -> bool:
    return name == "sqnr_db" and value >= _IDENTICAL


def _shade(name: str, value: float | None, axis: FittedAxis) -> float | None:
    """Return how strong the colour of a cell is, from 0 to 1: the worse the stronger."""
    if value is None or math.isnan(value):
        return None
    if _identical(name, value):
        return 0.0
    share = axis.share(value)
    return round(0.06 + 0.94 * (1 - share if name in _LESS_IS_WORSE else share), 3)


def _row(page: LayerPage, model: str, row: Mapping[str, float | None], scale: tuple[str, FittedAxis]) -> dict[str, Any]:
    name, axis = scale
    return {
        "key": model,
        "name": page.names[model],
        "cells": [
            {"site": site, "shade": _shade(name, value, axis), "text": show_number(name, value)}
            for site, value in row.items()
        ],
    }


def _lines(
    page: LayerPage, table: Mapping[str, Mapping[str, float | None]], wide: int, scale: tuple[str, FittedAxis]
) -> list[dict[str, Any]]:
    """One line per model, in pixels; of outputs also that of the other stage, dashed, where a model has both."""
    name, axis = scale
    place = {site: at for at, site in enumerate(next(iter(table.values())))}
    values: dict[tuple[str, bool], Sequence[tuple[str, float | None]]] = {
        (model, False): list(cells.items()) for model, cells in table.items()
    }
    if name == "sqnr_db" and page.state.layers.show == "activations":
        for (model, stage), along in page.data.along.items():
            if model in table and stage != page.stage(model):
                values[model, True] = [(site, value) for site, value in along if site in place]
    lines = []
    for (model, is_other), row in values.items():
        points = [
            (wide * (place[site] + 0.5), LINES * (1 - axis.share(_on_axis(name, value))))
            for site, value in sorted(row, key=lambda pair: place[pair[0]])
            if value is not None and not math.isnan(value)
        ]
        path = "M" + "L".join(f"{x:.1f} {y:.1f}" for x, y in points)
        if points:
            lines.append({"key": model, "name": page.names[model], "dashed": is_other, "path": path})
    return lines


def _floor(name: str, axis: FittedAxis, top: int) -> float | None:
    """Where the lines cross 20 dB, below which findings begin; None where that is not on the axis."""
    is_there = name == "sqnr_db" and axis.low < 20 < axis.high  # noqa: PLR2004 - as pipeline.layers.compare.findings has it
    return top + LINES * (1 - axis.share(20.0)) if is_there else None


def _marks(
    page: LayerPage, models: Sequence[str], sites: Sequence[str], findings: Sequence[Found]
) -> list[dict[str, Any]]:
    """Findings at the cells that they are about; several of one cell are one mark."""
    sentences: dict[tuple[int, int], list[str]] = {}
    for finding in findings:
        column = _column(finding.site, sites)
        if column is not None and finding.model_key in models:
            sentences.setdefault((models.index(finding.model_key), column), []).append(finding.text)
    return [
        {
            "row": row,
            "column": column,
            "site": sites[column],
            "key": models[row],
            "name": page.names[models[row]],
            "text": ". ".join(dict.fromkeys(texts)),
        }
        for (row, column), texts in sorted(sentences.items())
    ]


def _column(site: str, sites: Sequence[str]) -> int | None:
    """The column of what a finding is about: the layer itself, its first tensor, or the layer that a tensor is of."""
    for at, name in enumerate(sites):
        if name == site or name.startswith(f"{site}."):
            return at
    return next((at for at, name in enumerate(sites) if site.startswith(f"{name}.")), None)


def _labels(sites: Sequence[str], wide: int) -> list[dict[str, Any]]:
    """As many names as there is room for, evenly spaced; of long ones the end."""
    step = math.ceil(_LABEL / wide)
    return [
        {
            "x": wide * (at + 0.5),
            "text": sites[at] if len(sites[at]) <= _LONGEST else "…" + sites[at][1 - _LONGEST :],
            "whole": sites[at],
        }
        for at in range(0, len(sites), step)
    ]
