"""Inputs of an ONNX file against what the data gives: names, types, the order of axes, sizes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline.models.api import ModelError, Need

if TYPE_CHECKING:
    from onnx import GraphProto, ModelProto, ValueInfoProto

_OPTIONAL = {"token_type_ids"}
"""Inputs of the data that a network may do without, whatever it calls the others."""
_CHANNELS_LAST = (1, 2, 0)
"""From (channels, height, width) to (height, width, channels)."""


def match_inputs(graph: GraphProto, need: Need, file: Path) -> dict[str, str]:
    """Input of the file -> input of the data: by name, else by order.

    Raises:
        ModelError: if the file takes something that the data does not give.
    """
    values, in_use = list(need.inputs), [value.name for value in graph.input]
    others = [name for name in in_use if name not in values]
    remaining = [name for name in values if name not in in_use]
    spare = remaining[len(others) :]
    if len(others) > len(remaining) or (others and not set(spare) <= _OPTIONAL) or not in_use:
        raise ModelError(f"{file}: has the inputs {', '.join(in_use)}; the task needs {', '.join(values)}")
    renamed = dict(zip(others, remaining, strict=False))
    return {name: renamed.get(name, name) for name in in_use}


def check_batch_axis(graph: GraphProto, file: Path) -> None:
    """Refuse a file that takes a fixed number of instances.

    Raises:
        ModelError: naming the input.
    """
    for value in graph.input:
        axes = value.type.tensor_type.shape.dim
        if axes and axes[0].HasField("dim_value"):
            raise ModelError(
                f"{file}: input '{value.name}' has the fixed batch size {axes[0].dim_value}; export it with a dynamic batch "
                "axis"
            )


def adapt_inputs(model: ModelProto, need: Need, file: Path, names: Mapping[str, str]) -> list[str]:
    """Let inputs take what the data gives: convert types, and move the channels of pictures to the end, in the graph.

    Args:
        model: its inputs have the data's names; changed in place.
        need: the data's inputs.
        file: for messages.
        names: input of the data -> how the file calls it, for messages.

    Returns:
        What was done, in words.

    Raises:
        ModelError: for sizes that differ, told whole, and for types that cannot be converted.
    """
    done = []
    for value in list(model.graph.input):
        dtype, shape = need.inputs[value.name]
        sizes = _sizes(value)
        called = f"input '{names[value.name]}'"
        turned = _fits_turned(sizes, shape)
        if not turned and not _fits(sizes, shape):
            raise ModelError(
                f"{file}: {called} takes {_shape_text(sizes)}, the data gives {_shape_text((None, *shape))}{_advice(sizes, shape)}"
            )
        kind = _needed_cast(value, dtype, f"{file}: {called}")
        if turned:
            _turn(model, value, shape)
            done.append(f"{called} takes pictures with their channels last: they are moved there")
        if kind:
            _cast_input(model, value, dtype)
            done.append(f"{called} takes {kind}: {dtype} is converted")
    return done


def adapt_outputs(model: ModelProto, names: Sequence[str]) -> list[str]:
    """Let the task's outputs be float32, in the graph. Returns what was done, in words."""
    import onnx

    done = []
    for value in model.graph.output:
        kind = value.type.tensor_type.elem_type
        if value.name not in names or kind in (onnx.TensorProto.FLOAT, onnx.TensorProto.UNDEFINED):
            continue
        if kind not in (onnx.TensorProto.FLOAT16, onnx.TensorProto.DOUBLE, onnx.TensorProto.BFLOAT16):
            continue
        inner = _room(model, value.name)
        for node in model.graph.node:
            for slots in (node.input, node.output):
                for place, name in enumerate(slots):
                    slots[place] = inner if name == value.name else name
        cast = onnx.helper.make_node("Cast", [inner], [value.name], f"{value.name}.widen", to=onnx.TensorProto.FLOAT)
        model.graph.node.append(cast)
        value.type.tensor_type.elem_type = onnx.TensorProto.FLOAT
        done.append(f"output '{value.name}' is {_type_name(kind)}: it is converted to float32")
    return done


def _sizes(value: ValueInfoProto) -> tuple[int | None, ...] | None:
    """Size of every axis, None where it is free; None if nothing is known of the shape."""
    kind = value.type.tensor_type
    if not kind.HasField("shape"):
        return None
    return tuple(axis.dim_value if axis.HasField("dim_value") else None for axis in kind.shape.dim)


def _fits(sizes: Sequence[int | None] | None, shape: Sequence[int]) -> bool:
    if sizes is None:
        return True
    pairs = zip(sizes[1:], shape, strict=False)
    return len(sizes) == len(shape) + 1 and all(size in (None, side) for size, side in pairs)


