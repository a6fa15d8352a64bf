"""Activation-aware pruning: what goes is decided by the inputs that each layer really sees."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field

from ops.core.operation import Context, Exclude, Fraction, Include, Kind, Requirement, TorchModel, Uses, operation
from ops.core.params import PerLayer

if TYPE_CHECKING:
    import torch

    from ops.prune.weights.layerwise import Rows


@operation(kind=Kind.PRUNE, version=3, uses={Uses.DATA}, needs=lambda _: Requirement.INSTANCES)
def activation_prune(
    model: TorchModel,
    ctx: Context,
    *,
    sparsity: PerLayer[Fraction],
    method: Literal["wanda", "sparsegpt"] = "wanda",
    samples: Annotated[int, Field(ge=1)] = 128,
    dampening: Annotated[float, Field(gt=0, le=1)] = 0.01,
    block_size: Annotated[int, Field(ge=1)] = 128,
    include: Include = (),
    exclude: Exclude = (),
) -> TorchModel:
    """Zero the weights that matter least for each layer's outputs on calibration data.

    For when there is no time to fine-tune: at the same sparsity it keeps more accuracy than magnitude pruning, above all in
    transformers. Layers are pruned one after the other, each with the inputs that the pruned layers before it give; every
    layer gets the same sparsity, exact to one weight. Earlier pruning counts and stays.

    Args:
        model: stays as it is.
        ctx: gives calibration instances; no other split is read.
        sparsity: share of zeros in each chosen layer afterwards; also by layer.
        method: `wanda` scores |w| times the norm of its input, within each output (Sun et al., "A Simple and Effective
            Pruning Approach for Large Language Models", ICLR 2024); `sparsegpt` also corrects the remaining weights for
            what was lost (Frantar and Alistarh, "SparseGPT", ICML 2023), which costs a matrix inverse per layer.
        samples: calibration instances.
        dampening: `sparsegpt`: added to the diagonal of the second moments, as a share of its mean.
        block_size: `sparsegpt`: inputs whose weights are chosen together.
        include: default: convolutions and linear layers.
        exclude: layers to leave alone.

    Raises:
        OperationError: a pattern matches nothing, the calibration split is empty, an activation or a weight is not finite,
            or a layer would lose all its weights.
    """
    from ops.core.strength import strengths
    from ops.core.tied import choose_weighted
    from ops.prune.weights.layerwise import note_achieved, prune_layers
    from ops.prune.weights.sparsegpt import sparsegpt

    layers, reasons = choose_weighted(model, include, exclude)
    values, others = strengths(model, layers, sparsity)
    layers = {name: layer for name, layer in layers.items() if name in values}

    def prune(rows: Rows) -> torch.Tensor:
        if method == "wanda":
            return _wanda(rows, values[rows.name])
        return sparsegpt(rows, values[rows.name], dampening=dampening, block_size=block_size)

    unchanged = reasons | others
    result = prune_layers(model, layers, ctx, prune, samples=samples, full=method == "sparsegpt", unchanged=unchanged)
    ctx.note("samples", min(samples, ctx.data.size("calibration")))
    note_achieved(ctx, result, values)
    return result


def _wanda(rows: Rows, sparsity: float) -> torch.Tensor:
    """Return which weights stay: in each output row those with the largest |w| * norm of the input."""
    import torch

    assert rows.moments is not None, "samples is at least 1"
    scores = rows.weights.abs() * rows.moments.sqrt().float().unsqueeze(1)
    scores[~rows.mask] = -1
    groups, outputs, inputs = scores.shape
    # rows of nine inputs (depthwise) cannot lose exactly half: some lose one more, so that the layer's total is exact
    ends = torch.arange(groups * outputs + 1) * round(sparsity * scores.numel()) // (groups * outputs)
    counts = ends.diff().view(groups, outputs, 1)
    ranks = torch.empty_like(scores, dtype=torch.int64)
    order = scores.argsort(dim=-1, stable=True)
    ranks.scatter_(-1, order, torch.arange(inputs).expand_as(order))
    return ranks >= counts
