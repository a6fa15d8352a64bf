"""A few real instances to run a network on, where the data set has any."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from ops.core.forward import example_inputs, tensors
from ops.core.operation import Context, TorchModel

if TYPE_CHECKING:
    import numpy as np
    import torch

    from ops.core.model import Architecture


def sample_inputs(model: TorchModel, ctx: Context, *, count: int = 4) -> dict[str, torch.Tensor]:
    """Return up to `count` calibration instances as tensors, or noise of the right shapes.

    Args:
        model: says which inputs there are, and of which shape where the split is empty or does not fit.
        ctx: gives the calibration split.
        count: the most instances.
    """
    return tensors(sample_batch(model.architecture, ctx, count=count))


def sample_batch(architecture: Architecture, ctx: Context, *, count: int) -> Mapping[str, np.ndarray]:
    """Return up to `count` calibration instances, or noise of the right shapes.

    Instances with values that are not finite, or that have other inputs than the model, are of no use here.

    Args:
        architecture: that of the model, with the shapes of its inputs.
        ctx: gives the calibration split.
        count: the most instances; noise always has two.
    """
    if ctx.data.size("calibration"):
        batch = next(iter(ctx.data.batches("calibration", batch_size=count, samples=count)), None)
        if batch is not None and _fits(architecture, batch.inputs):
            return batch.inputs
    return {name: tensor.numpy() for name, tensor in example_inputs(architecture, batch=2).items()}


def _fits(architecture: Architecture, inputs: Mapping[str, np.ndarray]) -> bool:
    import numpy as np

    expected = sorted(tuple(shape) for _, shape in architecture.inputs.values())
    values = sorted(array.shape[1:] for array in inputs.values())
    return values == expected and all(np.isfinite(array).all() for array in inputs.values())
