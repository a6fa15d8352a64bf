"""The files that a conf/model entry names, and whether they are there: planning refuses what would fail hours later."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ops.core.params import params_model
from pipeline.core.download.pypi import PREFIX, DistributionError, reference_parts
from pipeline.core.errors import nearest_path
from pipeline.core.user_code import missing_code
from pipeline.models.api import BUILDERS, LocalFile, ModelError

__all__ = ["check_files"]

_PYTHON, _FACTORY = "python", "factory"
"""The builder that calls a person's own function, and its parameter that names it."""


def check_files(entry: Mapping[str, Any]) -> None:
    """Look for every file, folder and function that an entry names. Nothing is opened, fetched or imported.

    Raises:
        ModelError: naming the entry, the parameter, and what lies there under the nearest name.
    """
    try:
        _check_parameters(entry)
    except (ModelError, DistributionError) as error:
        raise ModelError(f"Model '{entry.get('name', entry['builder'])}': {error}") from None


def _check_parameters(entry: Mapping[str, Any]) -> None:
    parameters = params_model(BUILDERS[entry["builder"]], skip=1).model_fields
    for name, parameter in parameters.items():
        mark = next((mark for mark in parameter.metadata if isinstance(mark, LocalFile)), None)
        value = entry.get(name)
        if mark is not None and isinstance(value, str):
            try:
                _check(value, mark)
            except (ModelError, DistributionError) as error:
                raise ModelError(f"{name}: {error}") from None
    problem = missing_code(entry[_FACTORY]) if entry["builder"] == _PYTHON else None
    if problem is not None:
        raise ModelError(f"{_FACTORY}: {problem}")


def _check(text: str, mark: LocalFile) -> None:
    if text.startswith(PREFIX):
        reference_parts(text)
        return
    path = Path(text).expanduser()
    if path.is_file():
        return
    if path.is_dir():
        if mark.check_folder is None:
            raise ModelError(f"{path}: there is no such file: it is a folder")
        mark.check_folder(path)
    elif path.exists():
        raise ModelError(f"{path}: there is no such file: it is a pipe or a device")
    elif mark.published is None or not mark.published(text):
        raise ModelError(
            f"{path}: there is no such file{' or folder' if mark.check_folder else ''}{nearest_path(path)}"
        )
