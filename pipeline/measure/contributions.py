"""Contributions: shares of the steps of a chain in what the whole chain changed, and whether two of them work together.

Everything is linear in the values: they may be figures of models, logarithms of factors, or arrays of one value per instance.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Hashable, Iterator, Sequence
from typing import TypeVar

__all__ = ["interaction", "shapley_weights", "subsequences"]

Step = TypeVar("Step", bound=Hashable)


def subsequences(steps: Sequence[Step]) -> Iterator[tuple[Step, ...]]:
    """Yield every part of a chain, in the chain's order: 2^n, the empty one first."""
    for size in range(len(steps) + 1):
        yield from itertools.combinations(steps, size)


def shapley_weights(steps: Sequence[Step], step: Step) -> Iterator[tuple[tuple[Step, ...], tuple[Step, ...], float]]:
    """Yield what a step's share is the mean of: a part without it, the same with it, and the weight of that difference.

    The share is the mean of what the step changes over all orders in which the steps might be added (Shapley, 1953, A Value for
    n-Person Games); a part stands for a model that has its steps, in the chain's own order. Shares of all steps sum up to
    what the whole chain changed, exactly.

    Args:
        steps: all different.
        step: one of them.
    """
    others = [each for each in steps if each != step]
    total = math.factorial(len(steps))
    for part in subsequences(others):
        weight = math.factorial(len(part)) * math.factorial(len(steps) - len(part) - 1) / total
        joined = tuple(each for each in steps if each == step or each in part)
        yield part, joined, weight


def interaction(value: Callable[[tuple[Step, ...]], float], first: Step, second: Step) -> float:
    """Return by how much two steps together change more than the sum of each alone.

    Args:
        value: figure of the model with some steps: of none, of each, and of both in order.
        first: a step.
        second: the one that comes after it.
    """
    return value((first, second)) - value((first,)) - value((second,)) + value(())
