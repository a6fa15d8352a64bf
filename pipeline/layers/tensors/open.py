"""The tensors of a model on disk, one at a time: names and shapes at once, values when asked for.

Names are those of the network's code (`layer1.0.conv1.weight`), whatever a file calls them, so that a tensor can be
found again in another model.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ops.core.operation import Format
from pipeline.core.errors import reason
from pipeline.layers.tensors.tensor import LayerError, StoredTensor
from pipeline.models import storage

__all__ = ["tensors_of"]


def tensors_of(folder: Path) -> Sequence[StoredTensor]:
    """List the tensors of the model artifact in `folder`, in the order of its file.

    Raises:
        LayerError: if the artifact is gone or damaged.
    """
    if not folder.is_dir():
        raise LayerError(f"The model's files are gone: there is no {folder}. Run the recipe again to make them")
    try:
        if storage.format_of(folder) is Format.TORCH:
            from pipeline.layers.tensors.torch_file import torch_tensors

            return torch_tensors(folder)
        from pipeline.layers.tensors.onnx_tensors import onnx_tensors

        return onnx_tensors(folder / storage.ONNX_FILE)
    except LayerError:
        raise
    except (OSError, KeyError, IndexError, ValueError) as error:
        raise LayerError(f"{folder}: the tensors cannot be read: {type(error).__name__}: {reason(error)}") from error
