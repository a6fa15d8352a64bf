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
    """Return the row that losses are told against: that of the chosen base, else of the best sound model that was not compressed."""
    if base in results.row:
        return results.row[base]
    eligible = results.sound & results.scope & ~results.elsewhere
    roots = [row for row in np.flatnonzero(eligible).tolist() if results.parent_rows[row] < 0]
    if not roots or not quality:
        return roots[0] if roots else None
    among = np.zeros(len(results.keys), dtype=bool)
    among[roots] = True
    best = results.ranking.best(quality, among)
    return best.row if best is not None else roots[0]


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
