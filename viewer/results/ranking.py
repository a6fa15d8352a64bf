"""viewer.results.ranking."""

from __future__ import annotations

from collections.abc import Iterable

from viewer.results.budget import Budget, Range


def budgets(filters: Iterable[Range]) -> list[Budget]:
    """Return the state's filters as budgets."""
    return [Budget(metric, low, high) for metric, low, high in filters]
