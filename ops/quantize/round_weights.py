"""Weights of few bits: linear layers rounded group by group, so that what they compute changes as little as possible."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field

from ops.core.errors import OperationError
from ops.core.operation import Ancestry, Context, Exclude, Include, Kind, TorchModel, Uses, operation
from ops.core.order import palette_lost

if TYPE_CHECKING:
    import torch

    from ops.prune.weights.layerwise import Rows
    from ops.quantize.methods.smooth_pairs import SmoothPair

Method = Literal["gptq", "awq", "nearest"]
_TOLERANCE = 1e-3  # of the largest output; float32 rounding stays well below it


def _refuse(ancestry: Ancestry, params: Mapping[str, Any]) -> str | None:
    if params["activation_order"] and params["method"] != "gptq":
        return f"`activation_order` is the order in which `gptq` rounds; `{params['method']}` has none. Leave it out"
    return palette_lost(ancestry, params)


@operation(kind=Kind.QUANTIZE, version=1, uses={Uses.DATA}, refuse=_refuse)
def round_weights(
    model: TorchModel,
    ctx: Context,
    *,
    method: Method = "gptq",
    bits: Literal[4, 3, 2] = 4,
    group_size: Literal[16, 32, 64, 128, 256] = 32,
    activation_order: bool = False,
    dampening: Annotated[float, Field(gt=0, le=1)] = 0.01,
    samples: Annotated[int, Field(ge=1)] = 64,
    include: Include = (),
    exclude: Exclude = (),
) -> TorchModel:
    """Round the weights of linear layers to few bits, one scale and zero point for each group of inputs.

    The result is a float network whose weights lie on grids. `quantize` with `method: weight_only`, `bits: 4` and the same
    `block_size` below it stores them as they are, as integers of 4 bits (of which 3 and 2 bits use a part): nothing is
    rounded twice. A weight that an embedding table shares stays in float, and so do convolutions. Layers are rounded in
    the order in which they run, each (`gptq`) for the inputs that the rounded ones before it give; one block of the network
    has its statistics in memory at a time. Padding of texts does not count. Weights that pruning removed stay zero.

    Args:
        model: stays as it is.
        ctx: gives calibration instances, but for `nearest`.
        method: `gptq` corrects the weights that are still to be rounded for the error of those that are (Frantar et al.,
            ICLR 2023); `awq` scales up channels of large inputs before rounding, where a layer before can undo it (Lin et
            al., MLSys 2024, without the clipping of weights); `nearest` rounds each weight by itself.
        bits: of a weight.
        group_size: inputs that share a scale.
        activation_order: `gptq`: inputs with the largest second moments are rounded first.
        dampening: `gptq`: added to the diagonal of the second moments, as a share of its mean.
        samples: calibration instances.
        include: linear layers to round; default: all.
        exclude: layers to leave alone.

    Raises:
        OperationError: a pattern matches nothing, the calibration split is empty, a weight or an input is not finite, or
            moments cannot be inverted.
    """
    import torch

    from ops.core.tied import choose_weighted
    from ops.prune.weights.layerwise import change_layers
    from ops.quantize.rounding.gptq import gptq
    from ops.quantize.rounding.grid import round_to_nearest

    layers, reasons = choose_weighted(model, include, exclude, able=("linear",))
    if method == "awq":
        model = _scaled(model, layers, ctx, bits=bits, group_size=group_size, samples=samples)
        layers = {name: model.module.get_submodule(name) for name in layers}
    error = energy = 0.0

    def change(_: TorchModel, rows: Rows, __: torch.nn.Module) -> None:
        nonlocal error, energy
        for group, weights in enumerate(rows.weights):
            before = weights.clone()
            if method == "gptq":
                assert rows.moments is not None, "samples is at least 1"
                weights.copy_(
                    gptq(
                        before,
                        rows.moments[group],
                        rows.mask[group],
                        bits=bits,
                        group_size=group_size,
                        activation_order=activation_order,
                        dampening=dampening,
                        name=rows.name,
                    )
                )
            else:
                weights.copy_(round_to_nearest(before, bits, group_size))
            error += float((weights - before).double().square().sum())
            energy += float(before.double().square().sum())

    count = samples if method == "gptq" else 0
    with torch.no_grad():
        result = change_layers(model, layers, ctx, change, samples=count, full=True, unchanged=reasons, padding=False)
    ctx.note("method", method)
    ctx.note(
        "achieved",
        {"bits": bits, "group_size": group_size, "relative_error": (error / energy) ** 0.5 if energy else 0.0},
    )
    return result


def _scaled(
    model: TorchModel, layers: Mapping[str, torch.nn.Module], ctx: Context, *, bits: int, group_size: int, samples: int
) -> TorchModel:
    """Return a copy of which inputs of layers are scaled for rounding, and what gives them the other way."""
    import torch

    from ops.calibration.batches import calibration_batches
    from ops.core.forward import forward, tensors
    from ops.quantize.rounding.awq import best_scale

    result = model.copy()
    first = next(calibration_batches(ctx, samples=2, batch_size=2))
    pairs = _pairs(result, layers, first)
    alphas: dict[str, float] = {}
    for pair, moments, magnitude in _statistics(result, pairs, ctx, samples):
        weights = [_rows(result.module.get_submodule(name)) for name in pair.consumers]
        with torch.no_grad():
            scale, alphas[pair.producer] = best_scale(weights, moments, magnitude, bits=bits, group_size=group_size)
            _divide(result.module.get_submodule(pair.producer), scale)
            for weight in weights:
                weight.mul_(scale)
        ctx.progress(len(alphas), len(pairs), pair.producer)
    with torch.no_grad():
        inputs, task = tensors(first.inputs), model.architecture.task
        before, after = (forward(part.module.eval(), inputs, task) for part in (model, result))
    for name, values in before.items():
        if float((values - after[name]).abs().max()) > _TOLERANCE * max(1.0, float(values.abs().max())):
            raise OperationError(
                "round_weights: scaling would change the outputs, so a layer among "
                f"{', '.join(list(alphas)[:3])} is used in another way; take `method: gptq`"
            )
    ctx.note("alphas", alphas)
    return result


def _pairs(model: TorchModel, layers: Mapping[str, torch.nn.Module], first: Any) -> dict[str, SmoothPair]:
    """Return by their first consumer the pairs all of whose consumers are rounded and have weights of their own."""
    from ops.core.network.sharing import sharing_layers
    from ops.quantize.methods.smooth_pairs import gated_pairs, smooth_pairs

    shared = sharing_layers(model.module)
    pairs = [*smooth_pairs(model, first), *gated_pairs(model.module)]
    remaining = {
        pair.consumers[0]: pair
        for pair in pairs
        if set(pair.consumers) <= set(layers) and not shared.keys() & {pair.producer, *pair.consumers}
    }
    if not remaining:
        raise OperationError(
            "round_weights: no layer before the chosen ones can take up a scale (a normalisation that feeds linear layers "
            "alone, an attention's values, the up-projection of a gated part); take `method: gptq`"
        )
    return remaining


def _statistics(model: TorchModel, pairs: Mapping[str, SmoothPair], ctx: Context, samples: int) -> Any:
    """Yield each pair with the second moments and the mean magnitudes of its inputs, those of a block at a time."""

    from ops.calibration.layer_inputs import call_order, visit_inputs, waves
    from ops.prune.weights.layerwise import WAVE_BYTES

    firsts = {name: model.module.get_submodule(name) for name in pairs}
    for wave in waves(call_order(model, firsts, ctx), firsts, largest=WAVE_BYTES):
        moments: dict[str, torch.Tensor] = {}
        sums: dict[str, torch.Tensor] = {}
        counts = dict.fromkeys(wave, 0)

        def add(
            name: str,
            columns: torch.Tensor,
            moments: dict[str, torch.Tensor] = moments,
            sums: dict[str, torch.Tensor] = sums,
            counts: dict[str, int] = counts,
        ) -> None:
            values = columns[0].float()
            moments[name] = moments.get(name, 0) + values @ values.T
            sums[name] = sums.get(name, 0) + values.abs().sum(dim=1)
            counts[name] += values.shape[1]

        visit_inputs(model, wave, add, ctx, samples=samples, padding=False)
        for name in wave:
            yield pairs[name], moments.pop(name), sums.pop(name) / counts[name]


def _rows(layer: torch.nn.Module) -> torch.Tensor:
    """A view of a linear layer's weight as (outputs, inputs)."""
    from ops.calibration.layer_inputs import as_rows

    return as_rows(layer)[0]


def _divide(producer: torch.nn.Module, scale: torch.Tensor) -> None:
    """Divide the outputs of a normalisation or a linear layer."""
    for name, parameter in producer.named_parameters(recurse=False):
        parameter.div_(scale.unsqueeze(1) if parameter.ndim > 1 and name == "weight" else scale)
