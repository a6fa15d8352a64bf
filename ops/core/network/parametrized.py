"""Weights that are computed from other tensors (weight and spectral normalisation, torch's own pruning): made plain."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from ops.core.edits import edit

if TYPE_CHECKING:
    import torch
    from torch import nn

    from ops.core.model import Architecture, TorchModel

_Shared = dict[tuple[str, int, tuple[int, ...]], "nn.Parameter"]


def plain_weights(model: TorchModel) -> tuple[TorchModel, dict[str, str]]:
    """Return the model with plain weights, and what computed each of them before, by the weight's name.

    The model itself if nothing is parametrized, else a copy that gives the same outputs. What torch's own pruning masks
    stays masked.
    """
    if not is_parametrized(model.module):
        return model, {}
    result = model.copy()
    kinds, masks = _fold(result.module)
    result.masks |= masks
    result.edits.append({"edit": "plain weights"})
    return result, kinds


def is_parametrized(module: nn.Module) -> bool:
    """Whether a weight of the network is computed from other tensors whenever it is used."""
    from torch.nn.utils import parametrize

    return any(parametrize.is_parametrized(part) or _hooks(part) for part in module.modules())


@edit("plain weights")
def _replay(module: nn.Module, _: Architecture, __: Mapping[str, Any]) -> nn.Module:
    _fold(module.eval())
    return module


def _fold(module: nn.Module) -> tuple[dict[str, str], dict[str, torch.Tensor]]:
    """Put plain weights in the place of computed ones, in place; return what computed them, and torch's own masks."""
    import torch
    from torch.nn.utils import parametrize

    parts = list(module.named_modules())
    # all values first: layers may share the tensors that theirs are computed from
    layers = [
        (
            name,
            part,
            {
                key: getattr(part, key).detach().clone(memory_format=torch.contiguous_format)
                for key in part.parametrizations
            },
        )
        for name, part in parts
        if parametrize.is_parametrized(part)
    ]
    kinds: dict[str, str] = {}
    parameters: _Shared = {}
    for name, part, values in layers:
        steps: Any = part.parametrizations
        # not by remove_parametrizations, which changes the class that all copies of a layer have
        part.__class__ = type(part).__bases__[0]
        del part._modules["parametrizations"]
        for key, value in values.items():
            kinds[_full(name, key)] = " and ".join(type(step).__name__.lstrip("_") for step in steps[key])
            _register(part, key, value, _sources(steps[key]), parameters)
    masks: dict[str, torch.Tensor] = {}
    for name, part in parts:
        for key, (kind, mask) in _unhook(part, parameters).items():
            kinds[_full(name, key)] = kind
            if mask is not None:
                masks[_full(name, key)] = mask
    by_name = dict(module.named_parameters(remove_duplicate=False))
    return kinds, {name: mask for name, mask in masks.items() if name in by_name}


def _full(layer: str, key: str) -> str:
    return f"{layer}.{key}" if layer else key


def _sources(step: nn.Module) -> list[torch.Tensor]:
    """Return the tensors that a parametrization computes from (`original`, or `original0`, `original1`, ...)."""
    return [*step.parameters(recurse=False), *step.buffers(recurse=False)]


def _register(part: nn.Module, key: str, value: torch.Tensor, sources: list[torch.Tensor], parameters: _Shared) -> None:
    """Give a layer a plain tensor; layers that computed the same from the same tensors share it."""
    import torch
    from torch import nn

    if not any(isinstance(source, nn.Parameter) for source in sources):
        part.register_buffer(key, value)
        return
    place = key, len(sources), tuple(id(source) for source in sources)
    parameter = parameters.get(place)
    if parameter is None or not torch.equal(parameter, value):
        parameter = nn.Parameter(value, any(source.requires_grad for source in sources))
        parameters[place] = parameter
    setattr(part, key, parameter)  # recurrent layers follow assignments


def _hooks(part: nn.Module) -> list[tuple[int, Any, str]]:
    """Return the hooks that compute a layer's tensors before it runs, in their order: (number, hook, name of the tensor)."""
    from torch.nn.utils.prune import BasePruningMethod
    from torch.nn.utils.spectral_norm import SpectralNorm
    from torch.nn.utils.weight_norm import WeightNorm

    kinds = (WeightNorm, SpectralNorm, BasePruningMethod)
    return [
        (number, hook, str(getattr(hook, "name", None) or getattr(hook, "_tensor_name", "")))
        for number, hook in part._forward_pre_hooks.items()
        if isinstance(hook, kinds)
    ]


_PARTS = ("_g", "_v", "_u", "_orig", "_mask")
"""What `torch.nn.utils` appends to the name of a tensor for those that it is computed from."""


def _unhook(part: nn.Module, parameters: _Shared) -> dict[str, tuple[str, torch.Tensor | None]]:
    """Remove the hooks of a layer; return for each tensor what computed it, and torch's mask if it was pruned."""
    import torch

    result: dict[str, tuple[str, torch.Tensor | None]] = {}
    for number, hook, key in _hooks(part):
        with torch.no_grad():
            hook(part, None)
        value = getattr(part, key).detach().clone(memory_format=torch.contiguous_format)
        mask = part._buffers.get(f"{key}_mask")
        sources = []
        for store in (part._parameters, part._buffers):
            for name in [f"{key}{suffix}" for suffix in _PARTS]:
                if (source := store.pop(name, None)) is not None:
                    sources.append(source)
        vars(part).pop(key, None)
        part._buffers.pop(key, None)
        _register(part, key, value, sources, parameters)
        result[key] = type(hook).__name__, None if mask is None else mask.bool()
        del part._forward_pre_hooks[number]
        _drop_state_hooks(part, hook)
    return result


def _drop_state_hooks(part: nn.Module, hook: Any) -> None:
    """Remove what a spectral normalisation does to its layer's state when that is stored and loaded."""
    for hooks in (part._state_dict_hooks, part._load_state_dict_pre_hooks):
        for number, other in list(hooks.items()):
            if getattr(getattr(other, "hook", other), "fn", None) is hook:
                del hooks[number]
