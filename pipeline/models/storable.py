"""Networks of other people that the engine cannot store or change: refused where they are built, with what to do."""

from __future__ import annotations

import functools
import types
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from ops.core.forward import example_inputs, forward
from ops.core.network.sharing import copy_network
from pipeline.models.api import ModelError

if TYPE_CHECKING:
    import torch

    from ops.core.model import Architecture

_PACKED = ("torch.ao.nn.quantized", "torch.ao.nn.intrinsic.quantized", "torch.nn.quantized")


def check_storable(module: torch.nn.Module) -> None:
    """See that all of a network's state is dense tensors of numbers.

    Raises:
        ModelError: naming the layer or tensor, what it is, and what to give instead.
    """
    for name, part in module.named_modules():
        if type(part).__module__.startswith(_PACKED):
            raise ModelError(
                f"layer '{name}' is torch's own quantized {type(part).__name__}, whose weights cannot be stored as tensors. "
                "Give the network in float, and quantize it with `quantize`"
            )
    for name, value in module.state_dict().items():
        if reason := _unstorable(value):
            raise ModelError(f"'{name}' {reason}")


def _unstorable(value: Any) -> str | None:
    import torch

    if not isinstance(value, torch.Tensor):
        return f"is a {type(value).__name__} in the network's state, not a tensor: keep such things out of state_dict()"
    if value.layout is not torch.strided:
        return f"is stored as {str(value.layout).removeprefix('torch.')}: make it dense (`.to_dense()`) in the network's code"
    if value.is_quantized:
        return "is a quantized tensor: give the network in float, and quantize it with `quantize`"
    if value.device.type == "meta":
        return "has no values (it is on the device 'meta'): give it values in the network's code"
    return None


def check_copies(module: torch.nn.Module, architecture: Architecture) -> None:
    """See that a copy of a network computes with its own tensors: functions are not copied, nor what they hold.

    Only a network with a function that holds a layer or a tensor of it is copied to see.

    Args:
        module: in evaluation mode.
        architecture: says what it takes.

    Raises:
        ModelError: naming the function.
    """
    import torch

    holders = [name for name, function in _functions(module) if _holds_tensors(function)]
    if not holders:
        return
    feed, other = (
        {
            name: values + seed if values.is_floating_point() else values
            for name, values in example_inputs(architecture, batch=2).items()
        }
        for seed in (0, 1)
    )
    try:
        with torch.no_grad():
            expected = forward(module, feed, architecture.task)
            forward(module, other, architecture.task)  # so that what hooks have stored is of other inputs
    except Exception:  # noqa: BLE001 - boundary: a network that refuses noise (it wants 0 to 1, say) cannot be asked
        return
    copied = copy_network(module)
    with torch.enable_grad(), torch.random.fork_rng(devices=[]):
        required = {name: parameter.requires_grad for name, parameter in module.named_parameters()}
        module.requires_grad_(True)
        try:
            outputs = forward(copied, feed, architecture.task)
            total = torch.stack([value.float().sum() for value in outputs.values()]).sum()
            parameters = list(module.parameters())
            reached = torch.autograd.grad(total, parameters, allow_unused=True) if total.requires_grad else ()
        except Exception:  # noqa: BLE001 - boundary: what a copy computes with another's parts may fail in any way
            outputs, reached = {}, ()
        finally:
            for name, parameter in module.named_parameters():
                parameter.requires_grad_(required[name])
    same = outputs.keys() == expected.keys() and all(
        torch.allclose(outputs[name], expected[name], rtol=1e-4, atol=1e-5, equal_nan=True) for name in expected
    )
    if not same or any(gradient is not None for gradient in reached):
        raise ModelError(
            f"{' and '.join(holders)}: a function (a lambda, or one inside another) that holds layers or tensors of the network: "
            "copies of the network, which are pruned and trained, would compute with those of the original. Make it a method"
        )


def _functions(module: torch.nn.Module) -> Iterator[tuple[str, Any]]:
    """Yield the functions that parts of a network have as attributes and as hooks, with a name for messages."""
    for name, part in module.named_modules():
        place = f"'{name}'" if name else "the network"
        for key, value in vars(part).items():
            if key.startswith("_") and key.endswith("_hooks"):
                yield from ((f"a hook of {place}", hook) for hook in (value or {}).values())
            else:
                values = (
                    value.values() if isinstance(value, dict) else value if isinstance(value, list | tuple) else [value]
                )
                yield from ((f"'{key}' of {place}", one) for one in values)


def _holds_tensors(value: Any) -> bool:
    """Whether a function holds layers or tensors in variables of the function around it."""
    import torch

    if isinstance(value, functools.partial):
        return _holds_tensors(value.func)
    if not isinstance(value, types.FunctionType):
        return False
    for cell in value.__closure__ or ():
        try:
            content = cell.cell_contents
        except ValueError:  # not yet set
            continue
        if isinstance(content, torch.nn.Module | torch.Tensor) or _holds_tensors(content):
            return True
    return False
