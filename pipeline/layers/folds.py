"""Which batch normalisation the exporter folded into which convolution."""

from __future__ import annotations

import ast
from pathlib import Path
from typing import Any

from ops.onnx_layers import CONVOLUTIONS, matrix_nodes
from pipeline.layers.onnx_file import open_skeleton

_SCOPES = "pkg.torch.onnx.name_scopes"


def folds_of(export: Path) -> dict[str, str]:
    """Return convolution -> normalisation, by the exporter's records in an exported file.

    Where it folded one module's operation into another's node, the node speaks of the last one.
    """
    found = {}
    for matrix in matrix_nodes(open_skeleton(export).model):
        if matrix.node.op_type in CONVOLUTIONS and matrix.weight:
            scope, conv = _scope(matrix.node), matrix.layer.name.partition("#")[0]
            if scope and scope != conv:
                found[conv] = scope
    return found


def _scope(node: Any) -> str:
    for entry in node.metadata_props:
        if entry.key == _SCOPES:
            try:
                scopes = [str(scope) for scope in ast.literal_eval(entry.value)]
            except (ValueError, SyntaxError):
                return ""
            return scopes[-2] if len(scopes) > 1 else ""
    return ""