def _fits_turned(sizes: Sequence[int | None] | None, shape: Sequence[int]) -> bool:
    """Whether pictures fit with their channels last, and only so."""
    if sizes is None or len(shape) != len(_CHANNELS_LAST) or _fits(sizes, shape):
        return False
    return _fits(sizes, [shape[axis] for axis in _CHANNELS_LAST])


def _shape_text(sizes: Sequence[int | None] | None) -> str:
    whole = ["batch", *("any" if size is None else str(size) for size in (sizes or ())[1:])]
    return f"[{', '.join(whole)}]"


def _advice(sizes: Sequence[int | None] | None, shape: Sequence[int]) -> str:
    """Return the settings of the data's entry that make the sizes agree, if that is enough."""
    if sizes is None or len(sizes) != len(shape) + 1:
        return ""
    if len(shape) == 1:
        return f". Set `max_length: {sizes[1]}` of the text (dataset.text.max_length={sizes[1]})"
    if len(shape) != len(_CHANNELS_LAST):
        return ""
    last = sizes[3] == shape[0] and sizes[1] != shape[0]
    channels, height, width = (sizes[3], sizes[1], sizes[2]) if last else (sizes[1], sizes[2], sizes[3])
    fixes = [f"`channels: {channels}`"] if channels not in (None, shape[0]) else []
    if height not in (None, shape[1]) or width not in (None, shape[2]):
        if height != width:
            return ""
        fixes.append(f"`size: {height}`")
    return f". Set {' and '.join(fixes)} of the pictures in the data set's entry" if fixes else ""


def _needed_cast(value: ValueInfoProto, dtype: str, called: str) -> str:
    """The type that an input must be converted to; empty if none.

    Raises:
        ModelError: if the data's values would not survive it.
    """
    import numpy as np
    import onnx

    kind = value.type.tensor_type.elem_type
    if kind == onnx.helper.np_dtype_to_tensor_dtype(np.dtype(dtype)):
        return ""
    name = _type_name(kind)
    floats = {"float16", "bfloat16", "float32", "float64"}
    is_convertible = name in floats or (dtype.startswith("int") and name in {"int32", "int64", "bool"})
    if not is_convertible:
        detail = "raw pixels" if name == "uint8" and dtype.startswith("float") else "another type"
        raise ModelError(
            f"{called} takes {name}, {detail}, and the data gives {dtype}, normalised; export the network with a float input"
            if dtype.startswith("float")
            else f"{called} takes {name}, and the data gives {dtype}; export the network with an input of that type"
        )
    return name


def _type_name(kind: int) -> str:
    import onnx

    ours = {onnx.TensorProto.FLOAT: "float32", onnx.TensorProto.DOUBLE: "float64"}
    names = {number: name for name, number in onnx.TensorProto.DataType.items()}
    return ours.get(kind) or names.get(kind, f"the unknown type {kind}").lower()


def _turn(model: ModelProto, value: ValueInfoProto, shape: Sequence[int]) -> None:
    """Let an input be (N, channels, height, width), and move its axes first."""
    import onnx

    inner = _behind_input(model, value.name)
    perm = [0, *(axis + 1 for axis in _CHANNELS_LAST)]
    model.graph.node.insert(
        0, onnx.helper.make_node("Transpose", [value.name], [inner], f"{value.name}.channels_last", perm=perm)
    )
    axes = value.type.tensor_type.shape.dim
    batch = axes[0].dim_param or "batch"
    described = onnx.helper.make_tensor_value_info(value.name, value.type.tensor_type.elem_type, [batch, *shape])
    value.CopyFrom(described)


def _cast_input(model: ModelProto, value: ValueInfoProto, dtype: str) -> None:
    """Let an input be of the data's type, and convert it first."""
    import numpy as np
    import onnx

    inner = _behind_input(model, value.name)
    kind = value.type.tensor_type.elem_type
    model.graph.node.insert(0, onnx.helper.make_node("Cast", [value.name], [inner], f"{value.name}.cast", to=kind))
    value.type.tensor_type.elem_type = onnx.helper.np_dtype_to_tensor_dtype(np.dtype(dtype))


def _behind_input(model: ModelProto, name: str) -> str:
    """Let everything that uses an input use another value, and return that value's name."""
    inner = _room(model, name)
    for node in model.graph.node:
        for place, used in enumerate(node.input):
            if used == name:
                node.input[place] = inner
    return inner


def _room(model: Any, name: str) -> str:
    in_use = {used for node in model.graph.node for used in (*node.input, *node.output)}
    inner = f"{name}_inner"
    while inner in in_use:
        inner += "_"
    return inner
