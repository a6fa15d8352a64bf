"""Storage of models: the only place that knows the file layout of a model artifact.

torch   architecture.json, edits.json, structure.json, model.safetensors, masks.safetensors (if any weight is masked)
onnx    architecture.json, model.onnx, model.onnx.data (if the weights are more than one ONNX file holds)
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from ops.core.model import Architecture
from ops.core.operation import Format, OnnxModel, TorchModel
from pipeline.core.artifacts import MANIFEST
from pipeline.core.errors import reason
from pipeline.core.json_text import parse_json
from pipeline.core.secret_values import hidden, revealed
from pipeline.models.api import ModelError
from pipeline.models.identity import check_imported, code_behind
from pipeline.models.onnx_files.external_data import external_files, read_graph, read_whole, write_whole

if TYPE_CHECKING:
    import torch

T = TypeVar("T")

ONNX_FILE = "model.onnx"
ARCHITECTURE_FILE = "architecture.json"
TENSORS_FILE = "model.safetensors"
_EDITS, _MASKS, _STRUCTURE = "edits.json", "masks.safetensors", "structure.json"


def format_of(folder: Path) -> Format:
    """Return the kind of model that an artifact folder holds."""
    return Format.ONNX if (folder / ONNX_FILE).exists() else Format.TORCH


def save(model: TorchModel | OnnxModel, folder: Path) -> None:
    """Write a model's files into `folder`. An ONNX file is copied with its weights: it may be the user's own."""
    (folder / ARCHITECTURE_FILE).write_text(json.dumps(hidden(asdict(model.architecture)), indent=1, sort_keys=True))
    if isinstance(model, OnnxModel):
        _copy_onnx(model.path, folder / ONNX_FILE)
        return
    from safetensors.torch import save_file

    (folder / _EDITS).write_text(json.dumps(model.edits))
    (folder / _STRUCTURE).write_text(json.dumps(_structure(model)))
    save_file(_untied(model.module.state_dict()), folder / TENSORS_FILE)
    if model.masks:
        save_file({name: mask.contiguous() for name, mask in model.masks.items()}, folder / _MASKS)


def _copy_onnx(source: Path, destination: Path) -> None:
    graph = read_graph(source)
    if external_files(graph, source):
        read_whole(graph, source)
        write_whole(graph, destination)
    else:
        shutil.copyfile(source, destination)


def load(folder: Path) -> TorchModel | OnnxModel:
    """Read a model back, bit for bit, without pickle. A torch model comes in evaluation mode.

    Raises:
        ModelError: if a file is damaged, or the user's own code is not what the model was made with.
    """
    architecture = load_architecture(folder)
    if (folder / ONNX_FILE).exists():
        return OnnxModel(folder / ONNX_FILE, architecture)
    from safetensors.torch import load_file

    from ops.core.edits import replay
    from ops.core.network.sharing import share_weights
    from pipeline.models.build import build_structure

    code = load_structure(folder).get("code")
    if code is not None and code != code_behind(architecture.builder, architecture.arguments):
        source = architecture.arguments.get("factory", f"builder '{architecture.builder}'")
        raise ModelError(f"{folder}: the code of {source} is not what it was made with.{_again(folder)}")
    check_imported(architecture.builder, architecture.arguments)
    edits, shared = load_edits(folder), load_structure(folder).get("shared")
    try:
        module = replay(build_structure(architecture), architecture, edits)
        if shared is not None:  # what the network's code ties may have been taken apart since, or the other way round
            share_weights(module, shared)
    except (LookupError, AttributeError, TypeError) as error:
        raise ModelError(f"{folder}: the recorded edits cannot be made: {reason(error)}") from None
    try:
        missing, unexpected = module.load_state_dict(_read(folder / TENSORS_FILE, load_file), strict=False)
    except RuntimeError as error:
        raise ModelError(f"{folder}: the tensors do not fit the recorded structure: {error}") from None
    if unexpected or set(missing) - _tied(module):
        raise ModelError(f"{folder}: tensors missing {sorted(missing)[:3]}, unexpected {sorted(unexpected)[:3]}")
    masks = _read(folder / _MASKS, load_file) if (folder / _MASKS).exists() else {}
    return TorchModel(module.eval(), architecture, edits, masks)


def load_architecture(folder: Path) -> Architecture:
    """Read only how the model is built."""
    return _read(folder / ARCHITECTURE_FILE, _architecture)


def input_sizes(file: Path) -> dict[str, tuple[int, ...]]:
    """Return the sizes of an instance by the name of the input, for a model's ONNX file; nothing for one that stands alone.

    A file may leave them free (the length of a text): these are the data's.
    """
    if not (file.parent / ARCHITECTURE_FILE).exists():
        return {}
    return {name: tuple(shape) for name, (_, shape) in load_architecture(file.parent).inputs.items()}


def load_edits(folder: Path) -> list[dict[str, Any]]:
    """Read only the structural edits of a torch model, in order."""
    edits: list[dict[str, Any]] = _read(folder / _EDITS, _json)
    return edits


def load_structure(folder: Path) -> dict[str, Any]:
    """Read only what the tensors of a torch model belong to.

    `modules` maps the path of every module to its class, in the order of the code; `parameters` lists the names of the
    parameters (all other tensors in the file are buffers); `shared` lists the names of each tensor that has several; `eps`
    maps normalisations to their epsilon; `code` is the digest of the user's own code behind it, if any.
    """
    structure: dict[str, Any] = _read(folder / _STRUCTURE, _json)
    return structure


def _read(file: Path, reader: Callable[[Path], T]) -> T:
    """Read a file that a job has left whole, or say which result to make again."""
    from safetensors import SafetensorError

    try:
        return reader(file)
    except (OSError, ValueError, SafetensorError) as error:
        raise ModelError(f"{file} is missing or damaged ({reason(error)}).{_again(file.parent)}") from None


def _architecture(file: Path) -> Architecture:
    raw = revealed(_json(file))
    try:
        inputs = {name: (dtype, tuple(shape)) for name, (dtype, shape) in raw.pop("inputs").items()}
        return Architecture(**{**raw, "classes": tuple(raw["classes"])}, inputs=inputs)
    except (AttributeError, KeyError, TypeError) as error:
        raise ValueError(f"no architecture: {reason(error)}") from None


def _json(file: Path) -> Any:
    return parse_json(file.read_bytes())


def _again(folder: Path) -> str:
    """Return how to make a damaged result anew: its manifest knows the step."""
    try:
        path = parse_json((folder / MANIFEST).read_bytes())["path"]
    except (OSError, ValueError, KeyError, TypeError):
        return f" Remove {folder} and run again"
    return f" It is the result of '{path}': make it again with force={path}"


def _structure(model: TorchModel) -> dict[str, Any]:
    from ops.core.network.sharing import same_names

    module = model.module
    return {
        "shared": same_names(module),
        "code": code_behind(model.architecture.builder, model.architecture.arguments),
        "modules": {name: type(part).__name__ for name, part in module.named_modules()},
        "parameters": [name for name, _ in module.named_parameters(remove_duplicate=False)],
        "eps": {
            name: part.eps for name, part in module.named_modules() if isinstance(getattr(part, "eps", None), float)
        },
    }


def _untied(state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Each storage once (safetensors refuses shared ones), contiguous."""
    visited: set[tuple[Any, ...]] = set()
    remaining = {}
    for name, tensor in state.items():
        place = (tensor.untyped_storage().data_ptr(), int(tensor.storage_offset()), tensor.shape, tensor.stride())
        if tensor.numel() and place in visited:
            continue
        visited.add(place)
        whole = tensor.untyped_storage().nbytes() == tensor.numel() * tensor.element_size()
        remaining[name] = tensor.detach().contiguous() if whole else tensor.detach().clone().contiguous()
    return remaining


def _tied(module: torch.nn.Module) -> set[str]:
    """Names in the state that share another name's tensor and are therefore not in the file."""
    state = module.state_dict(keep_vars=True)
    return set(state) - set(_untied(state))
