"""Entries of conf/ that a recipe writes out: they may read files or call functions, so that not everybody may give them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from ops.core.operation import OPERATIONS

__all__ = ["entries_in", "model_entries"]


def entries_in(recipe: Mapping[str, Any]) -> Iterator[tuple[str, str, Mapping[str, Any]]]:
    """Yield every entry that a recipe writes out: its place, the word that it stands under, and the entry."""
    for word in ("model", "dataset"):
        if isinstance(recipe.get(word), Mapping):
            yield "recipe", word, recipe[word]
    yield from model_entries(recipe.get("tree"))


def model_entries(tree: Any) -> Iterator[tuple[str, str, Mapping[str, Any]]]:
    """Yield every model entry that the steps of a tree write out, as `entries_in` does."""
    waiting = [tree]
    while waiting:
        steps = waiting.pop()
        for name, step in steps.items() if isinstance(steps, Mapping) else ():
            if isinstance(step, Mapping):
                waiting.append(step.get("then"))
                yield from ((f"Step '{name}'", word, entry) for word, entry in _of_step(step))


def _of_step(step: Mapping[str, Any]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    op, params = step.get("op"), step.get("with")
    if not isinstance(params, Mapping) or not isinstance(op, str) or op not in OPERATIONS:
        return
    for word in OPERATIONS[op].marked("model entry"):
        value = params.get(word)
        choices = value["each"] if isinstance(value, Mapping) and "each" in value else [value]
        yield from ((word, one) for one in choices or () if isinstance(one, Mapping))
