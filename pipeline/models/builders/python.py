"""A network that a person's own Python function builds."""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated, Any

from ops.core.registry import nearest
from pipeline.models import factories
from pipeline.models.api import Built, LocalFile, ModelError, Need, builder
from pipeline.models.weights import Match, load_into, read_tensors

if TYPE_CHECKING:
    from torch import nn


@builder
def python(
    need: Need,
    *,
    factory: str,
    arguments: dict[str, Any] | None = None,
    weights: Annotated[str | None, LocalFile()] = None,
    new_head: bool = False,
    match: Match = "names",
) -> Built:
    """What `factory` (`package.module:function`) returns for `arguments`: a torch module.

    A factory with a parameter `need` is given the `Need`, with the data's classes and input shapes. The module's forward
    takes the inputs by the data's names, or a single input under any name, and returns logits. `weights` is a file of
    tensors for it. `new_head` lets a last layer that does not fit them start anew, to be trained.

    Raises:
        ModelError: the recipe does not name the factory, it cannot be imported or called so, returns no torch module, or the
            weights are missing or do not fit.
    """
    if not factories.is_named(factory):
        raise ModelError(
            f"factory: the recipe at hand does not name '{factory}', and no other file may have code called. To use it, name "
            "it in a model entry of the recipe"
        )
    function = _resolve(factory)
    values = dict(arguments or {})
    if "need" in _parameters(function, values, factory):
        values["need"] = need
    module = _called(function, values, factory)
    notes: dict[str, Any] = {}
    if need.pretrained:
        if weights is None:
            raise ModelError(
                "there are no pretrained weights: set `weights` to a file of tensors, or `train` the model"
            )
        notes = load_into(module, read_tensors(weights), source=weights, new_head=new_head, match=match, need=need)
    return Built(module, {"factory": factory, "arguments": dict(arguments or {})}, notes)


def _resolve(factory: str) -> Callable[..., Any]:
    place, colon, name = factory.partition(":")
    if not (place and colon and name):
        raise ModelError(f"factory: must be package.module:function (got '{factory}')")
    try:
        module = importlib.import_module(place)
    except ImportError as error:
        raise ModelError(f"factory: '{place}' cannot be imported ({error}); is its folder on PYTHONPATH?") from None
    function = getattr(module, name, None)
    if not callable(function):
        present = [one for one, value in vars(module).items() if callable(value) and not one.startswith("_")]
        raise ModelError(f"factory: '{place}' has no function '{name}'.{nearest(name, present)}")
    return function  # type: ignore[no-any-return]


def _parameters(function: Callable[..., Any], arguments: dict[str, Any], factory: str) -> list[str]:
    """Names that the factory takes.

    Raises:
        ModelError: for an argument that it does not take, or one that it needs.
    """
    parameters = inspect.signature(function).parameters
    if any(p.kind is p.VAR_KEYWORD for p in parameters.values()):
        return list(parameters)
    for name in arguments:
        if name not in parameters:
            present = [one for one in parameters if one != "need"]
            raise ModelError(
                f"arguments: {factory} takes no '{name}'.{nearest(name, present)} Known: {', '.join(present) or 'none'}"
            )
    for name, p in parameters.items():
        if p.default is p.empty and p.kind is not p.VAR_POSITIONAL and name not in (*arguments, "need"):
            raise ModelError(f"arguments: {factory} needs '{name}'")
    return list(parameters)


def _called(function: Callable[..., Any], arguments: dict[str, Any], factory: str) -> nn.Module:
    from torch import nn

    module = function(**arguments)
    if not isinstance(module, nn.Module):
        raise ModelError(f"factory: {factory} returns a {type(module).__name__}, not a torch.nn.Module")
    return module.float()
