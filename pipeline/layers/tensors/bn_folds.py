"""Batch normalisations that the exporter folded into convolutions."""

from __future__ import annotations

from pathlib import Path

from ops.onnx_graph.layers import CONVOLUTIONS, matrix_nodes, module_names
from pipeline.layers.tensors.onnx_file import open_skeleton


def folds_of(export: Path) -> dict[str, str]:
    """Return convolution -> normalisation, by the exporter's records in an exported file.

    Where it folded one module's operation into another's node, the node speaks of the last one.
    """
    folds = {}
    for matrix in matrix_nodes(open_skeleton(export).model):
        if matrix.node.op_type in CONVOLUTIONS and matrix.weight:
            scope, conv = "".join(module_names(matrix.node)[-2:-1]), matrix.layer.name.partition("#")[0]
            if scope and scope != conv:
                folds[conv] = scope
    return folds
