"""Try a cut, and find the groups of channels that the tracer misread by cutting one at a time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch

from ops.core.operation import TorchModel
from ops.prune.channels.cut import ChannelCut, apply, cut_of
from ops.prune.channels.groups import ChannelGroup
from ops.prune.channels.verify import difference


def attempt(model: TorchModel, cut: ChannelCut, inputs: Mapping[str, torch.Tensor]) -> tuple[TorchModel, str | None]:
    """Return a narrower copy, and how it differs from the whole network without the channels that went, if it does.

    Args:
        model: stays as it is.
        cut: the channels that are to stay.
        inputs: instances, by forward argument.
    """
    emptied = next((name for name, sides in cut.channels.items() if not all(sides.values())), None)
    if emptied is not None:
        return model, f"'{emptied}' would have no channels left"
    narrow = apply(model, cut, fresh=True)
    return narrow, difference(model, narrow, cut.channels, inputs) if cut.channels else None


def misread_groups(
    model: TorchModel,
    groups: Sequence[ChannelGroup],
    units: Mapping[str, Sequence[int]],
    inputs: Mapping[str, torch.Tensor],
) -> dict[str, str]:
    """Return by the name of its first layer why a group cannot go: without some of it, the network computes something else.

    Args:
        model: stays as it is.
        groups: each is cut alone, from a copy.
        units: of each group those that are to stay.
        inputs: instances, by forward argument.
    """
    result: dict[str, str] = {}
    for group in groups:
        cut = cut_of(model, [group], [units[group.root]])
        _, reason = attempt(model, cut, inputs)
        if reason:
            result[group.root] = f"the tracer misread how the network uses these channels: cut alone, {reason}"
    return result
