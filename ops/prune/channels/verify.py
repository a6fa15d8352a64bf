"""See that a narrowed network computes what the whole one does without the channels that went.

The tracer infers from shapes which channels belong together. Where it errs, the network still runs, on the wrong channels:
so its outputs are compared with those of the whole network whose layers do not see the channels that went.
"""

from __future__ import annotations

from contextlib import ExitStack
from typing import Any

import torch
from torch import nn

from ops.core.channels import Kept, is_depthwise, width
from ops.core.errors import OperationError
from ops.core.forward import example_inputs, forward
from ops.core.operation import TorchModel

_TOLERANCE = 1e-3
"""Of the largest output: sums over fewer channels are rounded differently."""


def check_cut(before: TorchModel, after: TorchModel, kept: Kept) -> None:
    """Compare the networks on example inputs.

    Where normalisation over the channels themselves was narrowed (the width of a transformer), only shapes are compared:
    statistics over fewer channels differ by design.

    Raises:
        OperationError: the narrow network does not run, or gives other shapes or other outputs; names the architecture.
    """
    architecture = before.architecture
    inputs = example_inputs(architecture, batch=2)
    with torch.no_grad(), ExitStack() as stack:
        try:
            narrow = forward(after.module, inputs, architecture.task)
        except (RuntimeError, ValueError, TypeError, LookupError, AttributeError) as error:
            raise _wrong(before, f"the narrower network does not run ({type(error).__name__}: {error})") from None
        silenced = not any(_mixes_channels(before.module.get_submodule(name)) for name in kept)
        for name, sides in kept.items():
            layer = before.module.get_submodule(name)
            if silenced and "in" in sides and not is_depthwise(layer):
                gone = sorted(set(range(width(layer, "in"))) - set(sides["in"]))
                stack.callback(layer.register_forward_pre_hook(_silencer(layer, gone)).remove)
        whole = forward(before.module, inputs, architecture.task)
    for name, expected in whole.items():
        if narrow[name].shape != expected.shape:
            raise _wrong(
                before, f"'{name}' changed its shape from {tuple(expected.shape)} to {tuple(narrow[name].shape)}"
            )
        largest = float(expected.abs().max())
        if silenced and not bool(((narrow[name] - expected).abs() <= _TOLERANCE * max(largest, 1e-6)).all()):
            difference = float((narrow[name] - expected).abs().max())
            raise _wrong(before, f"'{name}' differs by {difference:.3g} from what the remaining channels give")


def _mixes_channels(layer: nn.Module) -> bool:
    return isinstance(layer, nn.LayerNorm | nn.GroupNorm)


def _silencer(layer: nn.Module, gone: list[int]) -> Any:
    axis = -1 if isinstance(layer, nn.Linear) else 1

    def silence(_: nn.Module, given: tuple[torch.Tensor, ...]) -> tuple[torch.Tensor, ...]:
        return (given[0].index_fill(axis, torch.tensor(gone), 0), *given[1:])

    return silence


def _wrong(model: TorchModel, what: str) -> OperationError:
    return OperationError(
        f"'{model.architecture.name}': the tracer misread how this architecture uses its channels: {what}. "
        "Exclude the layers concerned, or use unstructured pruning or factorization"
    )
