"""Checks of factors, palettes, training and recovery, computed by hand."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import nn

from ops.core.model import TorchModel
from scripts.bench.matrix import by_hand
from scripts.bench.matrix.by_hand import require, require_near
from scripts.bench.matrix.data import INSTANCES
from scripts.bench.matrix.subjects import RATE, STEP, Stranger


def check_factors(stranger: Stranger, parent: TorchModel, result: TorchModel, notes: Mapping[str, Any]) -> None:
    replaced = notes["achieved"]
    whole = by_hand.plain(parent)
    for name, _, _ in _weights_of(whole):
        require(name in replaced or name in notes.get("unchanged", {}), f"'{name}' was left alone without a word")
    require(bool(replaced) or bool(notes.get("unchanged")), "nothing was replaced, and nothing is said")
    inside = result.module.state_dict()
    for name, entry in replaced.items():
        layer, factors = whole.get_submodule(name), list(result.module.get_submodule(name))
        weight = layer.weight.detach()
        joined = by_hand.product(factors, layer)
        size = sum(part.weight.numel() for part in factors)
        require(size <= 0.5 * weight.numel(), f"'{name}': {size} of {weight.numel()} weights are more than asked")
        if len(factors) == 2:
            least = by_hand.lost_energy(weight.flatten(1), entry["ranks"][0])
            lost = float((joined - weight).double().square().sum())
            require(lost <= least * (1 + 1e-3) + 1e-5, f"'{name}': the factors are not the best of their rank")
        with torch.no_grad():
            layer.weight.copy_(joined)
    for name, tensor in whole.state_dict().items():
        if name.rpartition(".")[0] not in replaced:
            require(torch.equal(inside[name], tensor), f"'{name}' changed")
    require_near(
        by_hand.outputs(result.module, stranger.data),
        by_hand.outputs(whole, stranger.data),
        "the factors' product put back",
    )


def _weights_of(module: nn.Module) -> list[tuple[str, str, nn.Module]]:
    names = by_hand.weight_names(module)
    return [(*name.rpartition(".")[::2], part) for name, part in names.items()]


# values


def check_palette(stranger: Stranger, parent: TorchModel, result: TorchModel, notes: Mapping[str, Any]) -> None:
    whole = by_hand.plain(parent)
    names = by_hand.weight_names(whole)
    own = dict(whole.named_parameters(remove_duplicate=False))
    after = dict(result.module.named_parameters(remove_duplicate=False))
    for name in names:
        table = after[name].detach().unique()
        require(len(table) <= 16, f"'{name}' has {len(table)} values")
        with torch.no_grad():
            before = own[name].detach().clone()
            own[name].copy_(by_hand.nearest(before, table))
            lost = float((own[name] - before).square().sum())
            steps = torch.linspace(float(before.min()), float(before.max()), 16)
            evenly = float((by_hand.nearest(before, steps) - before).square().sum())
        require(lost <= evenly * (1 + 1e-5), f"'{name}' loses more than with evenly spaced values")
    by_hand.require_close_tensors(result.module, whole, "the table's nearest values put in", tolerance=1e-6)
    require_near(
        by_hand.outputs(result.module, stranger.data), by_hand.outputs(whole, stranger.data), "the table put back"
    )


def check_smooth(stranger: Stranger, parent: TorchModel, result: TorchModel, notes: Mapping[str, Any]) -> None:
    whole, pairs = by_hand.plain(parent), notes["smoothed"]
    before, after = by_hand.outputs(whole, stranger.data), dict(result.module.named_parameters(remove_duplicate=False))
    require(bool(pairs), "nothing was smoothed, and it was not refused")
    scales: dict[str, torch.Tensor] = {}
    for producer, consumers in pairs.items():
        weight = whole.get_submodule(producer).get_parameter("weight").detach()
        if weight.ndim == 1:
            scales[producer] = weight / after[f"{producer}.weight"].detach()
            continue
        layer = whole.get_submodule(consumers[0])
        ours, theirs = (
            by_hand.rows(layer, value) for value in (after[f"{consumers[0]}.weight"].detach(), layer.weight.detach())
        )
        scales[producer] = (ours / theirs).median(0).values
    require(any(bool((scale != 1).any()) for scale in scales.values()), "nothing was scaled")
    with torch.no_grad():
        for producer, consumers in pairs.items():
            for parameter in whole.get_submodule(producer).parameters(recurse=False):
                parameter.div_(scales[producer].unsqueeze(1) if parameter.ndim > 1 else scales[producer])
            for name in consumers:
                layer = whole.get_submodule(name)
                layer.weight.mul_(scales[producer].unsqueeze(1) if by_hand.is_turned(layer) else scales[producer])
    by_hand.require_close_tensors(result.module, whole, "scaled by hand")
    require_near(by_hand.outputs(result.module, stranger.data), before, "nothing may change")


# training and recovery


def check_finetune(stranger: Stranger, parent: TorchModel, result: TorchModel, notes: Mapping[str, Any]) -> None:
    expected = by_hand.step(parent.copy().module, stranger.data, INSTANCES, RATE, parent.masks)
    by_hand.require_close_tensors(result.module, expected, "one step by hand")
    own = dict(result.module.named_parameters(remove_duplicate=False))
    for name, mask in parent.masks.items():
        require(not bool(own[name][~mask].any()), f"'{name}': what is masked is not zero")
    names = list(by_hand.weight_names(parent.module))
    chosen = names[len(names) // 2].rpartition(".")[0]
    params = {**STEP, "include": [chosen]}
    partly, _ = stranger.apply("finetune", params, parent)
    part = parent.module.get_submodule(chosen)
    shared = {value.untyped_storage().data_ptr() for value in part.parameters()}
    others = dict(parent.module.named_parameters(remove_duplicate=False))
    free = [name for name, value in others.items() if value.untyped_storage().data_ptr() in shared]
    before, after = parent.module.state_dict(), partly.module.state_dict()
    moved = {name for name in before if not torch.equal(before[name], after[name])}
    require(bool(moved & set(free)), f"'{chosen}' was to be trained, and did not move")
    statistics = {name for name in moved if name.endswith(("running_mean", "running_var", "num_batches_tracked"))}
    frozen = {
        name
        for name in statistics
        if any(p.requires_grad for p in parent.module.get_submodule(name.rpartition(".")[0]).parameters(recurse=False))
    }
    require(moved - set(free) <= statistics - frozen, f"trained though not chosen: {sorted(moved - set(free))[:3]}")


def check_train(stranger: Stranger, parent: None, result: TorchModel, notes: Mapping[str, Any]) -> None:
    from scripts.bench.matrix.data import _built

    fresh = _built(stranger.subject.entry, stranger.data, pretrained=False)
    expected = by_hand.step(fresh.module, stranger.data, INSTANCES, RATE, {})
    by_hand.require_close_tensors(result.module, expected, "one step by hand")


def check_load(stranger: Stranger, parent: None, result: TorchModel, notes: Mapping[str, Any]) -> None:
    by_hand.require_same_tensors(result.module, stranger.model.module)
    require_near(
        by_hand.outputs(result.module, stranger.data), by_hand.outputs(stranger.model.module, stranger.data), "loaded"
    )


def check_statistics(stranger: Stranger, parent: TorchModel, result: TorchModel, notes: Mapping[str, Any]) -> None:
    expected = parent.copy().module
    means = by_hand.batch_statistics(expected, stranger.data, INSTANCES)
    for name, (mean, variance) in means.items():
        norm = result.module.get_submodule(name)
        require(torch.allclose(norm.running_mean, mean, rtol=1e-3, atol=1e-4), f"'{name}': another mean")
        require(torch.allclose(norm.running_var, variance, rtol=1e-3, atol=1e-4), f"'{name}': another variance")
    kinds = ("running_mean", "running_var", "num_batches_tracked")
    names = [f"{name}.{kind}" for name in means for kind in kinds]
    by_hand.require_same_tensors(result.module, parent.module, but=names or ["-"])


def check_biases(stranger: Stranger, parent: TorchModel, result: TorchModel, notes: Mapping[str, Any]) -> None:
    names = list(notes["mean_shift"])
    biases = [f"{name}.bias" for name in names]
    by_hand.require_same_tensors(result.module, parent.module, but=biases)
    ours, theirs = (
        by_hand.channel_means(module, names, stranger.data, INSTANCES)
        for module in (result.copy().module, by_hand.plain(stranger.model))
    )
    for name in names:
        if len(ours[name]) == 1:
            largest = max(float(theirs[name][0].abs().max()), 1e-2)
            distance = float((ours[name][0] - theirs[name][0]).abs().max())
            require(distance <= 1e-3 * largest, f"'{name}': its means differ by {distance:.3g} of {largest:.3g}")


def check_reconstruction(stranger: Stranger, parent: TorchModel, result: TorchModel, notes: Mapping[str, Any]) -> None:
    names = list(notes["relative_error"])
    by_hand.require_same_tensors(
        result.module, parent.module, but=[f"{name}.{key}" for name in names for key in ("weight", "bias")]
    )
    own = dict(result.module.named_parameters(remove_duplicate=False))
    for name, mask in parent.masks.items():
        require(not bool(own[name][~mask].any()), f"'{name}': what is masked is not zero")
    for name, (before, after) in notes["relative_error"].items():
        require(after <= before, f"'{name}': farther from the reference than before")
    whole = by_hand.plain(stranger.model)
    first, theirs = (by_hand.layer_inputs(module, stranger.data, INSTANCES) for module in (parent.copy().module, whole))
    if first is None or theirs is None or first[0] not in names:
        return
    name, layer, values = first
    columns, reference = by_hand.columns(layer, values), by_hand.columns(theirs[1], theirs[2])
    if columns is None or reference is None:
        return
    target = _given(whole.get_submodule(name), reference)
    errors = [
        float((_given(module.get_submodule(name), columns) - target).square().sum())
        for module in (parent.module, result.module)
    ]
    require(errors[1] <= errors[0] * (1 + 1e-4), f"'{name}': farther from the reference than before")


def _given(layer: nn.Module, columns: torch.Tensor) -> torch.Tensor:
    """Return what a layer makes of its inputs, as (outputs, positions)."""
    product = by_hand.rows(layer, layer.get_parameter("weight").detach()) @ columns
    return product if layer.bias is None else product + layer.get_parameter("bias").detach().unsqueeze(1)


def check_restore(stranger: Stranger, parent: TorchModel, result: TorchModel, notes: Mapping[str, Any]) -> None:
    whole, before, after = (
        by_hand.plain(stranger.model).state_dict(),
        parent.module.state_dict(),
        result.module.state_dict(),
    )
    chosen = set(notes["restored"])
    require(bool(chosen), "nothing was restored, and it was not refused")
    named = dict(result.module.named_parameters(remove_duplicate=False))
    shared = {named[name].untyped_storage().data_ptr() for name in named if name.rpartition(".")[0] in chosen}
    for name, tensor in after.items():
        back = name.rpartition(".")[0] in chosen or (
            name in named and named[name].untyped_storage().data_ptr() in shared
        )
        require(
            torch.equal(tensor, (whole if back else before)[name]),
            f"'{name}' is not {'restored' if back else 'as it was'}",
        )
        require(not back or name not in result.masks, f"'{name}' is restored and has a mask")


# files
