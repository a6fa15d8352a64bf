"""From a conf/model entry to a network."""

from __future__ import annotations

import contextlib
import inspect
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ops.core.forward import all_outputs, call, give_shapes, task_outputs
from ops.core.model import Architecture
from ops.core.operation import OnnxModel, TorchModel
from ops.core.output_kind import LOGITS, label_kind, output_kind, torch_operations
from ops.core.tasks.task import TASKS, Axis, Task
from pipeline.core.config_entry import EntryKind
from pipeline.core.errors import blame, reason
from pipeline.models import factories
from pipeline.models.api import BUILDERS, Built, ModelError, Need, OnnxFile
from pipeline.models.repeatability import check_repeatability
from pipeline.models.storable import check_copies, check_storable

if TYPE_CHECKING:
    import torch

# `content` is the digest of the entry's files
_KIND = EntryKind("Model", "model", "builder", BUILDERS, ("name", "builder", "content"), ModelError)

_ONNX = "onnx"
"""The builder of ONNX files: it runs them."""


def check_entry(entry: Mapping[str, Any]) -> dict[str, Any]:
    """Return the checked arguments that an entry sets, JSON-ready. Nothing is built.

    Raises:
        ModelError: for an unknown builder or argument (with the nearest name), or a value of the wrong type or range.
    """
    _, checked = _KIND.check(entry, lambda function: function)
    return checked.model_dump(mode="json", exclude_unset=True)


def build(entry: Mapping[str, Any], need: Need) -> TorchModel | OnnxModel:
    """Build a conf/model entry to fit `need`, with pretrained weights if `need` says so.

    An entry is the word of whoever wrote the recipe: a function of theirs that it names may be called from now on.

    Raises:
        ModelError: naming the entry, and the file, the tensor or the output that is wrong.
    """
    arguments = check_entry(entry)
    factories.name_factories([entry])
    name = entry.get("name", entry["builder"])
    try:
        output = BUILDERS[entry["builder"]](need, **arguments)
        if isinstance(output, Path | OnnxFile):
            file = output if isinstance(output, OnnxFile) else OnnxFile(output)
            return OnnxModel(file.path, _architecture(entry, arguments, need, file.output_kinds), file.notes)
        built = output if isinstance(output, Built) else Built(output, arguments)
        kinds, left_out = _check_fit(built.module.eval(), need)
        check_storable(built.module)
        architecture = _architecture(entry, built.arguments, need, kinds)
        check_repeatability(built.module, architecture)
        check_copies(built.module, architecture)
    except ModelError as error:
        raise ModelError(f"Model '{name}': {error}") from None
    notes = {**built.notes, **({"outputs_left_out": left_out} if left_out else {})}
    return TorchModel(built.module, architecture, notes=notes)


def _architecture(
    entry: Mapping[str, Any], arguments: Mapping[str, Any], need: Need, kinds: Mapping[str, str]
) -> Architecture:
    return Architecture(
        name=entry.get("name", entry["builder"]),
        builder=entry["builder"],
        arguments=dict(arguments),
        task=need.task,
        classes=need.classes,
        inputs=need.inputs,
        output_kinds={name: kind for name, kind in kinds.items() if kind != LOGITS},
    )


def build_structure(architecture: Architecture) -> torch.nn.Module:
    """Build the unedited network again; its weights are meaningless, and are to be overwritten.

    An architecture may come with a model from anywhere: only registered builders are called, and of a person's own
    functions only those that the recipe at hand names.

    Raises:
        ModelError: if there is no such builder, or it may not or cannot be called so.
    """
    if architecture.builder not in BUILDERS:
        raise ModelError(f"'{architecture.name}': there is no model builder '{architecture.builder}'")
    need = Need(architecture.task, architecture.classes, architecture.inputs, pretrained=False, initialise=False)
    try:
        with _uninitialised():
            output = (
                None
                if architecture.builder == _ONNX
                else BUILDERS[architecture.builder](need, **architecture.arguments)
            )
    except TypeError as error:
        raise ModelError(f"'{architecture.name}': {reason(error)}") from None
    if output is None or isinstance(output, Path | OnnxFile):
        raise ModelError(f"Builder '{architecture.builder}' gives no torch module for '{architecture.name}'")
    module = output.module if isinstance(output, Built) else output
    give_shapes(module, architecture)
    return module


@contextlib.contextmanager
def _uninitialised() -> Iterator[None]:
    """Let `torch.nn.init` do nothing: to fill ResNet-50 with random numbers takes fifty times as long as to make it."""
    from torch.nn import init

    originals = {name: getattr(init, name) for name in dir(init) if name.endswith("_") and not name.startswith("_")}
    try:
        for name in originals:
            setattr(init, name, _untouched)
        yield
    finally:
        for name, original in originals.items():
            setattr(init, name, original)


