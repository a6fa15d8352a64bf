"""Any architecture of timm (PyTorch Image Models), where it is installed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

from ops.core.registry import nearest
from pipeline.core.errors import reason
from pipeline.core.extras import install_command
from pipeline.models.api import Built, LocalFile, ModelError, Need, builder
from pipeline.models.weights import Match, load_into, read_tensors

if TYPE_CHECKING:
    import torch

_FETCHING = frozenset({"pretrained", "checkpoint_path", "cache_dir"})
"""Arguments of `timm.create_model` that read files or fetch them."""
_PRETRAINED = "pretrained"
"""In place of a file: the weights that timm fetches."""


@builder
def timm(
    need: Need,
    *,
    architecture: str,
    config: dict[str, Any] | None = None,
    weights: Annotated[str | None, LocalFile(published=_PRETRAINED.__eq__)] = None,
    new_head: bool = False,
    match: Match = "names",
) -> Built:
    """A model of timm with as many classes and channels as the data has; `config` goes to `timm.create_model`.

    `weights` is a file of tensors, or `pretrained` for those that timm fetches. `new_head` lets a classifier that does
    not fit the data's classes start anew, to be trained.

    Raises:
        ModelError: timm cannot make the architecture so, or the weights are missing or do not fit.
    """
    module = _created(architecture, config or {}, need, len(need.classes))
    notes: dict[str, Any] = {}
    if need.pretrained:
        if weights is None:
            raise ModelError("there are no pretrained weights: set `weights` to a file, or to `pretrained`")
        tensors = _fetched(architecture, config or {}, need) if weights == _PRETRAINED else read_tensors(weights)
        notes = load_into(module, tensors, source=weights, new_head=new_head, match=match)
    return Built(module, {"architecture": architecture, "config": config or {}}, notes)


def _created(
    architecture: str, config: dict[str, Any], need: Need, classes: int | None, **more: Any
) -> torch.nn.Module:
    try:
        import timm as library
    except ImportError:
        raise ModelError(f"timm models need the package `timm`: {install_command('timm')}") from None
    except RuntimeError as error:  # a torchvision for another torch, which timm imports
        raise ModelError(f"timm is installed but cannot be imported: {reason(error)}") from None
    if need.picture is None:
        raise ModelError(f"timm's models classify pictures; the data is for {need.task}")
    if not library.is_model(architecture):
        raise ModelError(f"timm has no architecture '{architecture}'.{nearest(architecture, library.list_models())}")
    for name in _FETCHING & config.keys():
        raise ModelError(f"config: '{name}' is not part of a structure; name a file, or `pretrained`, under `weights`")
    sizes = {"in_chans": need.picture[0]} | ({} if classes is None else {"num_classes": classes})
    try:
        return library.create_model(architecture, **{**sizes, **config, **more})  # type: ignore[no-any-return]
    except (TypeError, ValueError, RuntimeError, OSError) as error:
        raise ModelError(f"timm cannot make '{architecture}': {reason(error)}") from None


def _fetched(architecture: str, config: dict[str, Any], need: Need) -> dict[str, torch.Tensor]:
    """The tensors that timm publishes, head and all, so that a head that does not fit is refused and not dropped."""
    return _created(architecture, config, need, None, pretrained=True).state_dict()
