"""Budgets of channel pruning: the number of channels that each group keeps."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import torch

from ops.core.errors import OperationError
from ops.prune.channels.groups import ChannelGroup

Scope = Literal["layer", "global", "isomorphic"]
_EPSILON = 1e-9
"""So that (1 - 0.9) * 10 is 1 and not 0.99..."""


@dataclass(frozen=True, slots=True)
class ChannelLimits:
    """What a recipe asks for."""

    scope: Scope
    ratios: Mapping[str, float]
    """Chosen layer -> the share of its channels that goes; all alike but with the scope `layer`."""
    max_ratio: float
    round_to: int

    def asked(self, group: ChannelGroup) -> set[float]:
        """Return the shares that are given for the layers which make a group's channels."""
        makers = {member.layer for member in group.members if member.side == "out" and member.layer in self.ratios}
        return {self.ratios[name] for name in makers}

    def ratio(self, group: ChannelGroup) -> float:
        """Return the share of a group's channels that goes: of several the smallest, which no layer's exceeds."""
        return min(self.asked(group))


def kept_units(
    groups: Sequence[ChannelGroup], scores: Sequence[torch.Tensor], initial: Mapping[str, int], limits: ChannelLimits
) -> list[list[int]]:
    """Return the units that each group keeps, in rising order: the most important, of equal ones the first.

    `initial` is each group's number of units before the first step, by its root: ratios refer to it.

    Raises:
        OperationError: a layer would lose all its channels; names it and the largest possible ratio.
    """
    expected = _target_counts(groups, scores, initial, limits)
    remaining = []
    for group, score, want in zip(groups, scores, expected, strict=True):
        count = _within_limits(group, want, initial[group.root], limits)
        remaining.append(sorted(score.argsort(descending=True, stable=True)[:count].tolist()))
    return remaining


def _target_counts(
    groups: Sequence[ChannelGroup], scores: Sequence[torch.Tensor], initial: Mapping[str, int], limits: ChannelLimits
) -> list[int]:
    if limits.scope == "layer":
        return [_whole(initial[group.root] * (1 - limits.ratio(group)), group) for group in groups]
    share = 1 - next(iter(limits.ratios.values()))
    expected = [0] * len(groups)
    scopes: dict[object, list[int]] = {}
    for index, group in enumerate(groups):
        alike = group.shape if limits.scope == "isomorphic" else group.attention is None  # heads compete with heads
        scopes.setdefault(alike, []).append(index)
    for members in scopes.values():
        total = sum(initial[groups[index].root] for index in members)
        owners = torch.cat([torch.full((len(scores[index]),), index) for index in members])
        order = torch.cat([scores[index] for index in members]).argsort(descending=True, stable=True)
        for index in owners[order[: int(total * share + _EPSILON)]].tolist():
            expected[index] += 1
    return expected


def _whole(amount: float, group: ChannelGroup) -> int:
    if amount + _EPSILON < 1:
        units = len(group.units)
        what = "heads" if group.attention else "channels"
        raise OperationError(
            f"ratio {1 - amount / units:.4g} would leave no {what} of '{group.root}', which has {units}. "
            f"Largest possible: {int((1 - 1 / units) * 10_000) / 10_000:.4f}; or exclude that layer"
        )
    # what goes as one is a large share of its layer: to the nearest number, while channels round down as Torch-Pruning's do
    return int(amount + 0.5) if group.units.shape[1] > 1 else int(amount + _EPSILON)


def _within_limits(group: ChannelGroup, want: int, initial: int, limits: ChannelLimits) -> int:
    least = max(1, int(initial * (1 - limits.max_ratio) + _EPSILON))
    step = 1 if group.attention else limits.round_to // math.gcd(limits.round_to, group.units.shape[1])
    count = max(want, least) // step * step
    return min(len(group.units), count if count >= least else -(-least // step) * step)
