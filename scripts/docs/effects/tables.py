"""One table per network: a row for every operation that was applied to its base."""

from __future__ import annotations

from collections.abc import Sequence

from scripts.docs.effects.networks import THEN, Network, change, is_int8, label
from scripts.docs.effects.queries import Measured

_CONTENDED = "\\*"


def table(network: Network) -> str:
    """Return the table in Markdown: quality, what became of it after what may follow, speed and size."""
    rows = [network.base, *sorted((m for m in network.children(network.base)), key=lambda m: (m.op, _natural(m)))]
    then = [name for name, what in THEN.items() if any(network.after(row, what) for row in rows[1:])]
    entry = network.base.params.get("model") or {}
    title = (
        f"**{entry.get('name', network.base.name)} on {network.base.dataset}** ({network.base.scores.size:,} instances)"
    )
    head = [title, network.quality, "change", *then, "then int8", "times as fast", "file"]
    cells = [head, ["---"] * len(head), *(_row(network, row, then) for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in cells)


def _row(network: Network, row: Measured, then: Sequence[str]) -> list[str]:
    base = network.base
    int8 = _shipped(network, row)
    against = "" if row is base else str(change(row, base))
    later = [] if row is base else [network.after(row, THEN[name]) for name in then]
    quantized = _after(int8, network.models[str(int8.parent)]) if int8 else ""
    speeds = " · ".join(_speed(model, base) for model in (row, int8) if model)
    sizes = " · ".join(
        f"{model.file_bytes / base.file_bytes:.2f}"
        for model in (row, int8)
        if model and model.file_bytes and base.file_bytes
    )
    cells = [_after(model, row) if model else "" for model in later] or [""] * len(then)
    return [label(row), f"{100 * row.scores.mean():.1f}", against, *cells, quantized, speeds, sizes]


def _shipped(network: Network, row: Measured) -> Measured | None:
    """The int8 model of a row: of the row as it is, or else of what its repair made of it."""
    repaired = [network.after(row, what) for what in reversed(THEN.values())] if row is not network.base else []
    return next((int8 for model in (row, *repaired) if model and (int8 := network.after(model, is_int8))), None)


def _after(model: Measured, parent: Measured) -> str:
    return f"{100 * model.scores.mean():.1f} ({change(model, parent)})"


def _speed(model: Measured, base: Measured) -> str:
    speed = model.speed
    if speed is None:
        return "1.00" if model is base else "?"
    between = "" if speed.low is None or speed.high is None else f" [{speed.low:.2f}, {speed.high:.2f}]"
    return f"{speed.ratio:.2f}{between}{_CONTENDED if speed.contended else ''}"


def _natural(model: Measured) -> tuple[list[str], list[float]]:
    """Sort by what is no number, then by strength."""
    numbers = [float(value) for value in model.params.values() if type(value) in (int, float)]
    return [str(value) for value in model.params.values() if isinstance(value, str)], numbers
