"""Whether a network gives an instance the same outputs each time: what is measured of any other says nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ops.core.forward import example_inputs, forward
from pipeline.models.api import ModelError

if TYPE_CHECKING:
    from collections.abc import Mapping

    import torch

    from ops.core.model import Architecture

_TOLERANCE = 1e-4
"""Of the largest output: threads may add in another order."""
_SHOWN = 3


def check_repeatability(module: torch.nn.Module, architecture: Architecture) -> None:
    """Run a network in evaluation mode on two instances, again, and on the first beside another one.

    Args:
        module: in evaluation mode; its random numbers are drawn apart from the caller's.
        architecture: says what it takes.

    Raises:
        ModelError: it draws random numbers, keeps a state, or normalises over the batch.
    """
    import torch

    inputs = example_inputs(architecture, batch=2)
    # the second instance of floating point is another one; the same size, so that the same kernels run
    others = {
        name: torch.cat([tensor[:1], 1 - tensor[1:]]) if tensor.is_floating_point() else tensor
        for name, tensor in inputs.items()
    }
    try:
        with torch.no_grad(), torch.random.fork_rng(devices=[]):
            first, again, beside = (forward(module, feed, architecture.task) for feed in (inputs, inputs, others))
    except Exception:  # noqa: BLE001 - boundary: a network that refuses noise (it wants 0 to 1, say) cannot be asked
        return
    if difference := _difference(first, again, rows=2):
        raise ModelError(
            f"run again on the same inputs, the network gives other outputs ({difference}): it draws random numbers in "
            "evaluation (`dropout` without `training=self.training`, or a layer that stays in training mode), or keeps a "
            f"state. Let its answers depend on its inputs alone{_suspects(module)}"
        )
    if difference := _difference(first, beside, rows=1):
        raise ModelError(
            f"beside another instance, the network gives an instance other outputs ({difference}): it normalises over the "
            "batch (a batch normalisation that stays in training mode, or without running statistics), and its answers would "
            f"be those of one batch size{_suspects(module)}"
        )


def _difference(first: Mapping[str, torch.Tensor], second: Mapping[str, torch.Tensor], *, rows: int) -> str | None:
    """Say which output of the first rows differs, and by how much; None if none does. What is not finite is not compared."""
    for name, expected in first.items():
        values, reference = second[name][:rows].float(), expected[:rows].float()
        if values.shape != reference.shape:
            return f"'{name}' is {list(values.shape)} instead of {list(reference.shape)}"
        finite = reference.isfinite()
        if not bool(finite.any()):
            continue
        largest = float(reference[finite].abs().max())
        distance = float((values - reference)[finite].abs().nan_to_num(nan=float("inf")).max())
        if distance > _TOLERANCE * largest:
            return f"'{name}' differs by {distance:.3g}, where the largest is {largest:.3g}"
    return None


def _suspects(module: torch.nn.Module) -> str:
    """Name the layers that stay in training mode, or that have no running statistics."""
    from torch.nn.modules.batchnorm import _BatchNorm

    names = [
        name
        for name, part in module.named_modules()
        if name and (part.training or (isinstance(part, _BatchNorm) and part.running_mean is None))
    ]
    if not names:
        return ""
    more = f" and {len(names) - _SHOWN} more" if names[_SHOWN:] else ""
    return f". In question: {', '.join(map(repr, names[:_SHOWN]))}{more}"
