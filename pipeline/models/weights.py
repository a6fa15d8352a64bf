"""Weights from files, without running code from them, and whether they fit."""

from __future__ import annotations

import pickle
import warnings
from collections.abc import Collection, Iterable, Mapping, Set
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from ops.core.forward import give_shapes
from ops.core.model import Architecture, TorchModel
from ops.core.network.sharing import same_names
from ops.core.registry import nearest
from ops.core.selector import head_of
from pipeline.core.errors import reason
from pipeline.models.api import ModelError, Need
from pipeline.models.identity import weight_files

if TYPE_CHECKING:
    import torch

Match = Literal["names", "order"]
"""Whether tensors belong together by name, or by their order (weights of another library's version of the network)."""
_WRAPPERS = ("state_dict", "model_state_dict", "model")
_PREFIXES = ("module.", "_orig_mod.", "module.")
"""Of DistributedDataParallel, torch.compile, and of either around the other."""
_COUNTERS = "num_batches_tracked"
_SHOWN = 4


def read_tensors(path: str) -> dict[str, torch.Tensor]:
    """Read name -> tensor from a safetensors file, or from a torch file of tensors only.

    Of an index of shards (`model.safetensors.index.json`), or of one shard of several, all shards are read.

    Raises:
        ModelError: if a file is missing, damaged, or holds anything that could run code.
    """
    file = Path(path).expanduser()
    if not file.is_file():
        raise ModelError(f"{file}: there is no such file")
    if file.suffix == ".gguf":
        raise ModelError(f"{file}: GGUF files are not read; save the network's state_dict() as safetensors")
    tensors: dict[str, torch.Tensor] = {}
    for part in weight_files(file):
        tensors |= _tensors_of(part)
    return tensors


def _tensors_of(file: Path) -> dict[str, torch.Tensor]:
    result = _safetensors(file) if file.suffix == ".safetensors" else _torch_file(file)
    for wrapper in _WRAPPERS:
        if isinstance(result.get(wrapper), Mapping):
            result = dict(result[wrapper])
    wrong = [name for name, value in result.items() if not hasattr(value, "shape")]
    if wrong or not result:
        raise ModelError(
            f"{file}: holds no named tensors (found '{', '.join(wrong[:_SHOWN])}'); save the network's state_dict()"
        )
    return result


def _safetensors(file: Path) -> dict[str, Any]:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        return dict(load_file(file))
    except SafetensorError as error:
        raise ModelError(f"{file}: damaged or no safetensors file ({error})") from None


