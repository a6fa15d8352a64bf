"""Words of a recipe that name no value but several to choose among, which `search` tries: ranges, choices, optional steps. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

__all__ = ["OPTIONAL", "RANGE_WORDS", "is_choice", "is_range", "open_values", "search_refusals"]

RANGE_WORDS = ("from", "to", "log", "step")
OPTIONAL = "optional"
"""The word of a step that may be left out."""
_COMMAND = "python -m pipeline search recipe=..."


def is_range(value: object) -> bool:
    """Whether a value is written as a range: `{from: 0.3, to: 0.9}`, with `step` or `log`; perhaps with a mistake in it."""
    return isinstance(value, Mapping) and bool({"from", "to"} & value.keys()) and value.keys() <= set(RANGE_WORDS)


def is_choice(value: object) -> bool:
    """Whether a value is written as a choice: `{any: [...]}`."""
    return isinstance(value, Mapping) and value.keys() == {"any"}


def open_values(value: Any, place: str) -> Iterator[tuple[str, Any]]:
    """Yield the ranges and choices of a parameter with their places; those of mappings too (a strength per layer)."""
    if is_range(value) or is_choice(value):
        yield place, value
    elif isinstance(value, Mapping):
        for name, part in value.items():
            yield from open_values(part, f"{place}.{name}")


def search_refusals(raw: Mapping[str, Any], path: str) -> Iterator[str]:
    """Yield what a plain run says of a step that leaves something open: one line for each."""
    params = raw.get("with")
    for name, value in params.items() if isinstance(params, Mapping) else ():
        for place, part in open_values(value, str(name)):
            what = "a range" if is_range(part) else "a choice"
            yield (
                f"Step '{path}': `{place}` is {what}, which a search tries: {_COMMAND}. A plain run takes a value, or all of "
                "`{each: [...]}`"
            )
    if raw.get(OPTIONAL):
        yield (
            f"Step '{path}': `{OPTIONAL}: true` leaves a choice, which a search makes: {_COMMAND}. A plain run takes "
            "`ablate: true`, which makes both"
        )
