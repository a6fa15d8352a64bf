"""Proposals of models to look at before anybody has chosen some: the original, the best within the budget, the smallest."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from viewer.format.metrics import Better, MetricInfo, MetricRole, Pairing

if TYPE_CHECKING:
    from viewer.results.budget import Range
    from viewer.results.results import Results

__all__ = ["Proposal", "original_of", "proposals", "size_metric", "speed_metric"]

_FEWEST = 2
_TRAINING = "finetune"
"""The kind of operations that change weights and leave the network as it is."""
_MOST = 4


@dataclass(frozen=True, slots=True)
class Proposal:
    """A model that is worth a look, and why."""

    key: str
    why: str


def proposals(results: Results, quality: str, filters: Sequence[Range], base: str = "") -> list[Proposal]:
    """Return the original, the best within the budget and the smallest that nothing measurably beats; each model once.

    Where these are one, the models that were made of it first stand beside it.

    Args:
        results: those of all models.
        quality: the metric that the best is best in; empty: none is known.
        filters: the budget.
        base: key of the model that others are compared with; empty: the best original.
    """
    within = " within the budget" if filters else ""
    reasons: dict[str, str] = {}
    original = original_of(results, quality, base)
    if original is not None:
        reasons[results.keys[original]] = "base" if base else "the original"
    passing, size = results.ranking.passing(filters), size_metric(results)
    best = results.ranking.best(quality, passing) if quality else None
    if best is not None:
        reasons.setdefault(results.keys[best.row], f"best {results.label(quality)}{within}")
    front = results.ranking.front(size, quality, passing) if size and quality else []
    if front:
        smallest = min(front, key=lambda row: results.values(size)[row])
        reasons.setdefault(results.keys[smallest], f"smallest on the Pareto front{within}")
    if original is not None and len(reasons) < _FEWEST:
        root = results.forest.root(results.keys[original])
        below = [key for key in results.forest.preorder if key in results.row and results.forest.root(key) == root]
        for key in below[:_MOST]:
            reasons.setdefault(key, f"made of {results.text.name(root)}")
    return [Proposal(key, why) for key, why in reasons.items()]


def original_of(results: Results, quality: str, base: str = "") -> int | None:
    """Return the row that losses are told against: that of the chosen base, else of the best sound model that was not compressed.

    A root, or what training alone has made of it where that is measurably better: files begin with networks before their training.
    """
    if base in results.row:
        return results.row[base]
    eligible = results.sound & results.scope & ~results.elsewhere
    roots = eligible & (results.parent_rows < 0)
    first = next(iter(np.flatnonzero(roots).tolist()), None)
    best_root = results.ranking.best(quality, roots) if quality else None
    if best_root is None:
        return first
    best = results.ranking.best(quality, eligible & _not_compressed(results))
    return best_root.row if best is None or best_root.row in best.alike else best.row


def _not_compressed(results: Results) -> np.ndarray:
    """Return which rows are roots, or were made of one by training alone: bool (N,)."""
    trained: set[str] = set()
    for key in results.forest.preorder:  # parents come before their children
        parent = results.forest.parent(key)
        if parent is None or (parent in trained and results.forest[key].kind == _TRAINING):
            trained.add(key)
    return np.array([key in trained for key in results.keys], dtype=bool)


def size_metric(results: Results) -> str:
    """Return the metric that says how small a model is: that of most models, bytes before counts; empty if there is none."""
    return _suiting(
        results,
        [spec for spec in results.metrics if spec.role is MetricRole.SIZE and spec.better is Better.LOWER],
        lambda spec: (spec.unit != "B", not spec.primary),
    )


def speed_metric(results: Results) -> str:
    """Return the metric that says how fast a model is: of those that most models have undisturbed, one measured in pairs."""
    timed = [spec for spec in results.metrics if spec.role is MetricRole.COST and spec.clock]
    return _suiting(
        results,
        [spec for spec in timed if spec.better is not Better.NEITHER],
        lambda spec: (spec.pairing is Pairing.NONE, spec.unit == "x", not spec.primary),
    )


def _suiting(results: Results, specs: list[MetricInfo], rank: Callable[[MetricInfo], tuple[bool, ...]]) -> str:
    here = results.scope & ~results.elsewhere

    def order(spec: MetricInfo) -> tuple[int, ...]:
        measurements = np.isfinite(results.values(spec.name)) & ~results.unsure(spec.name) & here
        return (-int(measurements.sum()), *rank(spec))

    return min(specs, key=order).name if specs else ""
