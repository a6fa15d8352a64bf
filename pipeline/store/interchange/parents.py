"""Parents in files of other programs: every one must exist, and nobody descends from themselves."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from ops.core.registry import nearest

__all__ = ["cycles", "family_problems"]


def family_problems(parents: Mapping[str, str | None]) -> Iterator[str]:
    """Yield what is wrong with some models' parents, one line each.

    Args:
        parents: model -> its parent; None: it has none.
    """
    for model, parent in parents.items():
        if parent is not None and parent not in parents:
            yield f"'{model}': its parent '{parent}' is not among the models.{nearest(str(parent), parents)}"
    yield from cycles(parents)


def cycles(parents: Mapping[str, str | None]) -> Iterator[str]:
    """Yield a line for each cycle. A model is walked through at most once."""
    done: set[str] = set()
    for start in parents:
        walk: dict[str, None] = {}
        at: str | None = start
        while at is not None and at in parents and at not in done and at not in walk:
            walk[at] = None
            at = parents[at]
        if at is not None and at in walk:
            cycle = list(walk)[list(walk).index(at) :]
            yield f"models form a cycle: {' -> '.join([*cycle, at])}"
        done.update(walk)
