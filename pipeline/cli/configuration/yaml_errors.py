"""Errors of a person's YAML files in one line: the file, the line and the problem."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path


def explain_yaml(error: BaseException | None, folders: Iterable[Path]) -> str | None:
    """One line that names the file, the line and the problem; None if the error is another.

    `folders` hold what may have been read.
    """
    from yaml import MarkedYAMLError, YAMLError  # type: ignore[import-untyped]
    from yaml.reader import ReaderError  # type: ignore[import-untyped]

    if isinstance(error, UnicodeDecodeError):
        files = [str(file) for folder in folders for file in sorted(folder.glob("*/*.yaml")) if not _is_text(file)]
        return f"{', '.join(files) or 'config'}: not a text in UTF-8 ({error.reason}); save it as UTF-8"
    if isinstance(error, ReaderError):
        return f"{error.name}: {error.reason} at character {error.position + 1}"
    if not isinstance(error, MarkedYAMLError):
        return f"config: not YAML: {error}" if isinstance(error, YAMLError) else None
    mark = error.problem_mark or error.context_mark
    where = f"{mark.name} line {mark.line + 1}, column {mark.column + 1}" if mark else "config"
    problem = error.problem or error.context or "not YAML"
    if "\\t" in problem:
        problem += "; YAML is indented with spaces, not with tabs"
    return f"{where}: {problem}"


def _is_text(file: Path) -> bool:
    try:
        file.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        return False
    return True
