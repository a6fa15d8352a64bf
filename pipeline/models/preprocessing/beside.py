"""The files beside a pretrained model's weights. They are data: no code of theirs runs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pipeline.core.download.hub import local_folder
from pipeline.core.errors import reason
from pipeline.core.json_text import parse_json
from pipeline.models.api import ModelError

CONFIG = "config.json"
KEPT_TOGETHER = ("huggingface", "onnx")
"""Builders whose weights lie beside files of transformers."""


def origin(entry: Mapping[str, Any]) -> str | None:
    """The file, folder or hub id that an entry of conf/model takes its weights from, if it takes any."""
    result = entry.get("path" if entry.get("builder") == "onnx" else "weights")
    return result if isinstance(result, str) and result else None


def model_folder(
    entry: Mapping[str, Any], required_files: Sequence[str], optional_files: Sequence[str] = ()
) -> Path | None:
    """The local folder of an entry's weights, if it has one of the required files; a hub id is fetched, with the optional ones.

    Raises:
        HubError: if the hub would have to be asked and cannot be: whether there are such files is then not known.
    """
    weights = origin(entry)
    if weights is None or "#sha256=" in weights:
        return None
    path = Path(weights).expanduser()
    if path.exists():
        folder = path if path.is_dir() else path.parent
    elif entry.get("builder") == "huggingface":
        folder = local_folder(
            weights,
            patterns=[*required_files, *optional_files],
            complete=lambda place: any((place / name).is_file() for name in required_files),
            revision=entry.get("revision"),
        )
    else:
        return None
    return folder if any((folder / name).is_file() for name in required_files) else None


def read_json(file: Path) -> dict[str, Any]:
    """Read a file of settings; what is no mapping says nothing.

    Raises:
        ModelError: if it is damaged.
    """
    try:
        result = parse_json(file.read_bytes())
    except (OSError, ValueError) as error:
        raise ModelError(f"{file}: damaged or no JSON ({reason(error)})") from None
    return result if isinstance(result, dict) else {}
