"""Depth pruning: whole blocks of a transformer go, those first that change what passes through them least."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import Field

from ops.core.edits import edit
from ops.core.errors import OperationError
from ops.core.operation import Context, Exclude, Kind, TorchModel, Uses, operation

if TYPE_CHECKING:
    import torch

    from ops.core.model import Architecture

EDIT = "drop_layers"
_FEWEST = 2
"""Blocks of a stack."""
_PICTURE_AXES = 4


@operation(kind=Kind.PRUNE, version=1, uses={Uses.DATA})
def drop_layers(
    model: TorchModel,
    ctx: Context,
    *,
    count: Annotated[int, Field(ge=1)] = 1,
    samples: Annotated[int, Field(ge=1)] = 64,
    exclude: Exclude = (),
) -> TorchModel:
    """Take whole blocks out of a network of equal ones: file, memory and time shrink in proportion, on every runtime.

    Blocks go whose output is most like their input: block influence is 1 less the mean cosine of the two, over all tokens
    (or places) of the calibration instances. All are scored on the whole network, and the lowest of all stacks go. What is
    behind keeps its name. Earlier steps that changed blocks stay. A few hundred steps of `finetune` mend much of it.

    Args:
        model: stays as it is.
        ctx: gives calibration instances.
        count: blocks to take out.
        samples: calibration instances.
        exclude: blocks to keep, by the paths of any layers in them.

    Raises:
        OperationError: the network has no stack of equal blocks through which one tensor passes, or fewer than `count` could
            go; or the calibration split is empty.

    Men et al., "ShortGPT: Layers in Large Language Models are More Redundant Than You Expect", ACL Findings 2025
    (arXiv:2403.03853).
    """
    result = model.copy()
    blocks = _blocks(result, exclude)
    if not blocks:
        raise OperationError(
            "drop_layers: the network has no stack of two or more equal blocks; take `channel_prune` to make layers narrower"
        )
    influence, widths = _influence(result, blocks, ctx, samples)
    if not influence:
        raise OperationError(
            "drop_layers: the blocks of this network pass more than one tensor on, or change its shape, so that none can be "
            "left out; take `channel_prune` to make layers narrower"
        )
    able = _removable(influence)
    if not able:
        raise OperationError(
            "drop_layers: no block can go, since something must remain of each stack; take `channel_prune` to make layers narrower"
        )
    if count > len(able):
        raise OperationError(f"drop_layers: {count} blocks are to go, and at most {len(able)} can; lower `count`")
    lowest = sorted(sorted(able, key=lambda name: influence[name])[:count], key=list(influence).index)
    change = {"edit": EDIT, "blocks": {name: widths[name] for name in lowest}}
    before = sum(parameter.numel() for parameter in result.module.parameters())
    result.module = take_out(result.module, result.architecture, change)
    result.edits = [*result.edits, change]
    present = dict(result.module.named_parameters(remove_duplicate=False))
    result.masks = {name: mask for name, mask in result.masks.items() if name in present}
    ctx.note("dropped", {name: round(influence[name], 6) for name in lowest})
    ctx.note("influence", {name: round(value, 6) for name, value in influence.items()})
    after = sum(parameter.numel() for parameter in result.module.parameters())
    ctx.note("achieved", {"parameters": after, "removed": before - after})
    return result


@edit(EDIT)
def take_out(module: torch.nn.Module, architecture: Architecture, change: Mapping[str, Any]) -> torch.nn.Module:
    """Put what passes its input on in the place of blocks.

    Args:
        module: changed in place.
        architecture: of no importance.
        change: `blocks` maps the path of each to how many values it returned; 0: a tensor by itself.
    """
    from ops.core.network.passing import Passing

    for name, width in change["blocks"].items():
        module.set_submodule(name, Passing(width, module.get_submodule(name)))
    return module


def _blocks(model: TorchModel, exclude: Any) -> dict[str, torch.nn.Module]:
    """Return the blocks of all stacks: parts of one class and one set of parameters in one list."""
    from torch import nn

    from ops.core.network.passing import Passing
    from ops.core.selector import choose_layers

    protected = choose_layers(model, exclude, ()) if exclude else {}
    blocks_of_stacks: dict[str, torch.nn.Module] = {}
    for name, part in model.module.named_modules():
        if not isinstance(part, nn.ModuleList | nn.Sequential):
            continue
        children = {f"{name}.{key}": child for key, child in part.named_children() if not isinstance(child, Passing)}
        forms = {path: (type(child), _shapes(child)) for path, child in children.items() if _shapes(child)}
        common = max(forms.values(), key=list(forms.values()).count, default=None)
        equal = [path for path, form in forms.items() if form == common]
        inside = any(path.startswith(f"{outer}.") for outer in blocks_of_stacks for path in equal)
        if len(equal) < _FEWEST or inside:
            continue
        for path in equal:
            if not any(layer == path or layer.startswith(f"{path}.") for layer in protected):
                blocks_of_stacks[path] = children[path]
    return blocks_of_stacks


def _shapes(part: torch.nn.Module) -> tuple[str, ...]:
    """Names of a block's parameters; not their shapes: earlier steps may have made it narrower inside."""
    return tuple(name for name, _ in part.named_parameters())


