"""Channel pruning step by step, each compared with the whole network without the channels that went."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import torch

from ops.calibration.sample_inputs import sample_inputs
from ops.core.channels import Kept, compose_cuts
from ops.core.operation import Context, TorchModel
from ops.prune.channels.budget import ChannelLimits
from ops.prune.channels.cut import ChannelCut, Criterion, Judged, decide, judge
from ops.prune.channels.trial import attempt, misread_groups
from ops.prune.channels.verify import wrong


@dataclass(slots=True)
class Narrowed:
    """A network after all steps, and what went."""

    model: TorchModel
    verdict: Judged
    cut: ChannelCut
    """Of the last step."""
    initial: dict[str, int]
    """Group -> its units before the first step."""
    channels: Kept = field(default_factory=dict)
    heads: dict[str, int] = field(default_factory=dict)


def cut_in_steps(
    model: TorchModel,
    ctx: Context,
    limits: ChannelLimits,
    *,
    criterion: Criterion,
    iterations: int,
    samples: int,
) -> Narrowed:
    """Return a copy that has lost the least important channels, judged anew in each of the steps.

    Groups that the tracer misread are left out, with the reason, and the others are cut without them.

    Args:
        model: stays as it is.
        ctx: gives instances to compare on, and training instances to criteria that need them.
        limits: what the last step is to reach, by chosen layer.
        criterion: what makes a unit important.
        iterations: number of steps.
        samples: training instances.

    Raises:
        OperationError: as `channel_prune`.
    """
    inputs = sample_inputs(model, ctx)
    misread: dict[str, str] = {}
    result: Narrowed | None = None
    for step in range(1, iterations + 1):
        current = model if result is None else result.model
        goal = replace(limits, ratios={name: ratio * step / iterations for name, ratio in limits.ratios.items()})
        while True:
            verdict = judge(
                current, limits.ratios.keys(), ctx, criterion=criterion, samples=samples, step=step, misread=misread
            )
            initial = result.initial if result else {group.root: len(group.units) for group in verdict.groups}
            cut = decide(current, verdict, initial, goal)
            narrow, reason = attempt(current, cut, inputs)
            if reason is None:
                break
            misread |= _uncuttable(current, verdict, cut, inputs, reason)
        before = result or Narrowed(model, verdict, cut, initial)
        result = Narrowed(
            narrow, verdict, cut, initial, compose_cuts(before.channels, cut.channels), {**before.heads, **cut.heads}
        )
        ctx.progress(step, iterations, f"step {step}")
    assert result is not None, "there is at least one step"
    return result


def _uncuttable(
    model: TorchModel, verdict: Judged, cut: ChannelCut, inputs: Mapping[str, torch.Tensor], reason: str
) -> dict[str, str]:
    """Return the groups that cannot be cut alone.

    Raises:
        OperationError: all can, yet not together.
    """
    result = misread_groups(model, verdict.groups, cut.units, inputs)
    if not result:
        raise wrong(model, reason, [group.root for group in verdict.groups])
    return result
