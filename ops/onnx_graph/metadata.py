"""What torch's exporter records beside the nodes of a graph. It may be anybody's file: what is none of it says nothing."""

from __future__ import annotations

import ast
from typing import Any

__all__ = ["recorded_names"]


def recorded_names(node: Any, key: str) -> list[str]:
    """Return the texts of a list that is recorded for a node as a Python literal; empty if there is none.

    Args:
        node: an onnx.NodeProto.
        key: under which the list is recorded.
    """
    text = next((entry.value for entry in node.metadata_props if entry.key == key), "[]")
    try:
        names = ast.literal_eval(text)
        return [str(name) for name in names] if isinstance(names, list | tuple) else []
    except (
        ValueError,
        SyntaxError,
        TypeError,
        RecursionError,
        MemoryError,
    ):  # MemoryError: nested too deeply to be parsed
        return []
