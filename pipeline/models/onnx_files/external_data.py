"""Weights of an ONNX file that lie in files beside it, as `torch.onnx.export` writes them by default.

They are part of the model: of its identity, of what is copied, of what is checked. Here they are read without the library's
own loader, which refuses symbolic links (the cache of Hugging Face consists of them), and are never looked for outside of
the model's folder.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import TYPE_CHECKING, Any

from pipeline.core.errors import reason
from pipeline.models.api import ModelError

if TYPE_CHECKING:
    from onnx import ModelProto, TensorProto

_LARGEST = 2_000_000_000
"""Bytes of one protobuf message, with some room below the limit of 2 GiB."""
_DEEPEST = 100
"""Levels of a name: layers are grouped by everything that contains them, which takes the square of it."""
_SHOWN = 40
_NAMES = ("name", "input", "output")


def read_graph(file: Path) -> ModelProto:
    """Read an ONNX file without what lies beside it.

    Raises:
        ModelError: if it is missing, damaged or no ONNX file.
    """
    import onnx
    from google.protobuf.message import DecodeError  # type: ignore[import-untyped]  # comes with onnx, without types

    if not file.is_file():
        raise ModelError(f"path: {file}: there is no such file")
    try:
        model = onnx.load(str(file), load_external_data=False)
        deepest = max(_names(model), key=_levels, default="")
    except (DecodeError, OSError, ValueError) as error:
        raise ModelError(f"{file}: damaged or no ONNX model ({reason(error)})") from None
    if _levels(deepest) > _DEEPEST:
        raise ModelError(
            f"{file}: the name '{deepest[:_SHOWN]}...' has {_levels(deepest)} levels, and the most is {_DEEPEST}; rename it"
        )
    return model


def _names(message: Any) -> Iterator[str]:
    """Every name in a message.

    Raises:
        ValueError: for a text that is not UTF-8, which the library gives as bytes.
    """
    for field, value in message.ListFields():
        if field.message_type is not None:
            for part in [value] if hasattr(value, "ListFields") else value:
                yield from _names(part)
        elif field.type == field.TYPE_STRING:
            texts: list[Any] = [value] if isinstance(value, str | bytes) else list(value)
            if any(isinstance(text, bytes) for text in texts):
                raise ValueError(f"'{field.name}' holds a text that is not UTF-8")
            yield from texts if field.name in _NAMES else ()


def _levels(name: str) -> int:
    return 1 + max(name.count("."), name.count("/"))


def external_files(model: ModelProto, file: Path) -> list[str]:
    """Return the names, relative to the folder of `file`, of the files that hold weights of the model, each once.

    Raises:
        ModelError: if one lies outside of that folder, also behind a link, or is not there.
    """
    names = {location: tensor.name for tensor, location in _apart(model)}
    homes = (file.parent.resolve(), file.resolve().parent)  # a cache may consist of links to files that lie together
    for location, tensor in names.items():
        if _leaves(location):
            raise ModelError(
                f"{file}: the weights of '{tensor}' lie in '{location}', outside of the model's folder. Put them beside the "
                "model, and save it with onnx.save_model(..., save_as_external_data=True)"
            )
        if not (file.parent / location).is_file():
            raise ModelError(
                f"{file}: the weights of '{tensor}' are missing: there is no '{location}' beside the model"
            )
        target = (file.parent / location).resolve()
        if not any(target.is_relative_to(home) for home in homes):
            raise ModelError(
                f"{file}: the weights of '{tensor}' lie behind the link '{location}', outside of the model's folder. Put the "
                "file itself beside the model, or name the model in the folder that the link leads to"
            )
    return sorted(names)


def read_whole(model: ModelProto, file: Path) -> None:
    """Take the weights that lie beside `file` into the model, in place.

    Raises:
        ModelError: if they lie outside of the folder, are missing, or their file is too short.
    """
    external_files(model, file)
    for tensor, location in _apart(model):
        place = {entry.key: entry.value for entry in tensor.external_data}
        tensor.raw_data = _section(file, file.parent / location, tensor.name, place)
        tensor.data_location = tensor.DEFAULT
        del tensor.external_data[:]


def write_whole(model: ModelProto, path: Path) -> None:
    """Write the model as one file; weights of more than 2 GB, the most that one holds, go to `NAME.data` beside it.

    Such a model refers to that file from then on, and is written again without its weights.
    """
    import onnx

    if is_large(model):
        onnx.save(model, str(path), save_as_external_data=True, location=f"{path.name}.data")
    else:
        onnx.save(model, str(path))


def is_large(model: ModelProto) -> bool:
    """Whether the weights inside the model are too many bytes for one file."""
    return sum(len(tensor.raw_data) for tensor in _tensors(model)) >= _LARGEST


def _apart(model: ModelProto) -> Iterator[tuple[TensorProto, str]]:
    for tensor in _tensors(model):
        if tensor.data_location == tensor.EXTERNAL:
            yield tensor, next((entry.value for entry in tensor.external_data if entry.key == "location"), "")


def _tensors(message: Any) -> Iterator[TensorProto]:
    """Every tensor of a message, wherever it stands: initialisers, constants, subgraphs, functions."""
    import onnx

    for field, value in message.ListFields():
        if field.message_type is None:
            continue
        for part in [value] if hasattr(value, "ListFields") else value:
            if isinstance(part, onnx.TensorProto):
                yield part
            else:
                yield from _tensors(part)


def _leaves(location: str) -> bool:
    """Whether a location is not below the model's folder, as any system reads it."""
    windows = PureWindowsPath(location)
    rooted = PurePosixPath(location).is_absolute() or bool(windows.drive or windows.root)
    return not location or rooted or ".." in windows.parts


def _section(file: Path, data: Path, tensor: str, place: dict[str, str]) -> bytes:
    size = data.stat().st_size
    try:
        offset = int(place.get("offset", 0))
        length = int(place["length"]) if "length" in place else size - offset
    except ValueError:
        raise ModelError(f"{file}: damaged: the place of '{tensor}' in '{data.name}' is no number") from None
    if offset < 0 or length < 0 or offset + length > size:
        raise ModelError(
            f"{file}: '{data.name}' has {size} bytes, but '{tensor}' is at {offset} to {offset + length}: it is damaged, or "
            "belongs to another model"
        )
    with data.open("rb") as stream:
        stream.seek(offset)
        return stream.read(length)
