"""Shared tensors of a network: one tensor may have several names, in several layers, or be a view of another."""

from __future__ import annotations

import copy
from collections import defaultdict
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch
    from torch import nn


def tensors_by_name(module: nn.Module) -> dict[str, torch.Tensor]:
    """Return parameters and buffers under every name that they have."""
    return {
        **dict(module.named_parameters(remove_duplicate=False)),
        **dict(module.named_buffers(remove_duplicate=False)),
    }


def shared_groups(module: nn.Module) -> list[list[str]]:
    """Return the names of the tensors that lie in the same memory, whole or in part: each group is one thing.

    Tensors with one name and no memory in common with others are left out.
    """
    by_name = tensors_by_name(module)
    blocks: dict[Any, list[str]] = defaultdict(list)
    for name, tensor in by_name.items():
        if (place := _storage(tensor)) is not None:
            blocks[place].append(name)
    groups: list[list[str]] = []
    for names in blocks.values():
        groups += [group for group in _overlapping(by_name, names) if len(group) > 1]
    return groups


def identities(module: nn.Module) -> dict[str, int]:
    """Return a number for each name of a parameter or buffer; names of one tensor, or of overlapping ones, have the same."""
    numbers = {name: number for number, name in enumerate(tensors_by_name(module))}
    for group in shared_groups(module):
        numbers |= dict.fromkeys(group, numbers[group[0]])
    return numbers


def names_of(module: nn.Module, name: str) -> list[str]:
    """Return all names of a tensor, and of those that lie in the same memory."""
    return next((group for group in shared_groups(module) if name in group), [name])


def sharing_layers(module: nn.Module) -> dict[str, str]:
    """Return the layers that share a tensor of their own with another layer, and the name that it has there.

    A layer that is registered under several names shares nothing with itself.
    """
    owners = dict(module.named_modules(remove_duplicate=False))
    result: dict[str, str] = {}
    for group in shared_groups(module):
        for name in group:
            layer = name.rpartition(".")[0]
            other = next((one for one in group if owners[one.rpartition(".")[0]] is not owners[layer]), None)
            if other is not None:
                result.setdefault(layer, other)
    return result


def same_names(module: nn.Module) -> list[list[str]]:
    """Return the names of tensors that are equal by construction: one object, or the same view of one memory."""
    by_name = tensors_by_name(module)
    groups: list[list[str]] = []
    for group in shared_groups(module):
        views: dict[Any, list[str]] = defaultdict(list)
        for name in group:
            views[_view(by_name[name])].append(name)
        groups += [names for names in views.values() if len(names) > 1]
    return groups


def share_weights(module: nn.Module, groups: list[list[str]]) -> None:
    """Let tensors be one exactly where `groups` of names say so, in place: others that share one are taken apart.

    What lies in one memory in different views stays as the network's code made it.
    """
    owners = dict(module.named_modules(remove_duplicate=False))
    by_name = tensors_by_name(module)
    number = {name: place for place, group in enumerate(groups) for name in group}
    for group in same_names(module):
        parts: dict[Any, str] = {}
        for name in group:
            part = number.get(name, name)
            if part in parts or not parts:
                parts.setdefault(part, name)
                continue
            parts[part] = name
            _assign(owners, name, _apart(by_name[name]))
    by_name = tensors_by_name(module)
    for group in groups:
        present = [name for name in group if name in by_name]
        for name in present[1:]:
            if by_name[name] is not by_name[present[0]] and by_name[name].shape == by_name[present[0]].shape:
                _assign(owners, name, by_name[present[0]])


def _assign(owners: Mapping[str, nn.Module], name: str, tensor: torch.Tensor) -> None:
    layer, _, key = name.rpartition(".")
    setattr(owners[layer], key, tensor)


def _apart(tensor: torch.Tensor) -> torch.Tensor:
    from torch import nn

    copied = tensor.detach().clone()
    return nn.Parameter(copied, tensor.requires_grad) if isinstance(tensor, nn.Parameter) else copied


