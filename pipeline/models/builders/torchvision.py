"""Any classifier of torchvision, where it is installed."""

from __future__ import annotations

import urllib.error
from typing import TYPE_CHECKING, Annotated, Any

from ops.core.registry import nearest
from pipeline.core.errors import reason
from pipeline.core.extras import install_command
from pipeline.models.api import Built, LocalFile, ModelError, Need, builder
from pipeline.models.weights import Match, load_into, read_tensors

if TYPE_CHECKING:
    import torch


@builder
def torchvision(
    need: Need,
    *,
    architecture: str,
    config: dict[str, Any] | None = None,
    weights: Annotated[str | None, LocalFile(published=str.isupper)] = None,
    new_head: bool = False,
    match: Match = "names",
) -> Built:
    """A model of torchvision with as many classes as the data has; `config` goes to `torchvision.models.get_model`.

    `weights` is a file of tensors, or the name of published ones (`IMAGENET1K_V2`), which torchvision fetches. `new_head`
    lets a classifier that does not fit the data's classes start anew, to be trained.

    Raises:
        ModelError: torchvision has no such architecture or cannot make it so, or the weights are missing or do not fit.
    """
    models = _library()
    present = models.list_models(module=models)
    if architecture not in present:
        raise ModelError(f"torchvision has no architecture '{architecture}'.{nearest(architecture, present)}")
    try:
        module = models.get_model(architecture, weights=None, num_classes=len(need.classes), **(config or {}))
    except (TypeError, ValueError) as error:
        raise ModelError(f"torchvision cannot make '{architecture}': {reason(error)}") from None
    notes: dict[str, Any] = {}
    if need.pretrained:
        notes = load_into(
            module, _tensors(models, architecture, weights), source=str(weights), new_head=new_head, match=match
        )
    return Built(module, {"architecture": architecture, "config": config or {}}, notes)


def _library() -> Any:
    try:
        from torchvision import models
    except ImportError:
        raise ModelError(
            f"torchvision models need the package `torchvision`: {install_command('torchvision')}"
        ) from None
    except RuntimeError as error:  # a build for another torch
        raise ModelError(f"torchvision is installed but does not fit this torch: {reason(error)}") from None
    return models


def _tensors(models: Any, architecture: str, weights: str | None) -> dict[str, torch.Tensor]:
    if weights is None:
        raise ModelError("there are no pretrained weights: set `weights` to a file, or to a name such as IMAGENET1K_V1")
    published = {one.name: one for one in models.get_model_weights(architecture)}
    if weights not in published:
        if weights.isupper():
            hint = nearest(weights, published)
            raise ModelError(
                f"torchvision publishes no '{weights}' of '{architecture}'.{hint} Known: {', '.join(published)}"
            )
        return read_tensors(weights)
    try:
        return dict(published[weights].get_state_dict(progress=False, check_hash=True, weights_only=True))
    except (urllib.error.URLError, TimeoutError, ConnectionError) as error:
        raise ModelError(
            f"{published[weights].url}: {reason(error)}; fetch it once while online, or give a file"
        ) from None
