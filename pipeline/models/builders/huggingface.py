"""Any architecture of Hugging Face transformers: from its configuration, a folder, a hub id, or a file of tensors."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from ops.core.registry import nearest
from ops.core.tasks.task import TASKS
from pipeline.core.download.hub import HubError, incomplete, is_hub_id, local_folder
from pipeline.core.errors import reason
from pipeline.models.api import Built, LocalFile, ModelError, Need, builder
from pipeline.models.weights import Match, is_of_pooler, listed, load_into, loading_notes, read_tensors

if TYPE_CHECKING:
    import torch

_FILES = ("config.json", "*.safetensors", "*.safetensors.index.json")
_PICKLES = ("pytorch_model*.bin", "pytorch_model.bin.index.json")
_NOT_STRUCTURE = (
    "_name_or_path",
    "transformers_version",
    "dtype",
    "torch_dtype",
    "id2label",
    "label2id",
)


def _complete(folder: Path) -> bool:
    return (folder / "config.json").exists() and any(
        next(folder.glob(pattern), None) is not None for pattern in (*_FILES[1:], *_PICKLES)
    )


def _check_folder(folder: Path) -> None:
    if not _complete(folder):
        raise ModelError(incomplete(folder, _FILES))


@builder
def huggingface(
    need: Need,
    *,
    architecture: str | None = None,
    config: dict[str, Any] | None = None,
    weights: Annotated[str | None, LocalFile(published=is_hub_id, check_folder=_check_folder)] = None,
    revision: str | None = None,
    new_head: bool = False,
    match: Match = "names",
    batch_norm_momentum: float | None = None,
) -> Built:
    """A transformers model of the data's task, with as many classes and of the input size that the data has.

    `architecture` is transformers' model type (`resnet`, `vit`, `bert`), `config` what differs from its defaults.
    `weights` is a folder made by `save_pretrained` or a hub id (then the architecture is that of its configuration), or
    a file of tensors (then `architecture` must be given; `match: order` if its tensors have another library's names).
    Only safetensors and tensor-only torch files are read. `new_head` lets a classifier that does not fit the data's
    classes start anew, to be trained. `batch_norm_momentum` is the weight of a new batch in the running statistics
    (null: the library's, which for MobileNets is 0.997, TensorFlow's weight of the old ones: only the last batch counts).
    """
    _quiet()
    source = _source(weights, revision) if need.initialise else None  # a structure alone needs no file and no network
    inherited: dict[str, Any] = {}
    if source is not None and source.is_dir():
        base = _from_folder(source, architecture)
        inherited = base.to_dict()
    else:
        base = _from_type(architecture)
    if need.initialise:
        _check_keys(base, config or {})
    _check_own_code(config or {})
    expected = _required_settings(base, config or {}, need)
    with _one_line_errors(f"config of '{base.model_type}'"):
        settings = type(base).from_dict({**inherited, **expected})
    _check_length(settings, need)
    notes: dict[str, Any] = {}
    if not need.pretrained:
        module = _initialised(settings, need)
    elif source is None:
        raise ModelError(
            "there are no pretrained weights: set `weights` to a folder, a hub id or a file, or `train` the model"
        )
    elif source.is_dir():
        _check_class_order(base, need, new_head)
        module, notes = _loaded(source, settings, need, new_head)
    else:
        module = _initialised(settings, need)
        notes = load_into(module, read_tensors(str(source)), source=str(source), new_head=new_head, match=match)
    structure = {"architecture": settings.model_type, "config": _structure(settings)}
    if batch_norm_momentum is not None:
        _set_momentum(module, batch_norm_momentum)
        structure["batch_norm_momentum"] = batch_norm_momentum
    return Built(module, structure, notes)


def _set_momentum(module: torch.nn.Module, momentum: float) -> None:
    import torch

    if not 0 < momentum < 1:
        raise ModelError(f"batch_norm_momentum must be above 0 and below 1, not {momentum}")
    for norm in module.modules():
        if isinstance(norm, torch.nn.BatchNorm2d):
            norm.momentum = momentum


def _source(weights: str | None, revision: str | None) -> Path | None:
    """The file or folder of the weights; a hub id is fetched."""
    if weights is None:
        return None
    path = Path(weights).expanduser()
    if path.is_file():
        return path
    try:
        return local_folder(weights, patterns=_FILES, complete=_complete, revision=revision)
    except HubError as error:
        raise ModelError(f"weights: {error}") from None


def _from_folder(folder: Path, architecture: str | None) -> Any:
    from transformers import AutoConfig

    with _one_line_errors(f"{folder / 'config.json'}: cannot be used"):
        base = AutoConfig.from_pretrained(str(folder), trust_remote_code=False)
    if architecture not in (None, base.model_type):
        raise ModelError(
            f"{folder}: the weights are of architecture '{base.model_type}', not '{architecture}'; leave `architecture` out"
        )
    return base


def _from_type(architecture: str | None) -> Any:
    from transformers import CONFIG_MAPPING, AutoConfig

    if architecture is None:
        raise ModelError("set `architecture` (a model type such as resnet) or `weights` (a folder or hub id)")
    if architecture not in CONFIG_MAPPING:
        hint = nearest(architecture, CONFIG_MAPPING)
        raise ModelError(f"transformers has no architecture '{architecture}'.{hint}")
    return AutoConfig.for_model(architecture)


def _check_own_code(config: Mapping[str, Any]) -> None:
    """Code is never fetched: a configuration could name a hub's repository of kernels, or of classes."""
    for name, value in config.items():
        if name == "auto_map" or (name.endswith("_implementation") and "/" in str(value)):
            raise ModelError(f"config: '{name}' names code of somebody else's; leave it out")


def _check_keys(base: Any, config: Mapping[str, Any]) -> None:
    """A configuration takes any key without complaint, so that a misspelt one would do nothing."""
    present = [*base.to_dict(), *base.attribute_map]
    for key in config:
        if key not in present:
            raise ModelError(f"config: '{base.model_type}' has no '{key}'.{nearest(key, present)}")


def _required_settings(base: Any, config: Mapping[str, Any], need: Need) -> dict[str, Any]:
    """The entry's settings, with the classes and the input size of the data."""
    expected: dict[str, Any] = dict(config)
    task = TASKS[need.task]
    if task.is_autoregressive or hasattr(base, "use_cache"):
        expected["use_cache"] = False  # keys and values of earlier tokens would be outputs of the exported graph
    if task.has_classes:
        expected["id2label"] = dict(enumerate(need.classes))
        expected["label2id"] = {name: number for number, name in enumerate(need.classes)}
    if need.picture is not None:
        channels, height, width = need.picture
        sizes = {"num_channels": channels, "image_size": height if height == width else [height, width]}
        for key in [key for key in sizes if hasattr(base, key)]:
            if config.get(key, sizes[key]) != sizes[key]:
                raise ModelError(f"config: {key} is {config[key]}, but the pictures have {sizes[key]}; leave it out")
            expected[key] = sizes[key]
    return expected


def _check_length(settings: Any, need: Need) -> None:
    longest = getattr(settings, "max_position_embeddings", None)
    length = max((shape[0] for _, shape in need.inputs.values() if len(shape) == 1), default=0)
    if isinstance(longest, int) and 0 < longest < length:  # XLNet's -1: any length
        raise ModelError(
            f"the data has {length} tokens, the model takes {longest}; lower text.max_length of the data set"
        )


def _initialised(settings: Any, need: Need) -> torch.nn.Module:
    import torch
    from transformers.initialization import no_init_weights

    speed_up = contextlib.nullcontext() if need.initialise else no_init_weights()
    # where a model type has several classes (DeiT with and without a teacher), transformers chooses by this list
    settings.architectures = settings.architectures or []
    with speed_up, _one_line_errors(f"architecture '{settings.model_type}' for {need.task}"):
        module: torch.nn.Module = _auto(need).from_config(
            settings, dtype=torch.float32, trust_remote_code=False, **_attention(need)
        )
        module.tie_weights()  # type: ignore[operator]  # done with the initial weights, which may have been left out
        return module


def _auto(need: Need) -> Any:
    import transformers

    name = TASKS[need.task].transformers_class
    if name is None:
        raise ModelError(f"transformers builds no models for {need.task}; use another builder")
    return getattr(transformers, name)


def _attention(need: Need) -> dict[str, str]:
    """The exporter cannot follow torch's fused attention where it takes a bias (T5)."""
    return {"attn_implementation": "eager"} if TASKS[need.task].is_autoregressive else {}


def _loaded(folder: Path, settings: Any, need: Need, new_head: bool) -> tuple[torch.nn.Module, dict[str, Any]]:
    import torch

    safe = next(folder.glob("*.safetensors"), None) is not None
    with _one_line_errors(f"{folder}: the weights cannot be read"):
        module, report = _auto(need).from_pretrained(
            str(folder),
            config=settings,
            dtype=torch.float32,
            use_safetensors=safe,
            weights_only=True,
            ignore_mismatched_sizes=True,
            output_loading_info=True,
            trust_remote_code=False,
            **_attention(need),
        )
    return module, _check_report(module, report, folder, new_head)


def _check_report(module: torch.nn.Module, report: Mapping[str, Any], folder: Path, new_head: bool) -> dict[str, Any]:
    """Refuse weights of which anything but the head does not fit; the head only if `new_head` says so.

    Returns the model's notes, as `load_into` does.
    """
    own = module.state_dict()
    differing = {
        name: f"'{name}' is {list(theirs)} there and {list(ours)} here"
        for name, theirs, ours in sorted(report["mismatched_keys"])
    }
    missing = {
        name: f"'{name}' {list(own[name].shape)} is not there" for name in sorted(report["missing_keys"]) if name in own
    }
    extra = {
        name: f"'{name}' has no place here" for name in sorted(report["unexpected_keys"]) if not _of_head(module, name)
    }
    problems = {**differing, **missing, **extra}
    body = {name: problem for name, problem in problems.items() if not _of_head(module, name)}
    if not problems or (new_head and not body):
        return loading_notes(untrained={**differing, **missing}, left_out=report["unexpected_keys"])
    advice = (
        "Give the data the size of the weights (e.g. `size` of the data set), and leave `config` as it is there"
        if body
        else "`new_head: true` starts the head anew from random weights, to be trained"
    )
    raise ModelError(f"{folder}: the weights do not fit: {listed((body or problems).values())}. {advice}")


def _of_head(module: torch.nn.Module, name: str) -> bool:
    """Whether a tensor is outside the body that tasks share; BERT's pooler serves some heads only."""
    first, *rest = name.split(".")
    in_body = bool(rest) and (first == module.base_model_prefix or hasattr(module.base_model, first))
    return not in_body or is_of_pooler(name)


def _check_class_order(base: Any, need: Need, new_head: bool) -> None:
    """The same classes in another order would load, and give wrong answers."""
    theirs = [str(base.id2label[number]).lower() for number in sorted(base.id2label)]
    ours = [name.lower() for name in need.classes]
    if new_head or theirs == ours or sorted(theirs) != sorted(ours):
        return
    place = next(number for number, (one, other) in enumerate(zip(theirs, ours, strict=True)) if one != other)
    raise ModelError(
        f"the weights' class {place} is '{base.id2label[place]}', the data's is '{need.classes[place]}': the same classes in "
        "another order. Set `classes` of the data set to the order of the weights' id2label"
    )


def _structure(settings: Any) -> dict[str, Any]:
    """All of a configuration that decides the structure: the artifact must not hang on a folder, or on later defaults."""
    return {key: value for key, value in settings.to_dict().items() if key not in (*_NOT_STRUCTURE, "model_type")}


@contextlib.contextmanager
def _one_line_errors(what: str) -> Iterator[None]:
    """Say in one line why transformers refuses a configuration or a file."""
    import pickle

    from huggingface_hub.errors import StrictDataclassError
    from safetensors import SafetensorError

    try:
        yield
    except pickle.UnpicklingError:
        raise ModelError(
            f"{what}: they are pickled Python objects, which could run code, or damaged. Save them as safetensors"
        ) from None
    except (
        ImportError,
        OSError,
        ValueError,
        RuntimeError,
        TypeError,
        KeyError,
        StrictDataclassError,
        SafetensorError,
    ) as error:
        raise ModelError(f"{what} ({reason(error)})") from None


def _quiet() -> None:
    """Progress bars and load reports of transformers; what matters of them becomes an error here."""
    from transformers.utils import logging

    logging.disable_progress_bar()
    logging.set_verbosity_error()