def spread_masks(module: nn.Module, masks: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Return masks under every name of each tensor: what is removed under one of them is removed.

    Args:
        module: the network that the masks belong to.
        masks: name of a parameter -> bool tensor of its shape, True where the weight is kept.
    """
    import torch

    result = dict(masks)
    by_name = tensors_by_name(module)
    for group in shared_groups(module):
        masked_names = [name for name in group if name in masks and masks[name].shape == by_name[name].shape]
        if not masked_names:
            continue
        low, size = _extent([by_name[name] for name in group])
        keep = torch.ones(size, dtype=torch.bool)
        for name in masked_names:
            _window(keep, by_name[name], low).logical_and_(masks[name])
        for name in group:
            result[name] = _window(keep, by_name[name], low).clone()
    return result


def copy_network(module: nn.Module, memo: dict[int, Any] | None = None) -> nn.Module:
    """Return a deep copy in evaluation mode, in which tensors share memory as they do in the original.

    What layers keep of their weights while they are evaluated (LeViT's position biases) is left out: the weights of a copy
    are there to be changed. By convention such layers drop it when training begins.

    `copy.deepcopy` copies parameters that are views of each other apart. `memo` is what deepcopy takes: the id of a tensor
    -> what to put in its place.
    """
    import torch

    drop_graphs(module)
    new_ids = set(memo or ())
    result: nn.Module = copy.deepcopy(module, memo if memo is not None else {}).train().eval()
    by_name, copies = tensors_by_name(module), tensors_by_name(result)
    for group in shared_groups(module):
        if len({id(by_name[name]) for name in group}) == 1:
            continue  # one object under several names: deepcopy knows
        low, size = _extent([by_name[name] for name in group])
        block = torch.empty(size, dtype=copies[group[0]].dtype)
        for name in sorted(group, key=lambda name: id(by_name[name]) in new_ids):  # what the memo replaces comes last
            _window(block, by_name[name], low).copy_(copies[name].detach())
        for name in group:
            copies[name].data = _window(block, by_name[name], low)
    return result


def drop_graphs(module: nn.Module) -> None:
    """Detach what layers cached of a run with gradients (LeViT's position biases, old weight_norm): it could not be copied."""
    import torch

    for part in module.modules():
        for cache in (vars(part), *(value for value in vars(part).values() if type(value) is dict)):
            for key, value in cache.items():
                if isinstance(value, torch.Tensor) and value.grad_fn is not None:
                    cache[key] = value.detach()


def _storage(tensor: torch.Tensor) -> Any:
    """Return what tells a tensor's memory from others'; None if it has none to share."""
    import torch
    from torch.nn.parameter import is_lazy

    if is_lazy(tensor) or tensor.layout is not torch.strided or tensor.is_quantized or not tensor.numel():
        return None
    if tensor.device.type == "meta":
        return ("meta", id(tensor))
    return tensor.untyped_storage().data_ptr(), tensor.dtype


def _overlapping(by_name: Mapping[str, torch.Tensor], names: list[str]) -> list[list[str]]:
    """Divide the names of tensors in one storage into groups that have elements in common."""
    groups: list[list[str]] = []
    for name in names:
        touching = [group for group in groups if any(_overlap(by_name[name], by_name[other]) for other in group)]
        union = [other for group in touching for other in group]
        groups = [group for group in groups if group not in touching]
        groups.append([*union, name])
    return groups


def _overlap(one: torch.Tensor, other: torch.Tensor) -> bool:
    import torch

    if one is other or _view(one) == _view(other):
        return True
    low, size = _extent([one])
    other_low, other_size = _extent([other])
    if low >= other_low + other_size or other_low >= low + size:
        return False
    start, whole = _extent([one, other])
    touched = torch.zeros(whole, dtype=torch.bool)
    _window(touched, one, start).fill_(True)
    return bool(_window(touched, other, start).any())


def _view(tensor: torch.Tensor) -> tuple[int, tuple[int, ...], tuple[int, ...]]:
    return int(tensor.storage_offset()), tuple(tensor.shape), tuple(tensor.stride())


def _extent(tensors: list[torch.Tensor]) -> tuple[int, int]:
    """Return where in their storage tensors begin, and how many elements it is to the end of the last."""
    low = min(int(tensor.storage_offset()) for tensor in tensors)
    ends = [
        int(tensor.storage_offset())
        + sum((n - 1) * step for n, step in zip(tensor.shape, tensor.stride(), strict=True))
        for tensor in tensors
    ]
    return low, max(ends) + 1 - low


def _window(block: torch.Tensor, tensor: torch.Tensor, low: int) -> torch.Tensor:
    """Return the part of a block, which stands for the storage from `low` on, that lies where `tensor` does."""
    return block.as_strided(tensor.shape, tensor.stride(), int(tensor.storage_offset()) - low)