def _untouched(tensor: torch.Tensor, *_: Any, **__: Any) -> torch.Tensor:
    return tensor


def _check_fit(module: torch.nn.Module, need: Need) -> tuple[dict[str, str], list[str]]:
    """Run two instances through the network, and compare its outputs with what the task needs.

    Returns what each of the task's outputs is (`ops.core.output_kind`), and the names of those that the task has no use for.
    """
    import torch

    zeros = {
        name: torch.zeros((2, *shape), dtype=getattr(torch, dtype)) for name, (dtype, shape) in need.inputs.items()
    }
    _check_names(module, need)
    described = ", ".join(f"{name} {list(shape)}" for name, (_, shape) in need.inputs.items())
    try:
        with torch.enable_grad(), torch.random.fork_rng(devices=[]):
            result = call(module, zeros)
            outputs = task_outputs(result, need.task)
    except Exception as error:  # noqa: BLE001 - boundary: a network of the user's may raise anything
        raise ModelError(f"the network does not run on {described}: its forward pass raises {blame(error)}") from None
    task = TASKS[need.task]
    if task.any_outputs:
        check_any_outputs({name: tuple(output.shape) for name, output in outputs.items()})
    for name in task.outputs:
        if not isinstance(outputs[name], torch.Tensor):
            names = ", ".join(map(repr, all_outputs(result))) or f"a {type(result).__name__}"
            raise ModelError(
                f"the network returns {names}, and no '{name}'; return it by that name, or as a tensor alone"
            )
        check_output(name, tuple(outputs[name].shape), need)
    used = {id(output) for output in outputs.values()}
    left_out = [
        name for name, output in all_outputs(result).items() if id(output) not in used and not task.is_by_product(name)
    ]
    return {name: _kind(name, output, task) for name, output in outputs.items()}, left_out


def _kind(name: str, output: torch.Tensor, task: Task) -> str:
    if name in task.sigmoid_outputs:
        return label_kind(torch_operations(output))
    return (
        output_kind(torch_operations(output), output.detach().float().numpy())
        if name in task.softmax_outputs
        else LOGITS
    )


def _check_names(module: torch.nn.Module, need: Need) -> None:
    """Several inputs go by name: by position they could run, and mean something else."""
    in_use = inspect.signature(module.forward).parameters
    unknown = [name for name in need.inputs if name not in in_use]
    if unknown and len(need.inputs) > 1:
        fix = (
            "set `text.token_type_ids: false` in the data set"
            if unknown == ["token_type_ids"]
            else "rename its parameters"
        )
        raise ModelError(f"the network takes no {', '.join(unknown)}; {fix}")


def check_any_outputs(shapes: Mapping[str, tuple[int, ...]]) -> None:
    """Compare the shapes of outputs for two instances, of whatever names: each must have an axis of instances first.

    Raises:
        ModelError: naming the output.
    """
    if not shapes:
        raise ModelError("the network returns no tensor; return one, or a tuple, a list or a dict of them")
    for name, shape in shapes.items():
        if shape[:1] != (2,):
            raise ModelError(
                f"output '{name}' has shape {list(shape)} for 2 instances; its first axis must be that of the instances"
            )


def check_output(name: str, shape: tuple[int, ...], need: Need) -> None:
    """Compare the shape of an output for two instances with what the task needs.

    Raises:
        ModelError: with both shapes.
    """
    if fits(shape, name, need):
        return
    axes = _axes(name, need)
    described = " and ".join(f"{axis.owner} {axis.size} {axis.noun}" for axis in axes if axis.size is not None)
    expected = ", ".join(["2", *(axis.noun if axis.size is None else str(axis.size) for axis in axes)])
    raise ModelError(
        f"output '{name}' has shape {list(shape)} for 2 instances; {described}, so it must be [{expected}]"
    )


def fits(shape: tuple[int, ...], name: str, need: Need) -> bool:
    """Return whether an output for two instances has the shape that the task needs.

    Args:
        shape: of what a network gave.
        name: of the task's output that it is to be.
        need: the task, the classes and the inputs.
    """
    sizes = [2, *(axis.size for axis in _axes(name, need))]
    return len(shape) == len(sizes) and all(size in (None, side) for side, size in zip(shape, sizes, strict=True))


def _axes(name: str, need: Need) -> tuple[Axis, ...]:
    return TASKS[need.task].axes(name, len(need.classes), need.inputs)
