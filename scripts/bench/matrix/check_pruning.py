"""Checks of pruned networks: masks and cuts made by hand."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import nn

from ops.core.model import TorchModel
from scripts.bench.matrix import by_hand, cuts
from scripts.bench.matrix.by_hand import require, require_near
from scripts.bench.matrix.data import INSTANCES
from scripts.bench.matrix.subjects import Stranger


def _check_masks(
    stranger: Stranger, parent: TorchModel, result: TorchModel, names: Mapping[str, nn.Module]
) -> nn.Module:
    """Require the result to be the parent with its masks applied, masks for these weights alone; return that."""
    module = by_hand.masked(parent, result)
    own = dict(module.named_parameters(remove_duplicate=False))
    same = {id(own[name]) for name in names}
    require({id(own[name]) for name in result.masks} <= same, "a mask is of a weight that should have been left alone")
    by_hand.require_same_tensors(result.module, module)
    require_near(
        by_hand.outputs(result.module, stranger.data), by_hand.outputs(module, stranger.data), "masks applied by hand"
    )
    return module


def _by_name(parent: TorchModel) -> tuple[dict[str, nn.Module], dict[str, torch.Tensor]]:
    module = by_hand.plain(parent)
    names = by_hand.weight_names(module)
    values = dict(module.named_parameters(remove_duplicate=False))
    return names, {name: values[name].detach() for name in names}


def check_magnitude(stranger: Stranger, parent: TorchModel, result: TorchModel, notes: Mapping[str, Any]) -> None:
    names, weights = _by_name(parent)
    _check_masks(stranger, parent, result, names)
    require(set(names) <= set(result.masks), f"not pruned: {sorted(set(names) - set(result.masks))[:3]}")
    every = torch.cat([weight.abs().flatten() for weight in weights.values()])
    count = round(0.5 * every.numel())
    border = every.sort().values[count]
    zeros = sum(int((~result.masks[name]).sum()) for name in names)
    require(zeros == count, f"{zeros} zeros instead of {count}")
    for name, weight in weights.items():
        require(bool((result.masks[name] | (weight.abs() <= border)).all()), f"'{name}' lost more than the smallest")


def check_gradient(stranger: Stranger, parent: TorchModel, result: TorchModel, notes: Mapping[str, Any]) -> None:
    names, weights = _by_name(parent)
    _check_masks(stranger, parent, result, names)
    module = by_hand.plain(parent)
    from ops.core.forward import forward, tensors
    from ops.core.tasks.task import TASKS

    batch = stranger.data.batch()
    module.requires_grad_(True)
    TASKS[stranger.data.task].loss(
        forward(module, tensors(batch.inputs), stranger.data.task), tensors(batch.targets)
    ).backward()
    own = dict(module.named_parameters(remove_duplicate=False))
    scores = {
        name: torch.zeros_like(weight) if own[name].grad is None else (weight * own[name].grad).abs()
        for name, weight in weights.items()
    }
    every = torch.cat([score.flatten() for score in scores.values()]).sort().values
    count = round(0.5 * every.numel())
    border = float(every[count])
    zeros = sum(int((~result.masks[name]).sum()) for name in names)
    require(zeros == count, f"{zeros} zeros instead of {count}")
    slack = 1e-3 * border + 1e-4 * float(every[-1])
    for name, score in scores.items():
        wrong = (~result.masks[name] & (score > border + slack)) | (result.masks[name] & (score < border - slack))
        require(not bool(wrong.any()), f"'{name}' kept or lost weights against their saliency")


def check_activation(stranger: Stranger, parent: TorchModel, result: TorchModel, notes: Mapping[str, Any]) -> None:
    names, weights = _by_name(parent)
    names = {name: part for name, part in names.items() if name in result.masks}
    module = _check_masks(stranger, parent, result, names)
    _require_shares(result, names, notes, weights)
    first = by_hand.layer_inputs(by_hand.plain(parent), stranger.data, INSTANCES)
    if first is None or f"{first[0]}.weight" not in names:
        return
    name, layer, values = first
    columns = by_hand.columns(layer, values)
    if columns is None or _calls(module, name, stranger) > 1:
        return
    scores = by_hand.rows(layer, weights[f"{name}.weight"].abs()) * columns.norm(dim=1)
    keep = by_hand.rows(layer, result.masks[f"{name}.weight"].float()).bool()
    least = scores.masked_fill(~keep, math.inf).amin(1)
    most = scores.masked_fill(keep, -math.inf).amax(1)
    require(bool((most <= least * (1 + 1e-3)).all()), f"'{name}' lost weights of more than the smallest |w| * |x|")


def _calls(module: nn.Module, name: str, stranger: Stranger) -> int:
    count = 0

    def hook(*_: Any) -> None:
        nonlocal count
        count += 1

    module.get_submodule(name).register_forward_hook(hook)
    by_hand.outputs(module, stranger.data, 2)
    return count


def _require_shares(
    result: TorchModel, names: Mapping[str, nn.Module], notes: Mapping[str, Any], weights: Mapping[str, torch.Tensor]
) -> None:
    for name in names:
        zeros, size = int((~result.masks[name]).sum()), result.masks[name].numel()
        require(abs(zeros - size / 2) <= 1, f"'{name}': {zeros} zeros of {size}")
    unchanged = notes.get("unchanged", {})
    for name in weights:
        layer = name.rpartition(".")[0]
        require(name in result.masks or layer in unchanged, f"'{name}' was left alone without a word")


def check_sparsegpt(stranger: Stranger, parent: TorchModel, result: TorchModel, notes: Mapping[str, Any]) -> None:
    names, weights = _by_name(parent)
    names = {name: part for name, part in names.items() if name in result.masks}
    by_hand.require_same_tensors(result.module, by_hand.plain(parent), but=[*names, *_aliases(result, names)])
    own = dict(result.module.named_parameters(remove_duplicate=False))
    for name in names:
        require(not bool(own[name][~result.masks[name]].any()), f"'{name}': what is masked is not zero")
    _require_shares(result, names, notes, weights)
    first = by_hand.layer_inputs(by_hand.plain(parent), stranger.data, INSTANCES)
    if first is None or f"{first[0]}.weight" not in names or _calls(result.copy().module, first[0], stranger) > 1:
        return
    name, layer, values = first
    columns = by_hand.columns(layer, values)
    if columns is None:
        return
    before = by_hand.rows(layer, weights[f"{name}.weight"])
    after, keep = (
        by_hand.rows(layer, value) for value in (own[f"{name}.weight"].detach(), result.masks[f"{name}.weight"].float())
    )
    mended, zeroed = (float(((other - before) @ columns).square().sum()) for other in (after, before * keep))
    require(mended <= zeroed * (1 + 1e-4) + 1e-6, f"'{name}' is farther from its outputs than with zeros alone")


def _aliases(result: TorchModel, names: Mapping[str, Any]) -> list[str]:
    own = dict(result.module.named_parameters(remove_duplicate=False))
    chosen = {own[name].untyped_storage().data_ptr() for name in names}
    return [name for name, value in own.items() if value.untyped_storage().data_ptr() in chosen]


def check_pattern(stranger: Stranger, parent: TorchModel, result: TorchModel, notes: Mapping[str, Any]) -> None:
    names, weights = _by_name(parent)
    _check_masks(stranger, parent, result, names)
    for name, weight in weights.items():
        layer = names[name]
        if name not in result.masks:
            require(name.rpartition(".")[0] in notes.get("unchanged", {}), f"'{name}' was left alone without a word")
            continue
        if isinstance(layer, nn.modules.conv._ConvNd) and layer.transposed:
            continue
        matrix = weight.T if by_hand.is_turned(layer) else weight
        mask = result.masks[name].T if by_hand.is_turned(layer) else result.masks[name]
        fours = matrix.abs().flatten(2) if matrix.dim() > 2 else matrix.abs().unsqueeze(-1)
        groups = fours.reshape(len(fours), -1, 4, fours.shape[-1])
        second = groups.sort(dim=2, descending=True).values[:, :, 1:2]
        keep = (groups >= second).reshape(mask.shape)
        require(torch.equal(keep, mask), f"'{name}': not the largest two of every four")


# narrower networks


def check_channels(stranger: Stranger, parent: TorchModel, result: TorchModel, notes: Mapping[str, Any]) -> None:
    entry = result.edits[-1]
    require(entry["edit"] == "channels", "nothing was cut, and it was not refused")
    kept = entry["layers"]
    whole = by_hand.plain(parent)
    cuts.require_slices(whole, result.module, kept)
    count = [sum(p.numel() for p in module.parameters()) for module in (whole, result.module)]
    require(count[1] < count[0], "it is no smaller")
    require(notes["achieved"]["parameters"] == count, f"parameters {count} are not those noted")
    silent = cuts.without_channels(whole, kept)
    require_near(
        by_hand.outputs(result.module, stranger.data), by_hand.outputs(silent, stranger.data), "channels zeroed by hand"
    )
