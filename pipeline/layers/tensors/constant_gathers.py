"""Constants of an ONNX file that are rows of a table, looked up when the file was made.

Quantization folds what it can: of a table of positions it leaves the rows of the positions that there are.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ops.onnx_graph.layers import attribute
from pipeline.layers.tensors.onnx_file import open_skeleton

__all__ = ["Lookup", "lookups_of"]


@dataclass(frozen=True, slots=True)
class Lookup:
    """A lookup in a table that does not depend on the input."""

    table: str
    """Name of the tensor."""
    rows: np.ndarray
    """int64, of any shape."""


def lookups_of(export: Path) -> dict[str, Lookup]:
    """Return result -> lookup, of all lookups in an exported file whose rows are constants."""
    skeleton = open_skeleton(export)
    graph = skeleton.model.graph
    constants = {tensor.name for tensor in graph.initializer}
    return {
        node.output[0]: Lookup(node.input[0], skeleton.read(node.input[1]).astype(np.int64))
        for node in graph.node
        if node.op_type == "Gather" and set(node.input) <= constants and attribute(node, "axis", 0) == 0
    }
