"""An ONNX file of a person's own, as the root of a tree."""

from __future__ import annotations

import atexit
import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ops.core.forward import OUTPUTS
from pipeline.core.errors import reason
from pipeline.models.api import ModelError, Need, builder
from pipeline.models.build import check_output

if TYPE_CHECKING:
    from onnx import GraphProto, ModelProto


@builder
def onnx(need: Need, *, path: str) -> Path:
    """An ONNX model for the operations that take ONNX.

    Its inputs and outputs are matched with those of the task by name, else by their order, and get the task's names in
    a copy; the file itself is left alone. The batch axis must be dynamic.
    """
    file = Path(path).expanduser()
    model = _checked(file)
    wanted = {"inputs": list(need.inputs), "outputs": list(OUTPUTS[need.task])}
    renames = {
        **_renames("inputs", _inputs(model.graph), wanted["inputs"], file),
        **_renames("outputs", [one.name for one in model.graph.output], wanted["outputs"], file),
    }
    _check_batch_axis(model.graph, file)
    if renames:
        file = _renamed(model, renames)
    _run(file, need)
    return file


def _checked(file: Path) -> ModelProto:
    import onnx as library
    from google.protobuf.message import DecodeError  # type: ignore[import-untyped]  # comes with onnx, without types

    if not file.is_file():
        raise ModelError(f"path: {file}: there is no such file")
    try:
        model = library.load(str(file))
        library.checker.check_model(str(file))
    except (DecodeError, library.checker.ValidationError, OSError, ValueError) as error:
        raise ModelError(f"{file}: damaged or no ONNX model ({reason(error)})") from None
    return model


def _inputs(graph: GraphProto) -> list[str]:
    weights = {tensor.name for tensor in graph.initializer}
    return [one.name for one in graph.input if one.name not in weights]


def _renames(what: str, found: list[str], wanted: list[str], file: Path) -> dict[str, str]:
    """Old -> new name, for those that are not as wanted."""
    if len(found) != len(wanted):
        raise ModelError(f"{file}: has the {what} {', '.join(found)}; the task needs {', '.join(wanted)}")
    left = [name for name in wanted if name not in found]
    return dict(zip([name for name in found if name not in wanted], left, strict=True))


def _check_batch_axis(graph: GraphProto, file: Path) -> None:
    for one in graph.input:
        axes = one.type.tensor_type.shape.dim
        if one.name in _inputs(graph) and axes and axes[0].HasField("dim_value"):
            raise ModelError(
                f"{file}: input '{one.name}' has the fixed batch size {axes[0].dim_value}; export it with a dynamic batch axis"
            )


def _renamed(model: ModelProto, renames: dict[str, str]) -> Path:
    """Write a copy with other names of inputs and outputs, into a folder that goes with this process."""
    import onnx as library

    taken = {name for node in model.graph.node for name in (*node.input, *node.output)} - set(renames)
    for new in set(renames.values()) & taken:  # an inner value has the name: let it make room
        renames[new] = f"{new}_inner"
    for node in model.graph.node:
        _replace(node.input, renames)
        _replace(node.output, renames)
    for value in (*model.graph.input, *model.graph.output, *model.graph.value_info, *model.graph.initializer):
        value.name = renames.get(value.name, value.name)
    folder = Path(tempfile.mkdtemp(prefix="bouillon-onnx-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    try:
        library.save(model, str(folder / "model.onnx"))
    except ValueError:
        raise ModelError("the model is larger than 2 GB, the most that one ONNX file holds") from None
    return folder / "model.onnx"


def _replace(names: Any, renames: dict[str, str]) -> None:
    for place, name in enumerate(names):
        names[place] = renames.get(name, name)


def _run(file: Path, need: Need) -> None:
    """Run two instances of zeros."""
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.log_severity_level = 4  # what matters comes as an exception
    try:
        session = ort.InferenceSession(str(file), options, providers=["CPUExecutionProvider"])
        names = [one.name for one in session.get_outputs()]
        outputs = dict(zip(names, session.run(None, _zeros(need)), strict=True))
    except _runtime_errors() as error:
        raise ModelError(f"{file}: ONNX Runtime refuses the model or the data's inputs ({reason(error)})") from None
    for name in OUTPUTS[need.task]:
        check_output(name, outputs[name].shape, need)


def _zeros(need: Need) -> dict[str, np.ndarray]:
    return {name: np.zeros((2, *shape), dtype) for name, (dtype, shape) in need.inputs.items()}


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
