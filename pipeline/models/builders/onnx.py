"""An ONNX file of a person's own, as the root of a tree."""

from __future__ import annotations

import atexit
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np

from ops.core.output_kind import graph_operations, label_kind, output_kind
from ops.core.tasks.task import TASKS
from ops.onnx_graph.layers import rename_values
from ops.onnx_graph.session import open_session
from pipeline.core.errors import reason
from pipeline.models.api import LocalFile, ModelError, Need, OnnxFile, builder
from pipeline.models.build import check_any_outputs, check_output, fits
from pipeline.models.onnx_files.external_data import is_large, write_whole
from pipeline.models.onnx_files.graph import (
    check_graph,
    check_layout,
    free_axes,
    read_whole_graph,
    weights_apart,
    without_functions,
)
from pipeline.models.onnx_files.inputs import adapt_inputs, adapt_outputs, check_batch_axis, match_inputs

if TYPE_CHECKING:
    from onnx import ModelProto

_FATAL = 4


@builder
def onnx(need: Need, *, path: Annotated[str, LocalFile()]) -> OnnxFile:
    """An ONNX model for the operations that take ONNX.

    Its inputs and outputs are matched with those of the task by name, else by their order, outputs also by their shape,
    and get the task's names in a copy; the file itself is left alone. In the copy all weights are initialisers, functions are
    written out, inputs of other float or integer types and pictures with the channels last are converted, and weights that
    lie beside the file are inside. The batch axis must be dynamic.
    """
    file = Path(path).expanduser()
    read, beside = read_whole_graph(file)
    check_layout(read, file)
    model = without_functions(read, file)
    changed = model is not read or beside
    changed |= weights_apart(model) | free_axes(model.graph)
    copy = _temporary_file() if is_large(model) else None
    check_graph(_runnable(model, copy), file)
    names = match_inputs(model.graph, need, file)
    check_batch_axis(model.graph, file)
    changed |= any(old != new for old, new in names.items())
    rename_values(model, names)
    adaptations = adapt_inputs(model, need, file, {new: old for old, new in names.items()})
    results = _run(_runnable(model, copy), need, file)
    outputs = _match_outputs(results, need, file)
    changed |= any(old != new for old, new in outputs.items())
    rename_values(model, outputs)
    names_of_task = TASKS[need.task].outputs or tuple(outputs.values())
    adaptations += adapt_outputs(model, [name for name in names_of_task if name in outputs.values()])
    values = {new: results[old] for old, new in outputs.items()}
    if TASKS[need.task].any_outputs:
        check_any_outputs({name: value.shape for name, value in values.items()})
    else:
        for name in names_of_task:
            check_output(name, values[name].shape, need)
    kinds = {
        name: output_kind(graph_operations(model.graph, name), values[name].astype(np.float32))
        for name in TASKS[need.task].softmax_outputs
    } | {name: label_kind(graph_operations(model.graph, name)) for name in TASKS[need.task].sigmoid_outputs}
    further = [value.name for value in model.graph.output if value.name not in names_of_task]
    notes: dict[str, Any] = {"further_outputs": further} if further else {}
    if adaptations:
        notes["adaptations"] = adaptations
    guesses = [f"{old} as {new}" for renamed in (names, outputs) for old, new in _by_order(renamed)]
    if guesses:
        notes["matched_by_order"] = guesses
    if not (changed or adaptations):
        return OnnxFile(file, kinds, notes)
    copy = copy or _temporary_file()
    write_whole(model, copy)
    return OnnxFile(copy, kinds, notes)


def _runnable(model: ModelProto, copy: Path | None) -> ModelProto | Path:
    """The model as it is now: itself, or its copy, written anew, if it is too large to be handled as one message."""
    if copy is None:
        return model
    write_whole(model, copy)
    return copy


def _run(model: ModelProto | Path, need: Need, file: Path) -> dict[str, np.ndarray]:
    """Run two instances, of noise or zeros, and return the outputs by name."""
    import onnxruntime as ort

    options = ort.RunOptions()
    options.log_severity_level = _FATAL  # errors are raised, and said in one line
    try:
        session = open_session(model if isinstance(model, Path) else model.SerializeToString())
        names = [one.name for one in session.get_outputs()]
        feed = _feed(need)
        in_use = {one.name: feed[one.name] for one in session.get_inputs()}
        return dict(zip(names, session.run(None, in_use, options), strict=True))
    except _runtime_errors() as error:
        raise ModelError(f"{file}: ONNX Runtime refuses the model or the data's inputs ({reason(error)})") from None


def _feed(need: Need) -> dict[str, np.ndarray]:
    noise = np.random.default_rng(0)
    feed = {}
    for name, (dtype, shape) in need.inputs.items():
        full = (2, *shape)
        whole = np.ones(full, dtype) if name.endswith("mask") else np.zeros(full, dtype)
        feed[name] = noise.normal(size=full).astype(dtype) if dtype.startswith("float") else whole
    return feed


def _match_outputs(results: Mapping[str, Any], need: Need, file: Path) -> dict[str, str]:
    """Output of the file -> output of the task: by name, else by order, else the ones of the right shape."""
    expected = list(TASKS[need.task].outputs)
    if TASKS[need.task].any_outputs:
        expected = [name for name, value in results.items() if isinstance(value, np.ndarray)]
        return {name: name for name in expected}
    remaining = [name for name in expected if name not in results]
    others = [name for name in results if name not in expected]
    if len(others) != len(remaining):
        fitting = [
            name for name in others if remaining and fits(getattr(results[name], "shape", ()), remaining[0], need)
        ]
        others = [name for name in fitting if results[name].dtype.kind == "f"]
    if len(others) != len(remaining):
        maps = [name for name, value in results.items() if isinstance(value, list)]
        hint = f". '{maps[0]}' is a sequence of maps: convert the model with `zipmap=False`" if maps else ""
        raise ModelError(f"{file}: has the outputs {', '.join(results)}; the task needs {', '.join(expected)}{hint}")
    return {**{name: name for name in expected if name in results}, **dict(zip(others, remaining, strict=True))}


def _by_order(names: Mapping[str, str]) -> list[tuple[str, str]]:
    """Names that were matched by their order alone: one by itself has no order."""
    renamed = [(old, new) for old, new in names.items() if old != new]
    return renamed if len(renamed) > 1 else []


def _temporary_file() -> Path:
    """A path for a copy in a folder that goes with this process."""
    folder = Path(tempfile.mkdtemp(prefix="bouillon-onnx-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder / "model.onnx"


def _runtime_errors() -> tuple[type[Exception], ...]:
    from onnxruntime.capi import onnxruntime_pybind11_state as state

    return (
        RuntimeError,
        ValueError,
        state.Fail,
        state.InvalidArgument,
        state.InvalidGraph,
        state.NotImplemented,
        state.RuntimeException,
    )
