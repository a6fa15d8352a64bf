"""Cells of the matrix: an operation with parameters on an architecture, and how its result is checked by hand."""

from __future__ import annotations

import json
import math
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import nn

from ops.core.model import OnnxModel, TorchModel
from ops.core.operation import OPERATIONS, Ancestry, Format
from ops.onnx_graph.session import open_session
from pipeline.models import storage
from pipeline.models.onnx_export import export_onnx
from scripts.bench.matrix import by_hand
from scripts.bench.matrix.architectures import Subject
from scripts.bench.matrix.by_hand import require, require_near
from scripts.bench.matrix.data import INSTANCES, Noise, context, network
from scripts.bench.matrix.dequantized import widened

RATE = 1e-2
_SLACK_DB = 8.0
"""How much nearer the same rounding by hand may be: it rounds other values between the layers, or fewer."""
_FAR_DB = 60.0
"""Nearer than this is near, however much nearer it may be by hand."""


class Stranger:
    """One architecture with its data, and what several cells need of it."""

    def __init__(self, subject: Subject, folder: Path) -> None:
        self.subject, self.folder = subject, folder
        self.data = Noise(subject)

    @cached_property
    def model(self) -> TorchModel:
        """The network with random weights."""
        return network(self.subject, self.data)

    @cached_property
    def onnx(self) -> OnnxModel:
        """The same as a file, as the pipeline writes it."""
        path = self.folder / "exported.onnx"
        export_onnx(self.model, path)
        return OnnxModel(path, self.model.architecture)

    @cached_property
    def pruned(self) -> TorchModel:
        """Half of the weights are zero."""
        return self.apply("magnitude_prune", {"sparsity": 0.5, "scope": "layer"}, self.model)[0]

    def apply(self, op: str, params: Mapping[str, Any], model: Any) -> tuple[Any, dict[str, Any]]:
        """Apply an operation as a worker does; return its result and its notes."""
        spec = OPERATIONS[op]
        ctx = context(Path(tempfile.mkdtemp(dir=self.folder)), self.data, self.model)
        arguments = [ctx] if model is None else [model, ctx]
        result = spec.apply(*arguments, **spec.check(params))
        return result, json.loads(json.dumps(ctx.notes))

    def run_file(self, path: Path, count: int = 8) -> dict[str, torch.Tensor]:
        """Return what a file gives for the first instances, one by one: so are files with dynamic ranges served."""
        session = open_session(path)
        names = [value.name for value in session.get_outputs()]
        batch = self.data.batch(count).inputs
        feeds = [
            {value.name: batch[value.name][row : row + 1] for value in session.get_inputs()} for row in range(count)
        ]
        parts = [session.run(names, feed) for feed in feeds]
        return {name: torch.cat([torch.from_numpy(part[place]) for part in parts]) for place, name in enumerate(names)}


Check = Callable[[Stranger, Any, Any, Mapping[str, Any]], None]
"""Of an architecture, the parent, the result and the notes; raises `WrongError`."""


@dataclass(frozen=True, slots=True)
class Column:
    """An operation with parameters."""

    op: str
    check: Check
    params: Mapping[str, Any] = field(default_factory=dict)
    variant: str = ""
    after: Callable[[Stranger], Any] = lambda stranger: stranger.model
    """The model that it is applied to."""
    before: tuple[str, ...] = ()
    """Operations that made that model, for the plan."""

    @property
    def title(self) -> str:
        """The operation, and what tells it from its other columns."""
        return f"{self.op} {self.variant}".strip()


