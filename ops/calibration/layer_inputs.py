"""Inputs of single layers when the calibration split runs through the network."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, suppress
from typing import TYPE_CHECKING, Any

from ops.calibration.batches import calibration_batches
from ops.core.errors import OperationError
from ops.core.forward import forward, tensors
from ops.core.operation import Context, TorchModel

if TYPE_CHECKING:
    import torch

Layers = Mapping[str, "torch.nn.Module"]
Visit = Callable[[str, "torch.Tensor"], None]
_PIECE = 1 << 22
"""Columns are made for so many values at a time: 16 MB."""


class _EnoughError(Exception):
    """Everything asked for has been seen: the rest of the forward pass is not needed."""


def call_order(model: TorchModel, layers: Layers, ctx: Context) -> list[str]:
    """Return the layers in the order in which the network first calls them; those that it never calls are left out.

    Args:
        model: stays as it is.
        layers: path -> layer, of that model.
        ctx: gives one calibration instance to run.
    """
    order: dict[str, None] = {}
    _run(model, layers, lambda name, _: order.setdefault(name), ctx, samples=1, batch_size=1)
    return list(order)


def visit_inputs(
    model: TorchModel, layers: Layers, visit: Visit, ctx: Context, *, samples: int, batch_size: int = 32
) -> None:
    """Call `visit(name, columns)` with what each layer sees, in pieces.

    Columns have the shape (groups, inputs of a group, positions): multiplied from the left by the weights of `as_rows` they
    give the layer's outputs without bias. A forward pass stops after the last of the layers has been called.

    Raises:
        OperationError: the calibration split is empty, or a layer's input holds NaN or infinity; names the layer.
    """

    def check(name: str, values: torch.Tensor) -> None:
        if not bool(values.isfinite().all()):
            raise OperationError(f"Layer '{name}': its input has NaN or infinity on the calibration split")
        for columns in columns_of(layers[name], values):
            visit(name, columns)

    _run(model, layers, check, ctx, samples=samples, batch_size=batch_size)


def as_rows(layer: torch.nn.Module) -> torch.Tensor:
    """Return a view of a layer's weights as (groups, outputs of a group, inputs of a group)."""
    from torch import nn

    assert isinstance(layer.weight, nn.Parameter), "only linear and convolution layers are passed here"
    return rows_of(layer, layer.weight.detach())


