"""Repair: chosen layers get back what they had in another model."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from pydantic import Field

from ops.core.errors import OperationError
from ops.core.operation import Context, Exclude, Include, Kind, ModelRef, TorchModel, operation

if TYPE_CHECKING:
    import torch

    from ops.core.channels import Kept


@operation(kind=Kind.RESTORE, version=2)
def restore(
    model: TorchModel,
    ctx: Context,
    *,
    include: Include,
    exclude: Exclude = (),
    source: Annotated[ModelRef, Field(alias="from")] = "base",
) -> TorchModel:
    """Put the chosen layers' parameters and buffers back, e.g. normalisation that should not have been pruned.

    Layers are restored whole, biases and running statistics too, and their masks are dropped; so are the weights that other
    layers share with them. Of a layer that lost channels since, the channels that are left are restored.

    Args:
        model: stays as it is.
        ctx: gives the other model.
        include: layers to restore.
        exclude: layers to leave alone.
        source: the model to take them from; recipes write `from`.

    Raises:
        OperationError: a pattern matches nothing, or a layer is not in the other model or has another shape there.
    """
    import torch

    from ops.core.channels import narrowed
    from ops.core.network.parametrized import plain_weights
    from ops.core.network.sharing import names_of
    from ops.core.selector import choose_layers

    result = model.copy()
    other, _ = plain_weights(ctx.load(source))
    others, remaining = dict(other.module.named_modules(remove_duplicate=False)), _kept_since(other, model)
    selection = choose_layers(result, include, exclude, default=())
    for name, layer in selection.items():
        theirs = _own_tensors(others[name]) if name in others else {}
        if name in remaining:
            sides = remaining[name]
            theirs = {
                key: narrowed(others[name], key, part, sides) if part.dim() else part for key, part in theirs.items()
            }
        with torch.no_grad():
            for key, tensor in _own_tensors(layer).items():
                tensor.copy_(_fitting(theirs.get(key), tensor, f"{name}.{key}", source))
                for same in names_of(result.module, f"{name}.{key}"):  # what is restored stays, under any name
                    result.masks.pop(same, None)
    ctx.note("restored", list(selection))
    return result


def _kept_since(other: TorchModel, model: TorchModel) -> Kept:
    """Return the channels that are left of each layer that lost some between an ancestor and the model."""
    from ops.core.channels import compose_cuts

    remaining: Kept = {}
    if model.edits[: len(other.edits)] == other.edits:
        for entry in model.edits[len(other.edits) :]:
            if entry["edit"] == "channels":
                remaining = compose_cuts(remaining, entry["layers"])
    return remaining


def _own_tensors(layer: torch.nn.Module) -> dict[str, torch.Tensor]:
    return dict(layer.named_parameters(recurse=False)) | dict(layer.named_buffers(recurse=False))


def _fitting(theirs: torch.Tensor | None, ours: torch.Tensor, name: str, source: str) -> torch.Tensor:
    if theirs is None:
        raise OperationError(f"restore: '{name}' is not in '{source}' (the layer was rebuilt since); exclude it")
    if theirs.shape != ours.shape:
        raise OperationError(
            f"restore: '{name}' has shape {tuple(ours.shape)} here and {tuple(theirs.shape)} in '{source}': the layer was "
            "narrowed and cannot be put back alone; exclude it"
        )
    return theirs