def run(column: Column, stranger: Stranger) -> str | None:
    """Apply the operation and check the result; return why it is refused, or None if all is right.

    Raises:
        Exception: whatever goes wrong, `WrongError` if the result is not that of the computation by hand.
    """
    params = dict(column.params)
    spec = OPERATIONS[column.op]
    if spec.consumes is None:
        entry = _entry(stranger, column.op)
        params["model"] = entry
    else:
        entry = dict(stranger.subject.entry)
    ancestry = Ancestry(entry, stranger.subject.task, tuple((name, {}) for name in column.before))
    if spec.refuse is not None and (reason := spec.refuse(ancestry, spec.check(params))):
        return reason
    parent = (
        None if spec.consumes is None else stranger.onnx if spec.consumes is Format.ONNX else column.after(stranger)
    )
    before = None if parent is None else _state(parent)
    result, notes = stranger.apply(column.op, params, parent)
    require(before is None or _unchanged(before, _state(parent)), "the operation changed its input")
    column.check(stranger, parent, result, notes)
    if isinstance(result, TorchModel):
        _check_stored(stranger, result)
    return None


def _entry(stranger: Stranger, op: str) -> dict[str, Any]:
    entry = dict(stranger.subject.entry)
    if op == "load":
        from safetensors.torch import save_file

        path = stranger.folder / "weights.safetensors"
        state = {name: tensor.clone().contiguous() for name, tensor in stranger.model.module.state_dict().items()}
        save_file(state, path)
        return {**entry, "weights": str(path)}
    if op == "load_onnx":
        return {"name": entry["name"], "builder": "onnx", "path": str(stranger.onnx.path)}
    return entry


def _state(model: Any) -> Any:
    if isinstance(model, OnnxModel):
        return {"file": torch.frombuffer(bytearray(model.path.read_bytes()), dtype=torch.uint8)}
    return {name: tensor.clone() for name, tensor in model.module.state_dict().items()}


def _unchanged(before: Mapping[str, torch.Tensor], after: Mapping[str, torch.Tensor]) -> bool:
    return before.keys() == after.keys() and all(torch.equal(before[name], after[name]) for name in before)


def _check_stored(stranger: Stranger, result: TorchModel) -> None:
    """Require that an artifact of the result gives the same outputs."""
    folder = Path(tempfile.mkdtemp(dir=stranger.folder))
    storage.save(result, folder)
    again = storage.load(folder)
    expected = by_hand.outputs(result.module, stranger.data)
    for name, values in by_hand.outputs(again.module, stranger.data).items():
        require(torch.equal(values, expected[name]), f"stored and loaded, '{name}' is another")


# pruning


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
    by_hand.require_slices(whole, result.module, kept)
    count = [sum(p.numel() for p in module.parameters()) for module in (whole, result.module)]
    require(count[1] < count[0], "it is no smaller")
    require(notes["achieved"]["parameters"] == count, f"parameters {count} are not those noted")
    silent = by_hand.without_channels(whole, kept)
    require_near(
        by_hand.outputs(result.module, stranger.data), by_hand.outputs(silent, stranger.data), "channels zeroed by hand"
    )


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
    params = {**_STEP, "include": [chosen]}
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


def check_export(stranger: Stranger, parent: Any, result: OnnxModel, notes: Mapping[str, Any]) -> None:
    require_near(stranger.run_file(result.path), by_hand.outputs(stranger.model.module, stranger.data), "the file")


_WIDENED_DB = {"weight_only": 15.0, "float16": 80.0, "bfloat16": 80.0}
"""Files that round nothing but weights, against these weights in float; blocks of 4 bits round activations in the kernel."""


def _require_decibels(
    stranger: Stranger,
    method: str,
    values: Mapping[str, torch.Tensor],
    reference: Mapping[str, torch.Tensor],
    *,
    activations: bool,
) -> None:
    """Require outputs to be about as near to the parent's as those of the same rounding, made by hand in torch."""
    hand = by_hand.quantized(by_hand.plain(stranger.model), stranger.data, method, activations=activations)
    expected, near = by_hand.decibels(hand, reference), by_hand.decibels(values, reference)
    what = "weights and activations" if activations else "weights"
    least = min(expected - _SLACK_DB, _FAR_DB)
    require(
        near >= least, f"{near:.1f} dB from the parent's outputs, where {what} rounded by hand are at {expected:.1f}"
    )