def rows_of(layer: torch.nn.Module, tensor: torch.Tensor) -> torch.Tensor:
    """Return a view of a tensor of the shape of a layer's weight (a mask, a score) as `as_rows` gives the weight."""
    from ops.core.network.channel_axes import is_turned_linear

    if is_turned_linear(layer):
        return tensor.T.unsqueeze(0)
    groups = int(getattr(layer, "groups", 1))
    return tensor.view(groups, tensor.shape[0] // groups, tensor.shape[1:].numel())


def from_rows(layer: torch.nn.Module, rows: torch.Tensor) -> torch.Tensor:
    """Return what `rows_of` gave in the shape of the layer's weight again."""
    from ops.core.network.channel_axes import is_turned_linear

    if is_turned_linear(layer):
        return rows.squeeze(0).T.contiguous()
    return rows.reshape(layer.get_parameter("weight").shape)


def weight_users(module: torch.nn.Module, layers: Layers) -> dict[str, dict[str, torch.nn.Module]]:
    """Return for each weight the layers of a network that compute with it, by the first of `layers` that has it.

    Of views of one memory that differ, the first counts: the others follow it.
    """
    from ops.core.network.sharing import identities

    same = identities(module)
    users: dict[str, dict[str, torch.nn.Module]] = {}
    owner: dict[int, str] = {}
    for name in layers:
        if same[f"{name}.weight"] not in owner:
            owner[same[f"{name}.weight"]], users[name] = name, {}
    for name, layer in module.named_modules():
        first = owner.get(same.get(f"{name}.weight", -1))
        if first is not None and unsuitable(layer) is None and _alike(layer, layers[first]):
            users[first][name] = layer
    return users


def _alike(layer: torch.nn.Module, other: torch.nn.Module) -> bool:
    one, two = layer.get_parameter("weight"), other.get_parameter("weight")
    return (
        one.shape == two.shape
        and one.stride() == two.stride()
        and getattr(layer, "groups", 1) == getattr(other, "groups", 1)
    )


def unsuitable(layer: torch.nn.Module) -> str | None:
    """Return why a layer has no such rows and columns, or None if it has."""
    from torch import nn

    from ops.core.network.channel_axes import is_turned_linear

    if type(layer) in {nn.Linear, nn.Conv2d} or is_turned_linear(layer):
        return None
    return f"{type(layer).__name__} is neither Linear nor Conv2d"


def _run(model: TorchModel, layers: Layers, visit: Visit, ctx: Context, *, samples: int, batch_size: int) -> None:
    import torch

    calls: dict[str, int] = {}
    for number, batch in enumerate(calibration_batches(ctx, samples=samples, batch_size=batch_size)):
        remaining = dict(calls)

        def before(
            name: str, values: torch.Tensor, *, first: bool = number == 0, rest: dict[str, int] = remaining
        ) -> None:
            visit(name, values.detach())
            if first:
                calls[name] = calls.get(name, 0) + 1
                return
            rest[name] -= 1
            if not any(rest.values()):
                raise _EnoughError

        with ExitStack() as stack, torch.no_grad():
            for name, layer in layers.items():

                def hook(_: object, args: tuple[Any, ...], by_name: dict[str, Any], name: str = name) -> None:
                    before(name, args[0] if args else next(iter(by_name.values())))

                stack.callback(layer.register_forward_pre_hook(hook, with_kwargs=True).remove)
            with suppress(_EnoughError):
                forward(model.module, tensors(batch.inputs), model.architecture.task)


def columns_of(layer: torch.nn.Module, values: torch.Tensor) -> Iterator[torch.Tensor]:
    """Yield a layer's input as columns, in pieces, in the order in which its output lists instances and positions."""
    from torch import nn

    if isinstance(layer, nn.Conv2d):
        step = max(1, _PIECE // max(1, values[0].numel() * layer.kernel_size[0] * layer.kernel_size[1]))
        for start in range(0, len(values), step):
            yield _patches(layer, values[start : start + step])
    else:
        yield values.reshape(-1, values.shape[-1]).T.unsqueeze(0)


def _patches(layer: torch.nn.Conv2d, values: torch.Tensor) -> torch.Tensor:
    from torch.nn import functional

    # as Conv2d pads: 'same' and even kernels make the two sides differ, which unfold cannot
    mode = "constant" if layer.padding_mode == "zeros" else layer.padding_mode
    padded = functional.pad(values, layer._reversed_padding_repeated_twice, mode=mode)
    patches = functional.unfold(padded, layer.kernel_size, dilation=layer.dilation, stride=layer.stride)
    count, _, positions = patches.shape
    return (
        patches.view(count, layer.groups, -1, positions)
        .permute(1, 2, 0, 3)
        .reshape(layer.groups, -1, count * positions)
    )


def waves(order: Sequence[str], layers: Layers, *, largest: int) -> Iterator[dict[str, torch.nn.Module]]:
    """Divide layers into runs that are handled together, so that each sees what the runs before it have become.

    A run is what lies in one block of the network (the innermost numbered module: `encoder.layer.3`), as far as the second
    moments of the inputs take no more than `largest` bytes.

    Args:
        order: paths of layers, as `call_order` gives them.
        layers: path -> layer.
        largest: bytes that the second moments of a run's inputs may take; one layer alone may take more.
    """
    wave: dict[str, torch.nn.Module] = {}
    used = 0
    for name in order:
        need = _moment_bytes(layers[name])
        if wave and (_block(name) != _block(next(iter(wave))) or used + need > largest):
            yield wave
            wave, used = {}, 0
        wave[name] = layers[name]
        used += need
    if wave:
        yield wave


def _moment_bytes(layer: torch.nn.Module) -> int:
    groups, _, inputs = as_rows(layer).shape
    return 4 * groups * inputs * inputs


def _block(name: str) -> str:
    parts = name.split(".")
    numbered = [index for index, part in enumerate(parts) if part.isdigit()]
    return ".".join(parts[: numbered[-1] + 1]) if numbered else name
