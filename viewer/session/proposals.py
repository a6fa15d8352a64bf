"""Proposals of models to look at before anybody has chosen some: the original, the best within the budget, the smallest."""

from __future__ import annotations

import math
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
_UNNAMED = "base"
"""The operation of a root for which an imported file names none."""
_MOST = 4


_SMALLEST_OF_USE = {
    Better.HIGHER: "smallest on the Pareto front that keeps half of the {}",
    Better.LOWER: "smallest on the Pareto front with at most twice the {}",
    Better.NEITHER: "smallest on the Pareto front",
}


@dataclass(frozen=True, slots=True)
class Proposal:
    """A model that is worth a look, and why."""

    key: str
    why: str


def proposals(results: Results, quality: str, filters: Sequence[Range], base: str = "") -> list[Proposal]:
    """Return the original, the best within the budget and the smallest that nothing measurably beats; each model once.

    The smallest keeps at least half of the original's quality, or has at most twice its error: what has lost more is on the
    front of many studies, and of use to nobody. Where these are one, the models that were made of it first stand beside it.

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
    useful = [row for row in front if _is_of_use(results, quality, row, original)]
    if useful:
        smallest = min(useful, key=lambda row: results.values(size)[row])
        what = (
            "smallest on the Pareto front" if len(useful) == len(front) else _SMALLEST_OF_USE[results.better(quality)]
        )
        reasons.setdefault(results.keys[smallest], f"{what.format(results.label(quality))}{within}")
    if original is not None and len(reasons) < _FEWEST:
        root = results.forest.root(results.keys[original])
        below = [key for key in results.forest.preorder if key in results.row and results.forest.root(key) == root]
        for key in below[:_MOST]:
            reasons.setdefault(key, f"made of {results.text.name(root)}")
    return [Proposal(key, why) for key, why in reasons.items()]


def _is_of_use(results: Results, quality: str, row: int, original: int | None) -> bool:
    """Whether a model keeps half of the original's quality, or has at most twice its error; where that tells nothing, it does."""
    value, before = results.values(quality)[row], math.nan if original is None else results.values(quality)[original]
    if not before > 0:
        return True
    return bool(value <= 2 * before if results.better(quality) is Better.LOWER else value >= before / 2)


def original_of(results: Results, quality: str, base: str = "") -> int | None:
    """Return the row that losses are told against: that of the chosen base, else of the best sound original.

    A root, or what models were compressed from where that is measurably better: see `_originals`.
    """
    if base in results.row:
        return results.row[base]
    eligible = results.sound & results.scope & ~results.elsewhere
    roots = eligible & (results.parent_rows < 0)
    first = next(iter(np.flatnonzero(roots).tolist()), None)
    best_root = results.ranking.best(quality, roots) if quality else None
    if best_root is None:
        return first
    best = results.ranking.best(quality, eligible & _originals(results))
    return best_root.row if best is None or best_root.row in best.alike else best.row


def _originals(results: Results) -> np.ndarray:
    """Return which rows are originals, bool (N,): roots, and what training alone made of one, if models were compressed from that.

    Where they were compressed from the root itself, it is the original, and a model that was trained on stands beside it: but
    for a root of a file that names no operation for it, which may be a network before its training.
    """
    forest = results.forest
    uncompressed: set[str] = set()
    starts: set[str] = set()
    for key in forest.preorder:  # parents come before their children
        parent = forest.parent(key)
        if parent is None or (parent in uncompressed and forest[key].kind == _TRAINING):
            uncompressed.add(key)
        else:
            starts.add(parent)

    def is_original(key: str) -> bool:
        root = forest.root(key)
        is_begun_there = root not in starts or forest[root].op == _UNNAMED
        return key == root or (key in uncompressed and key in starts and is_begun_there)

    return np.fromiter(map(is_original, results.keys), dtype=bool, count=len(results.keys))


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
