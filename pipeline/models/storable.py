"""Networks of other people that the engine cannot store or change: refused where they are built, with what to do."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pipeline.models.api import ModelError

if TYPE_CHECKING:
    import torch

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