def _influence(
    model: TorchModel, blocks: Mapping[str, torch.nn.Module], ctx: Context, samples: int
) -> tuple[dict[str, float], dict[str, int]]:
    """Return the influence of each block that can be left out, and how many values it returns, in the network's order."""
    import torch

    from ops.calibration.batches import calibration_batches
    from ops.core.forward import forward, tensors

    watch = _Watch()
    handles = [part.register_forward_hook(watch.hook(name), with_kwargs=True) for name, part in blocks.items()]
    try:
        for batch in calibration_batches(ctx, samples=samples, batch_size=8):
            inputs = tensors(batch.inputs)
            watch.begin(inputs.get("attention_mask"))
            with torch.no_grad():
                forward(model.module.eval(), inputs, model.architecture.task)
    finally:
        for handle in handles:
            handle.remove()
    fit = [name for name in blocks if name in watch.counts and name not in watch.unfit]
    if any(not watch.sums[name] < float("inf") for name in fit):
        raise OperationError("drop_layers: a block gives NaN or infinity on the calibration split")
    return {name: watch.sums[name] / watch.counts[name] for name in fit}, {name: watch.widths[name] for name in fit}


class _Watch:
    """Compares what goes into blocks with what comes out."""

    def __init__(self) -> None:
        self.sums: dict[str, float] = {}
        """Block -> sum of 1 less the cosine."""
        self.counts: dict[str, int] = {}
        self.widths: dict[str, int] = {}
        self.unfit: set[str] = set()
        self._mask: torch.Tensor | None = None
        self._passed: dict[str, torch.Tensor] = {}
        """Stack -> what its last block gave."""

    def begin(self, mask: torch.Tensor | None) -> None:
        """Take the mask of a batch of texts (N, tokens), None of other data, before it runs."""
        self._mask, self._passed = mask, {}

    def hook(self, name: str) -> Any:
        """Return the hook of a block."""

        def run(_: Any, arguments: tuple[Any, ...], by_name: dict[str, Any], output: Any) -> None:
            self._look(name, arguments[0] if arguments else next(iter(by_name.values())), output)

        return run

    def _look(self, name: str, values: torch.Tensor, output: Any) -> None:
        import torch
        from torch.nn import functional

        several = isinstance(output, tuple | list)
        result = output[0] if several else output
        more = several and any(isinstance(each, torch.Tensor) for each in output[1:])
        if more or not isinstance(result, torch.Tensor) or result.shape != values.shape:
            self.unfit.add(name)
            return
        stack = name.rpartition(".")[0]
        if stack in self._passed and self._passed[stack] is not values:  # something lies between, or they are no chain
            self.unfit.add(name)
        self._passed[stack] = result
        features = 1 if values.dim() == _PICTURE_AXES else -1
        similarity = functional.cosine_similarity(values.float(), result.float(), dim=features)
        if self._mask is not None and similarity.shape == self._mask.shape:
            similarity = similarity[self._mask != 0]
        self.sums[name] = self.sums.get(name, 0.0) + float((1 - similarity.double()).sum())
        self.counts[name] = self.counts.get(name, 0) + similarity.numel()
        self.widths[name] = len(output) if several else 0


def _removable(influence: Mapping[str, float]) -> list[str]:
    """All blocks but the one of most influence in each stack: something must remain of it."""
    stacks: dict[str, list[str]] = {}
    for name in influence:
        stacks.setdefault(name.rpartition(".")[0], []).append(name)
    last = {max(names, key=lambda name: influence[name]) for names in stacks.values()}
    return [name for name in influence if name not in last]
