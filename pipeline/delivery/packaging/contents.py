"""The files of a package that programs read: the model, its configuration, what prepares inputs, labels, requirements."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

from ops.core.operation import Format
from ops.core.output_kind import INDEPENDENT, LOG_PROBABILITIES, LOGITS
from ops.core.programs.program import Program
from ops.core.tasks.task import TASKS
from pipeline.delivery.packaging.deployed import DeployedModel
from pipeline.delivery.packaging.torch_network import write_network
from pipeline.models.onnx_files.external_data import external_files, read_graph
from pipeline.models.storage import ONNX_FILE

__all__ = ["write_contents"]

_RESAMPLING = {"nearest": 0, "lanczos": 1, "bilinear": 2, "bicubic": 3, "box": 4, "hamming": 5}
"""Pillow's numbers, as image processors have them."""
_BYTE, _COLOURS = 255, 3


def write_contents(model: DeployedModel, folder: Path) -> Program:
    """Write all that programs read; return the one of the package.

    Args:
        model: with its files and data.
        folder: the package.
    """
    by_torch = model.form is Format.TORCH
    if by_torch:
        write_network(model.folder, folder)
        outputs, lengths = TASKS[model.architecture.task].outputs, _lengths_of_data(model)
    else:
        graph = read_graph(model.folder / ONNX_FILE)
        for name in [ONNX_FILE, *external_files(graph, model.folder / ONNX_FILE)]:
            shutil.copyfile(model.folder / name, folder / name)
        outputs, lengths = tuple(value.name for value in graph.graph.output), _lengths_of_graph(graph)
    settings = dict(model.data.write_inputs(folder)) | {
        "classes": list(model.facts.dataset.classes),
        "outputs": _outputs(outputs, model),
    }
    if "truncation" in settings and "input_ids" in lengths:  # the network takes one length alone
        most = settings["truncation"]["max_length"]
        settings["truncation"]["max_length"] = min(most, lengths["input_ids"])
    program = TASKS[model.architecture.task].program(settings)
    _write_json(folder / "settings.json", settings)
    _write_json(folder / "config.json", _configuration(model))
    processor = _image_processor(settings)
    if processor is not None:
        _write_json(folder / "preprocessor_config.json", processor)
    if model.facts.dataset.classes:
        _write_json(folder / "labels.json", list(model.facts.dataset.classes))
    (folder / "predict.py").write_text(program.text(by_torch=by_torch), encoding="utf-8")
    packages = ("numpy", *(("torch", "safetensors") if by_torch else ("onnxruntime",)), *program.packages)
    # a build's own mark (2.13.0+cpu) is on no index
    lines = [f"{name}=={metadata.version(name).partition('+')[0]}\n" for name in sorted(packages)]
    (folder / "requirements.txt").write_text("".join(lines), encoding="utf-8")
    return program


def _write_json(file: Path, value: Any) -> None:
    file.write_text(json.dumps(value, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def _outputs(present: Sequence[str], model: DeployedModel) -> dict[str, bool | str]:
    """Output -> whether it holds probabilities, of which programs take the logarithm; those that the task has a use for.

    `independent` of probabilities of labels that do not exclude each other.
    """
    kinds = model.architecture.output_kinds
    names = [name for name in TASKS[model.architecture.task].outputs if name in present] or present
    return {
        name: kind if kind == INDEPENDENT else kind not in (LOGITS, LOG_PROBABILITIES)
        for name in names
        for kind in [kinds.get(name, LOGITS)]
    }


def _lengths_of_graph(graph: Any) -> dict[str, int]:
    """Input -> its length, of those that have one length alone."""
    sides = {value.name: [side.dim_value for side in value.type.tensor_type.shape.dim] for value in graph.graph.input}
    return {name: own[1] for name, own in sides.items() if len(own) > 1 and own[1]}


def _lengths_of_data(model: DeployedModel) -> dict[str, int]:
    return {name: shape[0] for name, (_, shape) in model.architecture.inputs.items() if shape}


def _configuration(model: DeployedModel) -> dict[str, Any]:
    """As transformers and what builds on it read it: of networks of theirs in full, of others as much as holds."""
    architecture, classes = model.architecture, model.facts.dataset.classes
    labels: dict[str, Any] = {}
    if classes:
        labels["id2label"] = {str(number): name for number, name in enumerate(classes)}
        labels["label2id"] = {name: number for number, name in enumerate(classes)}
    if architecture.builder == "huggingface":
        own = dict(architecture.arguments.get("config") or {})
        return {**own, "model_type": architecture.arguments["architecture"], **labels}
    common = {"architecture": architecture.name, "builder": architecture.builder, **labels}
    if not TASKS[architecture.task].reads_pictures:
        return common
    # what transformers calls networks that it knows by the name of their architecture alone
    return {
        **common,
        "model_type": "timm_wrapper",
        "num_classes": len(architecture.classes),
        "label_names": list(classes),
    }


def _image_processor(settings: Mapping[str, Any]) -> dict[str, Any] | None:
    """An image processor that does the same, up to the rounding of sizes; None where none of transformers does."""
    if settings.get("shape") or settings.get("peak") != _BYTE or settings.get("channels") != _COLOURS:
        return None
    if settings["channel_order"] != "rgb" or settings["deep"]:
        return None
    size, resize, fit = settings["size"], settings["resize"], settings["fit"]
    return {
        "image_processor_type": "CLIPImageProcessor",
        "do_resize": fit != "none",
        "size": {"shortest_edge": resize} if fit == "crop" else {"height": resize, "width": resize},
        "resample": _RESAMPLING[settings["interpolation"]],
        "do_center_crop": True,
        "crop_size": {"height": size, "width": size},
        "do_rescale": True,
        "rescale_factor": 1 / _BYTE,
        "do_normalize": True,
        "image_mean": settings["mean"],
        "image_std": settings["std"],
        "do_convert_rgb": True,
    }
