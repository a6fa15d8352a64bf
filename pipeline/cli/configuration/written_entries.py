"""Entries of the model and the data set that a recipe writes out instead of naming them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from pipeline.cli.configuration.overrides import Override

WRITTEN_OUT = ("model", "dataset")
"""Folders of conf/ of which a recipe may write the entry out."""


def with_entries(rest: Mapping[str, Any], recipe: dict[str, Any], words: Sequence[Override]) -> dict[str, Any]:
    """Put the entries that a recipe writes out where those are that it names, with what the command line changes of them."""
    result = {**rest, "recipe": recipe}
    for group in WRITTEN_OUT:
        entry = recipe.get(group)
        if isinstance(entry, Mapping):
            recipe[group] = None
            if not any(word.key == group for word in words):
                result[group] = _merged(entry, rest.get(group) or {})
    return result


def _merged(entry: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    merged = {
        name: _merged(value, changes[name])
        if isinstance(value, Mapping) and isinstance(changes.get(name), Mapping)
        else changes.get(name, value)
        for name, value in entry.items()
    }
    return {**merged, **{name: value for name, value in changes.items() if name not in entry}}
