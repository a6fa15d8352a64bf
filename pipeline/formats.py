"""How models are stored: the only place that knows the file layout of a model artifact.

torch   architecture.json, edits.json, structure.json, model.safetensors, masks.safetensors (if any weight is masked)
onnx    architecture.json, model.onnx
"""

from __future__ import annotations

import json
import shutil
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ops.api import Format, OnnxModel, TorchModel
from ops.model import Architecture
from pipeline.models.api import ModelError

if TYPE_CHECKING:
    import torch

ONNX_FILE = "model.onnx"
ARCHITECTURE_FILE = "architecture.json"
TENSORS_FILE = "model.safetensors"
_EDITS, _MASKS, _STRUCTURE = "edits.json", "masks.safetensors", "structure.json"


def format_of(folder: Path) -> Format:
    """Which kind of model an artifact folder holds."""
    return Format.ONNX if (folder / ONNX_FILE).exists() else Format.TORCH


def save(model: TorchModel | OnnxModel, folder: Path) -> None:
    """Write a model's files into `folder`. An ONNX file is copied: it may be the user's own."""
    (folder / ARCHITECTURE_FILE).write_text(json.dumps(asdict(model.architecture), indent=1, sort_keys=True))
    if isinstance(model, OnnxModel):
        shutil.copyfile(model.path, folder / ONNX_FILE)
        return
    from safetensors.torch import save_file

    (folder / _EDITS).write_text(json.dumps(model.edits))
    (folder / _STRUCTURE).write_text(json.dumps(_structure(model.module)))
    save_file(_untied(model.module.state_dict()), folder / TENSORS_FILE)
    if model.masks:
        save_file({name: mask.contiguous() for name, mask in model.masks.items()}, folder / _MASKS)


def load(folder: Path) -> TorchModel | OnnxModel:
    """Read a model back, bit for bit, without pickle. A torch model comes in evaluation mode."""
    architecture = load_architecture(folder)
    if (folder / ONNX_FILE).exists():
        return OnnxModel(folder / ONNX_FILE, architecture)
    from safetensors.torch import load_file

    from ops.edits import replay
    from pipeline.models.build import build_structure

    edits = load_edits(folder)
    module = replay(build_structure(architecture), architecture, edits)
    try:
        missing, unexpected = module.load_state_dict(load_file(folder / TENSORS_FILE), strict=False)
    except RuntimeError as error:
        raise ModelError(f"{folder}: the tensors do not fit the recorded structure: {error}") from None
    if unexpected or set(missing) - _tied(module):
        raise ModelError(f"{folder}: tensors missing {sorted(missing)[:3]}, unexpected {sorted(unexpected)[:3]}")
    masks = load_file(folder / _MASKS) if (folder / _MASKS).exists() else {}
    return TorchModel(module.eval(), architecture, edits, masks)


def load_architecture(folder: Path) -> Architecture:
    """Read only how the model is built."""
    raw = json.loads((folder / ARCHITECTURE_FILE).read_text())
    inputs = {name: (dtype, tuple(shape)) for name, (dtype, shape) in raw.pop("inputs").items()}
    return Architecture(**{**raw, "classes": tuple(raw["classes"])}, inputs=inputs)


def load_edits(folder: Path) -> list[dict[str, Any]]:
    """Read only the structural edits of a torch model, in order."""
    edits: list[dict[str, Any]] = json.loads((folder / _EDITS).read_text())
    return edits


def load_structure(folder: Path) -> dict[str, Any]:
    """Read only what the tensors of a torch model belong to.

    `modules` maps the path of every module to its class, in the order of the code; `parameters` lists the names of the
    parameters (all other tensors in the file are buffers); `eps` maps normalisations to their epsilon.
    """
    structure: dict[str, Any] = json.loads((folder / _STRUCTURE).read_text())
    return structure


def _structure(module: torch.nn.Module) -> dict[str, Any]:
    return {
        "modules": {name: type(part).__name__ for name, part in module.named_modules()},
        "parameters": [name for name, _ in module.named_parameters(remove_duplicate=False)],
        "eps": {
            name: part.eps for name, part in module.named_modules() if isinstance(getattr(part, "eps", None), float)
        },
    }


def _untied(state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Each storage once (safetensors refuses shared ones), contiguous."""
    seen: set[tuple[int, int, torch.Size]] = set()
    kept = {}
    for name, tensor in state.items():
        place = (tensor.untyped_storage().data_ptr(), int(tensor.storage_offset()), tensor.shape)
        if tensor.numel() and place in seen:
            continue
        seen.add(place)
        kept[name] = tensor.detach().contiguous()
    return kept


def _tied(module: torch.nn.Module) -> set[str]:
    """Names in the state that share another name's tensor and are therefore not in the file."""
    state = module.state_dict(keep_vars=True)
    return set(state) - set(_untied(state))
