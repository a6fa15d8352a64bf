"""Quantization of a network, simulated: it computes with rounded weights and inputs, and can still be pruned and trained."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import Field

from ops.core.errors import OperationError
from ops.core.operation import Ancestry, Context, Exclude, Include, Kind, TorchModel, Uses, operation
from ops.core.params import PerLayer

if TYPE_CHECKING:
    import torch

_BATCH = 32
_FEWEST_BITS = 2


def _refuse(_: Ancestry, params: Mapping[str, Any]) -> str | None:
    bits = params["bits"]
    given = bits.values() if isinstance(bits, Mapping) else [bits]
    if not isinstance(bits, Mapping) and bits == 0:
        return "bits: 2 to 8; 0 stands only in a mapping, for layers that are left alone"
    if any(0 < each < _FEWEST_BITS for each in given):
        return "bits: 2 to 8, since one bit is the sign"
    return None


@operation(kind=Kind.QUANTIZE, version=1, uses={Uses.DATA}, refuse=_refuse)
def fake_quantize(
    model: TorchModel,
    ctx: Context,
    *,
    bits: PerLayer[Annotated[int, Field(ge=0, le=8)]] = 8,
    activations: bool = True,
    samples: Annotated[int, Field(ge=1)] = 256,
    include: Include = (),
    exclude: Exclude = (),
) -> TorchModel:
    """Let layers of a torch network compute with rounded weights and inputs, as an int8 file does.

    Weights are rounded whenever the layer runs, symmetric, with a scale for each output channel; inputs to 8 bits over the range that
    they have on calibration instances. So what follows sees the rounding: pruning, and fine-tuning, which trains through it. The
    file that is exported holds rounded weights and rounds inputs by plain arithmetic: it says what an int8 model answers, and is
    no smaller or faster; `quantize` makes the one that is. On linear layers `quantize` with `method: static` gives the same answers but
    for rounding; in convolutional networks it rounds more (sums, outputs) and folds batch normalisation first.

    Args:
        model: stays as it is.
        ctx: gives calibration instances for the ranges of inputs.
        bits: of the weights, 2 to 8, also by layer.
        activations: whether inputs are rounded too.
        samples: calibration instances.
        include: default: convolutions and linear layers.
        exclude: layers to leave in float.

    Raises:
        OperationError: a pattern matches nothing, no chosen layer can be rounded, or calibration data is unfit.

    Jacob et al., "Quantization and Training of Neural Networks for Efficient Integer-Arithmetic-Only Inference", CVPR 2018.
    """
    from ops.core.network.fake_quantized import EDIT, fake_quantized, is_roundable
    from ops.core.strength import strengths
    from ops.core.text import reasons_in_line
    from ops.core.tied import choose_weighted

    layers, unchanged = choose_weighted(model, include, exclude)
    widths, others = strengths(model, layers, bits)
    unfit = {
        name: f"{type(layer).__name__} is no plain linear layer or convolution"
        for name, layer in layers.items()
        if name in widths and not is_roundable(layer)
    }
    widths = {name: width for name, width in widths.items() if name not in unfit}
    if not widths:
        raise OperationError(f"No chosen layer can be rounded: {reasons_in_line(unfit)}")
    limits = _ranges(model, list(widths), ctx, samples) if activations else {}
    result = model.copy()
    for name, width in widths.items():
        fake_quantized(result.module.get_submodule(name), width, limits.get(name))
    result.edits.append({"edit": EDIT, "layers": {name: [width, name in limits] for name, width in widths.items()}})
    ctx.note("layers_quantized", list(widths))
    if remaining := {**unchanged, **others, **unfit}:
        ctx.note("unchanged", remaining)
    if silent := [name for name in widths if activations and name not in limits]:
        ctx.note("inputs_in_float", dict.fromkeys(silent, "the network does not call it on calibration instances"))
    return result


def _ranges(model: TorchModel, names: list[str], ctx: Context, samples: int) -> dict[str, tuple[float, float]]:
    """Return the smallest and largest input of each layer, 0 among them."""
    import torch

    from ops.calibration.batches import calibration_batches
    from ops.core.forward import forward, tensors

    limits: dict[str, tuple[float, float]] = {}

    def note(name: str) -> Any:
        def see(_: torch.nn.Module, inputs: tuple[Any, ...]) -> None:
            low, high = (float(one) for one in inputs[0].detach().aminmax())
            before = limits.get(name, (0.0, 0.0))
            limits[name] = min(low, before[0]), max(high, before[1])

        return see

    hooks = [model.module.get_submodule(name).register_forward_pre_hook(note(name)) for name in names]
    try:
        with torch.no_grad():
            for batch in calibration_batches(ctx, samples=samples, batch_size=_BATCH):
                forward(model.module.eval(), tensors(batch.inputs), model.architecture.task)
    finally:
        for hook in hooks:
            hook.remove()
    return limits
