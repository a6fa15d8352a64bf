"""Names of the classes that a pretrained model knows, where its files hold them."""

from __future__ import annotations

import ast
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pipeline.core.download.hub import HubError, local_folder
from pipeline.core.json_text import parse_json
from pipeline.models.api import ModelError
from pipeline.models.identity import with_located_weights
from pipeline.models.onnx_files.external_data import read_graph

_CONFIG = "config.json"
_NUMBERED = re.compile(r"LABEL_\d+")
_ONNX_KEYS = ("id2label", "names", "classes", "class_names", "labels")
"""Keys under which exporters write class names into the metadata of an ONNX file."""


def class_names(entry: Mapping[str, Any], folder: Path) -> tuple[str, ...] | None:
    """Names of the classes that the outputs of a conf/model entry stand for, in their order; None if nothing says so.

    A model that starts with a new head has none, and neither has one whose names are `LABEL_0`, `LABEL_1`, ...

    Args:
        entry: The conf/model entry.
        folder: The cache folder of data files.

    Raises:
        ModelError: if the weights are not there and cannot be fetched.
    """
    if entry.get("new_head"):
        return None
    names = _SOURCES[entry["builder"]](entry, folder) if entry.get("builder") in _SOURCES else None
    return None if not names or all(_NUMBERED.fullmatch(name) for name in names) else names


def _of_transformers(entry: Mapping[str, Any], folder: Path) -> tuple[str, ...] | None:
    """`id2label` of the config.json beside the weights."""
    weights = with_located_weights(entry, folder).get("weights")
    if not weights or Path(str(weights)).expanduser().is_file():
        return None
    try:
        place = local_folder(
            str(weights),
            patterns=(_CONFIG,),
            complete=lambda folder: (folder / _CONFIG).exists(),
            revision=entry.get("revision"),
        )
    except HubError:  # who builds the model says what is wrong with its weights
        return None
    return _as_order(_read_json(place / _CONFIG).get("id2label"))


def _read_json(file: Path) -> Mapping[str, Any]:
    """A JSON object; empty where there is none, as who builds the model says what is wrong with its files."""
    try:
        content = parse_json(file.read_bytes())
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}


def _of_onnx(entry: Mapping[str, Any], folder: Path) -> tuple[str, ...] | None:
    """Return the names that exporters write into the metadata of a file, as JSON or as a Python literal."""
    try:
        model = read_graph(Path(str(entry.get("path") or "")).expanduser())
    except ModelError:  # who builds the model says what is wrong with it
        return None
    properties = {one.key: one.value for one in model.metadata_props}
    for key in _ONNX_KEYS:
        names = _as_order(_literal(properties.get(key, "")))
        if names:
            return names
    return None


def _literal(text: str) -> Any:
    for parse in (parse_json, ast.literal_eval):
        try:
            return parse(text)
        except (ValueError, SyntaxError, RecursionError, MemoryError):
            continue
    return None


def _as_order(names: Any) -> tuple[str, ...] | None:
    """Names from a list, or from a mapping of the numbers 0 to N - 1 to names; None if it is neither, or has gaps."""
    try:
        if isinstance(names, Mapping):
            by_number = {int(number): str(name) for number, name in names.items()}
            whole = sorted(by_number) == list(range(len(by_number)))
            return tuple(by_number[number] for number in range(len(by_number))) if whole else None
        if isinstance(names, Sequence) and not isinstance(names, str | bytes):
            return tuple(map(str, names))
    except (
        TypeError,
        ValueError,
        OverflowError,
        RecursionError,
    ):  # numbers that are infinite or too long to be written
        return None
    return None


_SOURCES = {"huggingface": _of_transformers, "onnx": _of_onnx}