def check_quantized(method: str) -> Check:
    """Return the check of a method: weights widened by hand against the parent, and the file against these."""

    def check(stranger: Stranger, parent: OnnxModel, result: OnnxModel, notes: Mapping[str, Any]) -> None:
        wide = stranger.folder / f"{method}-wide.onnx"
        widened(result.path, wide)
        reference = by_hand.outputs(stranger.model.module, stranger.data)
        floats, rounded = stranger.run_file(wide), stranger.run_file(result.path)
        _require_decibels(stranger, method, floats, reference, activations=False)
        if method in ("static", "dynamic"):
            _require_decibels(stranger, method, rounded, reference, activations=True)
        else:
            near = by_hand.decibels(rounded, floats)
            require(near >= _WIDENED_DB[method], f"{near:.1f} dB from its weights, widened by hand")
        noted = notes["fidelity"]["sqnr_db"]
        whole = by_hand.decibels(rounded, reference)
        require(abs(noted - whole) < 3 or min(noted, whole) > 90, f"noted are {noted:.1f} dB, and it is {whole:.1f}")

    return check


_STEP = {
    "epochs": 1, "samples": INSTANCES, "batch_size": INSTANCES, "optimizer": "sgd", "learning_rate": RATE,
    "schedule": "constant", "weight_decay": 0.0,
}  # fmt: skip
_MASKED = ("load", "magnitude_prune")


def _after_pruning(stranger: Stranger) -> TorchModel:
    return stranger.pruned


COLUMNS: tuple[Column, ...] = (
    Column("load", check_load),
    Column("load_onnx", check_export),
    Column("train", check_train, {**_STEP, "zero_init_residual": False}),
    Column("magnitude_prune", check_magnitude, {"sparsity": 0.5}),
    Column("gradient_prune", check_gradient, {"sparsity": 0.5, "samples": INSTANCES}),
    Column("activation_prune", check_activation, {"sparsity": 0.5, "samples": INSTANCES}, "wanda"),
    Column(
        "activation_prune", check_sparsegpt, {"sparsity": 0.5, "samples": INSTANCES, "method": "sparsegpt"}, "sparsegpt"
    ),
    Column("nm_prune", check_pattern),
    Column("channel_prune", check_channels, {"ratio": 0.5, "round_to": 1}),
    Column("factorize", check_factors, {"ratio": 0.5}),
    Column("palettize", check_palette),
    Column("smooth", check_smooth, {"samples": INSTANCES}),
    Column("finetune", check_finetune, {**_STEP, "clip_norm": None}, after=_after_pruning, before=_MASKED),
    Column(
        "calibrate", check_statistics, {"samples": INSTANCES}, "batch_norm", after=_after_pruning, before=_MASKED
    ),
    Column(
        "calibrate", check_biases, {"samples": INSTANCES, "method": "bias_correction"}, "bias_correction",
        after=_after_pruning, before=_MASKED,
    ),
    Column(
        "calibrate", check_reconstruction, {"samples": INSTANCES, "method": "reconstruct"}, "reconstruct",
        after=_after_pruning, before=_MASKED,
    ),
    Column("restore", check_restore, {"include": ["head"]}, after=_after_pruning, before=_MASKED),
    Column("quantize", check_quantized("static"), {"samples": INSTANCES}, "static"),
    Column("quantize", check_quantized("dynamic"), {"method": "dynamic"}, "dynamic"),
    Column("quantize", check_quantized("weight_only"), {"method": "weight_only", "bits": 4}, "weight_only"),
    Column("quantize", check_quantized("float16"), {"method": "float16"}, "float16"),
    Column("quantize", check_quantized("bfloat16"), {"method": "bfloat16"}, "bfloat16"),
)  # fmt: skip
