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
from pipeline.models.onnx_data import external_files, read_graph, read_whole, write_whole

if TYPE_CHECKING:
    from onnx import GraphProto, ModelProto


@builder
def onnx(need: Need, *, path: str) -> Path:
    """An ONNX model for the operations that take ONNX.

    Its inputs and outputs are matched with those of the task by name, else by their order, and get the task's names in
    a copy; weights that lie in files beside it are taken into the copy too. The file itself is left alone. The batch axis
    must be dynamic.
    """
    file = Path(path).expanduser()
    model = read_graph(file)
    apart = external_files(model, file)
    if apart:
        read_whole(model, file)
    else:
        _check(file, file)
    wanted = {"inputs": list(need.inputs), "outputs": list(OUTPUTS[need.task])}
    renames = {
        **_renames("inputs", _inputs(model.graph), wanted["inputs"], file),
        **_renames("outputs", [one.name for one in model.graph.output], wanted["outputs"], file),
    }
    _check_batch_axis(model.graph, file)
    copy = _copied(model, renames) if renames or apart else file
    if apart:
        _check(copy, file)
    _run(copy, file, need)
    return copy


def _check(copy: Path, file: Path) -> None:
    import onnx as library

    try:
        library.checker.check_model(str(copy))
    except (library.checker.ValidationError, OSError, ValueError) as error:
        raise ModelError(f"{file}: damaged or no ONNX model ({reason(error)})") from None


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


def _copied(model: ModelProto, renames: dict[str, str]) -> Path:
    """Write a copy, with other names of inputs and outputs, into a folder that goes with this process."""
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
    write_whole(model, folder / "model.onnx")
    return folder / "model.onnx"


def _replace(names: Any, renames: dict[str, str]) -> None:
    for place, name in enumerate(names):
        names[place] = renames.get(name, name)


def _run(copy: Path, file: Path, need: Need) -> None:
    """Run two instances of zeros."""
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.log_severity_level = 4  # what matters comes as an exception
    try:
        session = ort.InferenceSession(str(copy), options, providers=["CPUExecutionProvider"])
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
