"""Smoothing: outliers of activations move into weights, so that both can be quantized."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import Field

from ops.core.errors import OperationError
from ops.core.operation import (
    Ancestry,
    Context,
    Exclude,
    Fraction,
    Include,
    Kind,
    Requirement,
    TorchModel,
    Uses,
    operation,
)
from ops.core.order import palette_lost

if TYPE_CHECKING:
    import torch

    from ops.quantize.methods.smooth_pairs import SmoothPair

_CONVOLUTIONAL = {"depthwise_cnn", "efficientnet", "mobilenet_v1", "mobilenet_v2", "regnet", "residual_cnn", "resnet"}
"""Architectures of Hugging Face transformers, and builders, whose networks have no such place."""
_TOLERANCE = 1e-3  # of the largest output; float32 rounding stays well below it
_WHY = (
    "smooth: nothing to smooth: no normalisation layer feeds linear layers alone, and no attention's values are known"
)


def _refuse(ancestry: Ancestry, params: Mapping[str, Any]) -> str | None:
    architecture = ancestry.model.get("architecture") or ancestry.model.get("builder")
    if architecture in _CONVOLUTIONAL:
        return f"'{architecture}' has no normalisation that feeds linear layers; convolutions quantize well without"
    return palette_lost(ancestry, params)


@operation(kind=Kind.CALIBRATE, version=3, uses={Uses.DATA}, refuse=_refuse, needs=lambda _: Requirement.INSTANCES)
def smooth(
    model: TorchModel,
    ctx: Context,
    *,
    alpha: Fraction = 0.5,
    samples: Annotated[int, Field(ge=1)] = 128,
    include: Include = (),
    exclude: Exclude = (),
) -> TorchModel:
    """Move the range of activation channels into the weights that follow, leaving the network's outputs as they are.

    For transformers, before `quantize`: a few channels of large values spoil the 8-bit scale of all others. Works where a
    normalisation feeds linear layers alone (pre-norm blocks: ViT, GPT, T5), and between an attention's values and its
    output layer (BERT too).

    Args:
        model: stays as it is.
        ctx: gives calibration instances.
        alpha: share of the range that moves: 0 leaves it in the activations, 1 moves all of it.
        samples: calibration instances.
        include: linear layers whose inputs are smoothed; default: all where it is possible.
        exclude: linear layers to leave alone.

    Raises:
        OperationError: the network has no such place, a pattern matches nothing, or the calibration split is empty or has
            NaN.

    Xiao et al., "SmoothQuant", ICML 2023 (arXiv:2211.10438); equation 4.
    """
    import torch

    from ops.calibration.batches import calibration_batches
    from ops.core.forward import forward, tensors
    from ops.quantize.methods.smooth_pairs import smooth_pairs

    result = model.copy()
    first = next(calibration_batches(ctx, samples=2, batch_size=2))
    pairs = _selected_pairs(result, smooth_pairs(result, first), include, exclude)
    for pair, largest in _input_ranges(result, pairs, ctx, samples):
        _migrate(result.module, pair, largest, alpha)
    with torch.no_grad():
        inputs, task = tensors(first.inputs), model.architecture.task
        before, after = (forward(part.module.eval(), inputs, task) for part in (model, result))
    for name, values in before.items():
        if float((values - after[name]).abs().max()) > _TOLERANCE * max(1.0, float(values.abs().max())):
            raise OperationError(
                f"smooth: the outputs would change, so a layer among {_names(pairs)} is used in another way"
            )
    ctx.note("smoothed", {pair.producer: list(pair.consumers) for pair in pairs})
    return result


def _selected_pairs(
    model: TorchModel, pairs: Sequence[SmoothPair], include: Sequence[str], exclude: Sequence[str]
) -> list[SmoothPair]:
    """Keep the pairs all of whose consumers are chosen: what they share can only be scaled for all of them."""
    from ops.core.network.sharing import sharing_layers
    from ops.core.selector import choose_layers

    if not pairs:
        raise OperationError(_WHY)
    selection = choose_layers(model, include, exclude, default=("linear",), able=("linear",))
    shared = sharing_layers(model.module)  # what else has such a weight would be scaled too
    remaining = [
        pair
        for pair in pairs
        if set(pair.consumers) <= set(selection) and not shared.keys() & {pair.producer, *pair.consumers}
    ]
    if not remaining:
        raise OperationError(
            f"smooth: no chosen layers share an input that can be smoothed; those that do: {_names(pairs)}"
        )
    return remaining


def _names(pairs: Sequence[SmoothPair]) -> str:
    return "; ".join(", ".join(pair.consumers) for pair in pairs[:3])


def _input_ranges(
    model: TorchModel, pairs: Sequence[SmoothPair], ctx: Context, samples: int
) -> list[tuple[SmoothPair, torch.Tensor]]:
    """Return with each pair the largest absolute value of every channel of what its consumers take."""
    import torch

    from ops.calibration.batches import calibration_batches
    from ops.calibration.probe import Probe

    firsts = {pair.consumers[0]: model.module.get_submodule(pair.consumers[0]) for pair in pairs}
    probe = Probe(model, firsts)
    largest: dict[str, torch.Tensor] = {}
    for batch in calibration_batches(ctx, samples=samples, batch_size=16):
        for name, calls in probe.reduce(batch, _largest).items():
            for visited in calls:
                largest[name] = torch.maximum(largest.get(name, visited), visited)
    return [(pair, largest[pair.consumers[0]]) for pair in pairs if pair.consumers[0] in largest]


def _largest(_: str, values: torch.Tensor, __: torch.Tensor) -> torch.Tensor:
    return values.abs().reshape(-1, values.shape[-1]).amax(0)


def _rows(layer: torch.nn.Module) -> torch.Tensor:
    """Return a view of a linear layer's weight as (outputs, inputs)."""
    from ops.core.network.channel_axes import is_turned_linear

    weight = layer.get_parameter("weight").detach()
    return weight.T if is_turned_linear(layer) else weight


def _migrate(module: torch.nn.Module, pair: SmoothPair, largest: torch.Tensor, alpha: float) -> None:
    import torch

    producer = module.get_submodule(pair.producer)
    # (outputs, inputs), whichever way they are stored
    consumers = [_rows(module.get_submodule(name)) for name in pair.consumers]
    weights = torch.stack([weight.abs().amax(0) for weight in consumers]).amax(0)
    # channels that are dead on either side have no range to move
    alive = (largest > 0) & (weights > 0)
    scale = torch.where(alive, largest**alpha / weights ** (1 - alpha), 1.0).clamp(1e-5, 1e5)
    with torch.no_grad():
        for name, parameter in producer.named_parameters(recurse=False):
            rows = parameter.ndim > 1 and name == "weight"
            parameter.div_(scale.unsqueeze(1) if rows else scale)
        for weight in consumers:
            weight.mul_(scale)
