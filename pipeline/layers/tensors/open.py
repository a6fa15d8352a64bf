"""The tensors of a model on disk, one at a time: names and shapes at once, values when asked for.

Names are those of the network's code (`layer1.0.conv1.weight`), whatever a file calls them, so that a tensor can be
found again in another model.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from ops.core.operation import Format
from pipeline.core.errors import reason
from pipeline.layers.tensors.tensor import LayerError, StoredTensor
from pipeline.models import storage

__all__ = ["tensors_of", "tensors_of_file"]
_WEIGHT_FILES = (".onnx", ".safetensors")


def tensors_of(folder: Path) -> Sequence[StoredTensor]:
    """List the tensors of the model artifact in `folder`, in the order of its file.

    Raises:
        LayerError: if the artifact is gone or damaged.
    """
    if not folder.is_dir():
        raise LayerError(f"The model's files are gone: there is no {folder}. Run the recipe again to make them")
    with _readable(folder):
        if storage.format_of(folder) is Format.TORCH:
            from pipeline.layers.tensors.torch_file import torch_tensors

            return torch_tensors(folder)
        return _onnx_tensors(folder / storage.ONNX_FILE)


def tensors_of_file(file: Path) -> Sequence[StoredTensor]:
    """List the tensors of a file of another program: `.onnx` or `.safetensors`.

    Raises:
        LayerError: if there is none, if it has another ending, or if it is damaged.
    """
    if file.suffix not in _WEIGHT_FILES:
        raise LayerError(f"{file}: weights are read from files that end in {' or '.join(_WEIGHT_FILES)}")
    if not file.is_file():
        raise LayerError(f"{file}: there is no such file")
    with _readable(file):
        if file.suffix == ".onnx":
            return _onnx_tensors(file)
        from pipeline.layers.tensors.torch_file import bare_tensors

        return bare_tensors(file)


def _onnx_tensors(file: Path) -> Sequence[StoredTensor]:
    from pipeline.layers.tensors.onnx_tensors import onnx_tensors

    return onnx_tensors(file)


@contextmanager
def _readable(place: Path) -> Iterator[None]:
    try:
        yield
    except LayerError:
        raise
    except (OSError, KeyError, IndexError, TypeError, ValueError) as error:
        raise LayerError(f"{place}: the tensors cannot be read: {type(error).__name__}: {reason(error)}") from error