def _torch_file(file: Path) -> dict[str, Any]:
    import torch

    try:
        with warnings.catch_warnings():  # of pickle protocols, before what matters is raised
            warnings.simplefilter("ignore")
            result = torch.load(file, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError:
        raise ModelError(
            f"{file}: holds pickled Python objects, which could run code, or is damaged. "
            "Save the network's state_dict(), best as safetensors"
        ) from None
    except (RuntimeError, EOFError, OSError, KeyError, ValueError) as error:
        raise ModelError(f"{file}: damaged or no file of torch.save ({reason(error)})") from None
    if not isinstance(result, Mapping):
        raise ModelError(f"{file}: holds a {type(result).__name__}, not named tensors; save the network's state_dict()")
    return dict(result)


def load_into(
    module: torch.nn.Module,
    tensors: Mapping[str, torch.Tensor],
    *,
    source: str,
    new_head: bool,
    match: Match,
    need: Need | None = None,
) -> dict[str, Any]:
    """Copy tensors into a network. The head keeps its initial weights if `new_head`.

    Args:
        module: changed in place.
        tensors: by name, or in order; of a tensor that has several names in the network, one is enough.
        source: where they are from, for messages.
        new_head: whether the head may stay as it is where it does not fit.
        match: how tensors and parameters belong together.
        need: with it, layers without a shape get one, and the head is what the network's graph says; else its last layer with
            parameters.

    Returns:
        The model's notes: `untrained_head`, the tensors that stayed as they were, and `weights_left_out`, the names that the
        network lacks, if there are any.

    Raises:
        ModelError: naming the tensors that do not fit, with their shapes.
    """
    if need is not None:
        give_shapes(module, Architecture("", "", {}, need.task, tuple(need.classes), need.inputs))
    own = module.state_dict()
    tensors = _unwrapped(tensors, own.keys(), source)
    head = head_tensors(module, need if new_head else None)
    if match == "order":
        tensors = _renamed(tensors, own, head if new_head else (), source)
    fitting = {
        name: tensor
        for name, tensor in tensors.items()
        if name in own and tensor.shape == own[name].shape and not _loses_values(tensor, own[name])
    }
    values = {*fitting, *(name for group in same_names(module) if set(group) & set(fitting) for name in group)}
    misfits = describe(
        {name: own[name] for name in own if name in tensors or name not in values}, tensors, without=fitting
    )
    if misfits and not (new_head and set(own) - values - _counters(own) <= head):
        raise ModelError(f"{source}: {misfits}.{_advice(new_head)}")
    surplus = {name: tensor for name, tensor in tensors.items() if name not in own}
    if body := _of_body(surplus, own, head):
        raise ModelError(f"{source}: {describe(own, {**own, **body}, without=own)}.{_advice(new_head)}")
    module.load_state_dict({name: tensor.to(own[name].dtype) for name, tensor in fitting.items()}, strict=False)
    return loading_notes(untrained=set(own) - values - _counters(own), left_out=surplus)


def _unwrapped(tensors: Mapping[str, torch.Tensor], own: Set[str], source: str) -> Mapping[str, torch.Tensor]:
    """Take off what wrappers of a network (data parallelism, torch.compile) put before its names; not what is its own.

    Raises:
        ModelError: a name stands there with and without it.
    """
    for prefix in _PREFIXES:
        result = {name.removeprefix(prefix): tensor for name, tensor in tensors.items()}
        is_own = any(name.startswith(prefix) for name in own)
        if result.keys() == tensors.keys() or (is_own and len(result.keys() & own) <= len(tensors.keys() & own)):
            continue
        if len(result) < len(tensors):
            twice = next(name for name in tensors if f"{prefix}{name}" in tensors)
            raise ModelError(
                f"{source}: holds both '{twice}' and '{prefix}{twice}'; save the state_dict() of one network"
            )
        tensors = result
    return tensors


def loading_notes(*, untrained: Collection[str], left_out: Collection[str]) -> dict[str, Any]:
    """The notes of a model some of whose tensors keep their initial values, or whose file holds tensors that it lacks."""
    notes = {"untrained_head": sorted(untrained), "weights_left_out": sorted(left_out)}
    return {name: names for name, names in notes.items() if names}


def is_of_pooler(name: str) -> bool:
    """Whether a tensor is of a pooler, a layer of the body that serves the heads of some tasks only."""
    return "pooler" in name.split(".")


def _of_body(
    surplus: Mapping[str, torch.Tensor], own: Collection[str], head: Collection[str]
) -> dict[str, torch.Tensor]:
    """Tensors without a place that are called like the body's: a deeper network's layers, which must not be dropped.

    They share more of their path with a tensor of the body than with any of the head. Whole numbers (position ids,
    counters) are not weights, and neither they nor poolers change what the layers compute that are there.
    """
    heads, bodies = _paths(head), _paths(set(own) - set(head))
    return {
        name: tensor
        for name, tensor in surplus.items()
        if tensor.is_floating_point() and not is_of_pooler(name) and _shared(name, bodies) > _shared(name, heads)
    }


def _loses_values(tensor: torch.Tensor, own: torch.Tensor) -> bool:
    """Whether numbers of another kind are no weights as they stand: integers want a scale, complex ones have two parts."""
    return own.is_floating_point() and not tensor.is_floating_point()


def _described(tensor: torch.Tensor) -> str:
    return f"{str(tensor.dtype).removeprefix('torch.')} {list(tensor.shape)}"


def _paths(names: Iterable[str]) -> set[str]:
    """Everything that these names begin with, up to a dot."""
    return {".".join(parts[:count]) for parts in (name.split(".") for name in names) for count in range(1, len(parts))}


def _shared(name: str, paths: Collection[str]) -> int:
    """How many parts of a name, from its first, are those of a path."""
    count, end = 0, name.find(".")
    while end >= 0 and name[:end] in paths:
        count, end = count + 1, name.find(".", end + 1)
    return count + (end < 0 and name in paths)


def head_tensors(module: torch.nn.Module, need: Need | None = None) -> set[str]:
    """Names of the tensors of the layers that give the outputs; without `need`, of the last layer with parameters."""
    if need is not None:
        architecture = Architecture("", "", {}, need.task, tuple(need.classes), need.inputs)
        heads = head_of(TorchModel(module, architecture))
        return {name for name in module.state_dict() if any(name.startswith(f"{head}.") for head in heads)}
    owners = [name for name, part in module.named_modules() if any(True for _ in part.parameters(recurse=False))]
    prefix = f"{owners[-1]}." if owners and owners[-1] else ""
    return {name for name in module.state_dict() if name.startswith(prefix)}


def describe(own: Mapping[str, torch.Tensor], result: Mapping[str, torch.Tensor], *, without: Collection[str]) -> str:
    """Say which tensors differ, are missing or are too many; empty if none.

    Args:
        own: the module's tensors, by name.
        result: the file's.
        without: names that are left out of the comparison of shapes.
    """
    differing = [
        f"'{name}' is {_described(result[name])} there and {_described(own[name])} here"
        if _loses_values(result[name], own[name])
        else f"'{name}' is {list(result[name].shape)} there and {list(own[name].shape)} here"
        for name in own
        if name in result and name not in without
    ]
    missing = [
        f"'{name}' {list(own[name].shape)} is not there" for name in own if name not in result and _COUNTERS not in name
    ]
    extra = [
        f"'{name}' {list(result[name].shape)} has no place here{nearest(name, own)}"
        for name in result
        if name not in own
    ]
    return listed([*differing, *missing, *extra])


def listed(problems: Iterable[str]) -> str:
    """The first few, and how many more."""
    problems = list(problems)
    more = f"; and {len(problems) - _SHOWN} more" if len(problems) > _SHOWN else ""
    return "; ".join(problems[:_SHOWN]) + more


def _advice(new_head: bool) -> str:
    if new_head:
        return " More than the head does not fit: these are weights of another architecture or of other arguments"
    return " If it is only the head, `new_head: true` starts it anew from random weights, to be trained; else check the architecture"


def _counters(own: Mapping[str, torch.Tensor]) -> set[str]:
    return {name for name in own if _COUNTERS in name}


def _renamed(
    tensors: Mapping[str, torch.Tensor], own: Mapping[str, torch.Tensor], head: Collection[str], source: str
) -> dict[str, torch.Tensor]:
    """Give tensors this network's names, in order; batch counters, which not every library stores, are left out."""
    names = [name for name in own if _COUNTERS not in name]
    values = [tensor for name, tensor in tensors.items() if _COUNTERS not in name]
    if len(values) == len([name for name in names if name not in head]):  # weights without a head
        names = [name for name in names if name not in head]
    if len(names) != len(values):
        raise ModelError(
            f"{source}: {len(values)} tensors, but the network has {len(names)}: they cannot be matched by order"
        )
    return dict(zip(names, values, strict=True))
