"""The heat map of sensitivity: layers by candidates, darker where a candidate alone does more damage. Pure."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from viewer.layers.queries import LayerDamage
from viewer.layers.table import matcher
from viewer.session.state import LayersState

__all__ = ["MOST_ROWS", "damage_maps"]

MOST_ROWS = 60
"""Layers that are drawn; the filter chooses others."""
_MARK = "|"
_DECADES = 4.0
"""From the largest damage down to this many powers of ten below it the colour fades."""
_NUMBERS = (
    ("kl", "kl_se", "divergence, nats"),
    ("loss", "loss_se", "change of the loss, nats"),
    ("flips", "flips_se", "answers that change"),
)
_SAVINGS = (
    ("weight_bytes", "bytes fewer"),
    ("compressed_weight_bytes", "bytes fewer, compressed"),
    ("macs", "multiply-accumulates fewer"),
)
_MICRO = 1e6
_BROKEN = 1e299
"""Damage from which on the changed model gives no numbers."""


def damage_maps(
    damages: Sequence[LayerDamage], models: Sequence[str], names: Mapping[str, str], state: LayersState
) -> list[dict[str, Any]]:
    """Return a map for each model whose layers were measured.

    Args:
        damages: of all models, in the order of the network.
        models: keys, in the order of the page.
        names: of models, for people.
        state: the filter, and the cell that is open.
    """
    fits, _ = matcher(state.filter)
    maps = []
    for model in models:
        rows = [row for row in damages if row.model_key == model]
        visible = [row for row in rows if fits(row.layer)]
        if visible:
            maps.append(_map(model, names[model], visible, state.damage))
    return maps


def _map(model: str, name: str, rows: Sequence[LayerDamage], is_open: str) -> dict[str, Any]:
    candidates = list(dict.fromkeys(row.candidate for row in rows))
    layers = list(dict.fromkeys(row.layer for row in rows))
    largest = max((value for row in rows if (value := _value(row)) is not None and value < _BROKEN), default=0.0)
    cells = {(row.layer, row.candidate): _cell(row, largest, is_open) for row in rows}
    details = next((row for row in rows if _address(row) == is_open), None)
    return {
        "model": model,
        "name": name,
        "candidates": candidates,
        "rows": [(layer, [cells.get((layer, label)) for label in candidates]) for layer in layers[:MOST_ROWS]],
        "left_out": max(0, len(layers) - MOST_ROWS),
        "instances": max(int(row.numbers["instances"] or 0) for row in rows),
        "details": None if details is None else _details(details),
    }


def _address(row: LayerDamage) -> str:
    return _MARK.join((row.model_key[:12], row.candidate, row.layer))


def _value(row: LayerDamage) -> float | None:
    """The measured divergence, else the loss, else the estimate."""
    numbers = row.numbers
    return next((numbers[name] for name in ("kl", "loss", "score") if numbers[name] is not None), None)


def _cell(row: LayerDamage, largest: float, is_open: str) -> dict[str, Any]:
    value, error = _value(row), row.numbers["kl_se"]
    is_estimate = row.numbers["kl"] is None and row.numbers["loss"] is None
    text = "does not go" if row.reason else "not known" if value is None else f"{'~' if is_estimate else ''}{value:.2g}"
    if value is not None and value >= _BROKEN:
        text = "no numbers"
    return {
        "address": _address(row),
        "open": _address(row) == is_open,
        "text": text,
        "error": "" if error is None or row.reason or is_estimate else f"{error:.1g}",
        "shade": None if value is None or row.reason else _shade(value, largest),
        "label": f"{row.layer}, {row.candidate}: {row.reason or text}",
    }


def _shade(value: float, largest: float) -> float:
    """From 0 to 1 along powers of ten: damages of one network differ by thousands."""
    if value >= _BROKEN:
        return 1.0
    if value <= 0 or largest <= 0:
        return 0.0
    return max(0.0, min(1.0, 1 + math.log10(min(value, largest) / largest) / _DECADES))


def _details(row: LayerDamage) -> dict[str, Any]:
    numbers = row.numbers
    lines = []
    for name, error, text in _NUMBERS:
        value, spread = numbers[name], numbers[error]
        if value is not None:
            lines.append((text, f"{value:.3g}" + (f" ± {spread:.1g}" if spread is not None else "")))
    if numbers["score"] is not None:
        lines.append(("divergence as gradients estimate it, nats", f"{numbers['score']:.3g}"))
    lines += [(text, f"{value:,.0f}") for name, text in _SAVINGS if (value := numbers[name]) is not None]
    for name, error, text in (
        ("saved_seconds", "saved_se", "µs less, by the layer's own time"),
        ("whole_seconds", "whole_se", "µs less, by the whole model's"),
    ):
        value, spread = numbers[name], numbers[error]
        if value is not None:
            lines.append((f"{text}, on {row.target}", f"{_MICRO * value:.1f} ± {_MICRO * (spread or 0.0):.1f}"))
    together = row.members if len(row.members) > 1 else ()
    return {"title": f"{row.layer}: {row.candidate}", "lines": lines, "reason": row.reason, "together": together}
