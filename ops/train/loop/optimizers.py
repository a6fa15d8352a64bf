"""Optimisers and learning-rate schedules by the names that recipes use."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    import torch

OptimizerName = Literal["adamw", "sgd"]
ScheduleName = Literal["one_cycle", "cosine", "linear", "constant"]
_MOMENTUM = 0.9


def make_optimizer(
    name: OptimizerName, parameters: Mapping[str, torch.nn.Parameter], *, learning_rate: float, weight_decay: float
) -> torch.optim.Optimizer:
    """Return an optimiser that decays matrices and kernels, but not biases and normalisation (one-dimensional).

    Args:
        name: `sgd` (with Nesterov momentum) or AdamW.
        parameters: path -> parameter; those of one dimension do not decay.
        learning_rate: the highest that the schedule reaches.
        weight_decay: per step and unit of learning rate, as torch has it.
    """
    import torch

    decayed = [parameter for parameter in parameters.values() if parameter.ndim > 1]
    plain = [parameter for parameter in parameters.values() if parameter.ndim <= 1]
    groups: list[dict[str, Any]] = [
        {"params": decayed, "weight_decay": weight_decay},
        {"params": plain, "weight_decay": 0.0},
    ]
    groups = [group for group in groups if group["params"]]
    if name == "sgd":
        return torch.optim.SGD(groups, lr=learning_rate, momentum=_MOMENTUM, nesterov=True)
    # fused: a quarter of the time that a loop over tensors takes
    return torch.optim.AdamW(groups, lr=learning_rate, fused=True)


def make_schedule(
    name: ScheduleName, optimizer: torch.optim.Optimizer, *, learning_rate: float, steps: int
) -> torch.optim.lr_scheduler.LRScheduler:
    """Return a schedule over `steps` optimiser steps whose highest rate is `learning_rate`.

    `one_cycle` warms up for 30 % of the steps and then falls to nearly 0 (Smith and Topin 2018, arXiv:1708.07120);
    `cosine` and `linear` fall from the start to 0.

    Args:
        name: `one_cycle`, `cosine`, `linear` or `constant`.
        optimizer: its rate is what the schedule changes.
        learning_rate: the highest rate of `one_cycle`; the others begin at the optimiser's own.
        steps: optimiser steps of the whole training.
    """
    from torch.optim import lr_scheduler

    if name == "one_cycle":
        return lr_scheduler.OneCycleLR(optimizer, max_lr=learning_rate, total_steps=steps)
    if name == "cosine":
        return lr_scheduler.CosineAnnealingLR(optimizer, T_max=steps)
    if name == "linear":
        return lr_scheduler.LinearLR(optimizer, start_factor=1.0, end_factor=0.0, total_iters=steps)
    return lr_scheduler.ConstantLR(optimizer, factor=1.0)
